#include "runtime/Core/ThreadPool.h"

#include <algorithm>
#include <climits>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace moe::rt {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the futex looks at the upper half of the word");
static_assert(sizeof(std::atomic<uint64_t>) == 8);

static constexpr int64_t spinNanoseconds = 30000;

static void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

static int64_t nowNs() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t(1000000000) + time.tv_nsec;
}

/// The address of the epoch, which the kernel compares when we go to sleep.
static uint32_t *epochAddress(std::atomic<uint64_t> &word) {
  return reinterpret_cast<uint32_t *>(&word) + 1;
}

static long futex(uint32_t *address, int operation, uint32_t value) {
  return syscall(SYS_futex, address, operation | FUTEX_PRIVATE_FLAG, value,
                 nullptr, nullptr, 0);
}

int availableProcessors() {
  // The mask's size is not known beforehand; the kernel says EINVAL when ours
  // is too small.
  for (int processors = CPU_SETSIZE; processors <= (1 << 18); processors *= 4) {
    cpu_set_t *set = CPU_ALLOC(processors);
    if (!set)
      break;
    size_t size = CPU_ALLOC_SIZE(processors);
    CPU_ZERO_S(size, set);
    int count = 0;
    if (sched_getaffinity(0, size, set) == 0)
      count = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    if (count > 0)
      return count;
  }
  return 1;
}

ThreadPool::ThreadPool(int threads) {
  int wanted = std::clamp(threads, 1, 1024) - 1;
  // Helpers keep pointers to their entries: no reallocation.
  helpers.reserve(wanted);
  for (int i = 0; i < wanted; ++i) {
    helpers.push_back({this, i + 1, {}});
    if (pthread_create(&helpers.back().thread, nullptr, helperMain,
                       &helpers.back()) != 0) {
      helpers.pop_back();
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  stopping.store(true);
  uint64_t epoch = (word.load(std::memory_order_relaxed) >> 32) + 1;
  word.store(epoch << 32);
  futex(epochAddress(word), FUTEX_WAKE, INT_MAX);
  for (Helper &helper : helpers)
    pthread_join(helper.thread, nullptr);
}

bool ThreadPool::claim(uint32_t &chunk) {
  uint64_t seen = word.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(seen)) {
    if (word.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                   std::memory_order_acquire)) {
      // The region cannot end before this chunk is counted, so its fields are
      // stable from here on, whichever region it is.
      chunk = chunks - static_cast<uint32_t>(seen);
      return true;
    }
  }
  return false;
}

void ThreadPool::work(int worker) {
  uint32_t chunk;
  while (claim(chunk)) {
    body(arg, chunk, worker);
    done.fetch_add(1, std::memory_order_release);
  }
}

void ThreadPool::run(uint32_t numChunks, Body newBody, void *newArg) {
  if (helpers.empty() || numChunks <= 1) {
    for (uint32_t i = 0; i < numChunks; ++i)
      newBody(newArg, i, 0);
    return;
  }
  body = newBody;
  arg = newArg;
  chunks = numChunks;
  done.store(0, std::memory_order_relaxed);
  uint64_t epoch =
      ((word.load(std::memory_order_relaxed) >> 32) + 1) & 0xFFFFFFFF;
  // Sequentially consistent, like the sleeper's increment: one of the two sees
  // the other's, so no wake-up is lost.
  word.store(epoch << 32 | numChunks);
  if (uint32_t asleep = sleepers.load())
    futex(epochAddress(word), FUTEX_WAKE, std::min(asleep, numChunks - 1));
  work(0);
  for (int spins = 0; done.load(std::memory_order_acquire) != numChunks;) {
    if (++spins < 4000)
      pause();
    else
      sched_yield();
  }
}

/// Waits for an epoch after `seen`; false when the pool stops.
bool ThreadPool::waitForWork(uint64_t seen) {
  if (stopping.load())
    return false;
  int64_t start = nowNs(), yielded = start;
  for (;;) {
    for (int i = 0; i < 16; ++i) {
      if (word.load(std::memory_order_acquire) >> 32 != seen >> 32)
        return !stopping.load();
      pause();
    }
    int64_t now = nowNs();
    if (now - start > spinNanoseconds)
      break;
    if (now - yielded > 2000) {
      sched_yield();
      yielded = now;
    }
  }
  sleepers.fetch_add(1);
  while (word.load() >> 32 == seen >> 32)
    futex(epochAddress(word), FUTEX_WAIT, static_cast<uint32_t>(seen >> 32));
  sleepers.fetch_sub(1);
  return !stopping.load();
}

void *ThreadPool::helperMain(void *argument) {
  Helper *helper = static_cast<Helper *>(argument);
  ThreadPool *pool = helper->pool;
  uint64_t seen;
  do {
    // Work that arrived since the last claim is taken before going to wait.
    do {
      pool->work(helper->worker);
      seen = pool->word.load(std::memory_order_acquire);
    } while (static_cast<uint32_t>(seen));
  } while (pool->waitForWork(seen));
  return nullptr;
}

} // namespace moe::rt
