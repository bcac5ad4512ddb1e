// Helpers that share the chunks of a parallel region.
#ifndef MOE_RUNTIME_CORE_THREADPOOL_H
#define MOE_RUNTIME_CORE_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <pthread.h>
#include <vector>

namespace moe::rt {

/// Runs the chunks of one region at a time on the caller and `threads - 1`
/// helpers. All coordination is one 64-bit word, `epoch << 32 | chunks left`,
/// from which everybody claims by compare-and-swap. Completion is counted per
/// chunk: the caller never waits for a helper to arrive, so a helper without a
/// processor costs nothing. Idle helpers spin for some 30 us, then sleep on a
/// futex.
class ThreadPool {
public:
  /// Work on chunk `chunk`; `worker` is 0 for the caller, else the helper.
  using Body = void (*)(void *arg, uint32_t chunk, int worker);

  /// `threads` includes the caller. Helpers that cannot be started are done
  /// without.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Calls body for every chunk in [0, chunks), returns when all are done. One
  /// thread at a time; not from a body.
  void run(uint32_t chunks, Body body, void *arg);

  int threads() const { return static_cast<int>(helpers.size()) + 1; }

private:
  struct Helper {
    ThreadPool *pool;
    int worker;
    pthread_t thread;
  };

  static void *helperMain(void *helper);
  bool claim(uint32_t &chunk);
  void work(int worker);
  bool waitForWork(uint64_t seen);

  // On their own cache lines: the first is fought over, the second is written
  // by everyone, the rest is read only while a region runs.
  alignas(64) std::atomic<uint64_t> word{0};
  alignas(64) std::atomic<uint32_t> done{0};
  std::atomic<uint32_t> sleepers{0};
  std::atomic<bool> stopping{false};
  alignas(64) Body body = nullptr;
  void *arg = nullptr;
  uint32_t chunks = 0;
  std::vector<Helper> helpers;
};

/// Processors this process may use (its affinity mask), at least 1.
int availableProcessors();

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_THREADPOOL_H
