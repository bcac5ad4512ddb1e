#include "runtime/Core/Run.h"

#include "runtime/Core/Text.h"
#include "runtime/IRInterface.h"

#include <algorithm>

static_assert(int(MOERT_INVALID_ARGUMENT) == int(MOE_INVALID_ARGUMENT) &&
              int(MOERT_UNSUPPORTED) == int(MOE_UNSUPPORTED) &&
              int(MOERT_OUT_OF_MEMORY) == int(MOE_OUT_OF_MEMORY) &&
              int(MOERT_MODEL_FAILED) == int(MOE_MODEL_FAILED) &&
              int(MOERT_INTERNAL) == int(MOE_INTERNAL));

namespace moe::rt {
namespace {

/// What the calling thread is doing for whom.
struct ThreadSlot {
  RunContext *context = nullptr;
  std::jmp_buf *chunkExit = nullptr; // set inside a region
  int64_t chunk = -1;
  int worker = 0;
};

thread_local ThreadSlot slot;

/// No region is cut finer than this; ranges must not depend on threads, so it
/// is a constant that keeps 64 threads busy.
constexpr int64_t maxChunks = 256;

struct Region {
  RunContext *context;
  void (*body)(void *arg, int64_t begin, int64_t end);
  void *arg;
  int64_t n;
  int64_t step;
};

} // namespace

std::string expandMessage(const char *message, const char *where,
                          int64_t value) {
  std::string out;
  for (const char *p = message ? message : "unknown failure"; *p; ++p) {
    std::string_view rest = p;
    if (rest.substr(0, 4) == "%lld") {
      out += std::to_string(value);
      p += 3;
    } else if (rest.substr(0, 2) == "%s") {
      out += printable(where ? where : "?");
      p += 1;
    } else {
      out += *p;
    }
  }
  return out;
}

RunContext::RunContext(int threads, uint64_t memoryLimit)
    : arenas{Arena(memoryLimit), Arena(memoryLimit)},
      pool(threads > 0 ? threads : availableProcessors()),
      scratch(new Scratch[pool.threads()]) {}

void RunContext::nextArena(bool keepLatest) {
  if (keepLatest)
    current ^= 1;
  arenas[current].reset();
}

void RunContext::recordFailure(const Failure &latest) {
  while (failureLock.test_and_set(std::memory_order_acquire)) {
  }
  // The failure of the lowest chunk, so that threads cannot change the message.
  if (!failed.load(std::memory_order_relaxed) || latest.chunk < failure.chunk)
    failure = latest;
  failed.store(true, std::memory_order_relaxed);
  failureLock.clear(std::memory_order_release);
}

RunContext *RunContext::running() { return slot.context; }

void RunContext::leave() { std::longjmp(exit, 1); }

void RunContext::dropDeviceResults() {
  for (const DeviceResult &result : deviceResults)
    offload->release(result.device);
  deviceResults.clear();
}

std::vector<RunContext::DeviceResult>::const_iterator
RunContext::findResult(const void *data) const {
  return std::find_if(
      deviceResults.begin(), deviceResults.end(),
      [&](const DeviceResult &result) { return result.host == data; });
}

Status RunContext::fetch(const void *data) {
  auto found = findResult(data);
  if (found == deviceResults.end())
    return {};
  Status status = offload->download(found->host, found->device, found->bytes,
                                    recorder.ifPhases());
  if (status.ok()) {
    offload->release(found->device);
    deviceResults.erase(found);
  }
  return status;
}

const void *RunContext::onDevice(const void *data) const {
  auto found = findResult(data);
  return found == deviceResults.end() ? nullptr : found->device;
}

Status RunContext::execute(void (*function)(void *), void *arg) {
  dropDeviceResults();
  ThreadSlot before = slot;
  failed.store(false, std::memory_order_relaxed);
  recorder.beginRun();
  slot = {this, nullptr, -1, 0};
  if (_setjmp(exit) == 0)
    function(arg);
  slot = before;
  scratch[0].release({});
  for (void *memory : deviceMemory)
    offload->release(memory);
  deviceMemory.clear();
  recorder.endRun();
  if (!failed.load(std::memory_order_relaxed))
    // What went wrong there is this run's error.
    return deviceResults.empty() ? Status() : offload->wait();
  dropDeviceResults();
  Code code = failure.code > MOE_OK && failure.code <= MOE_INTERNAL
                  ? static_cast<Code>(failure.code)
                  : Code::Internal;
  return {code, expandMessage(failure.message, failure.where, failure.value)};
}

/// The functions of IRInterface.h, as far as they touch the context's insides.
/// Nothing here may own anything across a call that can longjmp.
struct EntryPoints {
  static void runChunk(void *argument, uint32_t chunk, int worker) {
    Region &region = *static_cast<Region *>(argument);
    ThreadSlot before = slot;
    Scratch &scratch = region.context->scratch[worker];
    Scratch::Mark mark = scratch.mark();
    std::jmp_buf chunkExit;
    slot = {region.context, &chunkExit, chunk, worker};
    int64_t begin = chunk * region.step;
    // Only running out of scratch memory leaves a body early.
    if (_setjmp(chunkExit) == 0)
      region.body(region.arg, begin,
                  begin + std::min(region.step, region.n - begin));
    scratch.release(mark);
    slot = before;
  }

  static void parallelFor(int64_t n, int64_t grain,
                          void (*body)(void *, int64_t, int64_t), void *arg) {
    if (n <= 0)
      return;
    grain = std::max<int64_t>(grain, 1);
    RunContext &context = *slot.context;
    int64_t grains = n / grain + (n % grain != 0);
    int64_t perChunk = grains / maxChunks + (grains % maxChunks != 0);
    int64_t step;
    if (__builtin_mul_overflow(perChunk, grain, &step))
      step = n;
    uint32_t chunks = static_cast<uint32_t>(n / step + (n % step != 0));
    Region region{&context, body, arg, n, step};
    if (slot.chunkExit || chunks == 1) {
      for (uint32_t i = 0; i < chunks; ++i)
        runChunk(&region, i, slot.worker);
    } else {
      context.pool.run(chunks, runChunk, &region);
    }
    if (!slot.chunkExit && context.failed.load(std::memory_order_relaxed))
      context.leave();
  }

  static void fail(int32_t code, const char *message, const char *where,
                   int64_t value) {
    slot.context->recordFailure({code, message, where, value, slot.chunk});
    if (!slot.chunkExit)
      slot.context->leave();
  }

  static void *scratch(int64_t bytes) {
    void *data = slot.context->scratch[slot.worker].allocate(bytes);
    if (data)
      return data;
    outOfMemory(bytes);
  }

  [[noreturn]] static void outOfMemory(int64_t bytes) {
    fail(MOE_OUT_OF_MEMORY, "cannot allocate %lld bytes of memory for the run",
         nullptr, bytes);
    std::longjmp(*slot.chunkExit, 1);
  }

  static void *allocate(int64_t bytes) {
    // The arena is not locked: inside a region memory lives as long as the
    // body.
    if (slot.chunkExit)
      return scratch(bytes);
    void *data = slot.context->arena().allocate(bytes);
    if (data)
      return data;
    outOfMemory(bytes);
  }

  static void release(void *data) {
    if (!slot.chunkExit && slot.context->arena().owns(data))
      slot.context->arena().release(data);
  }

  static void *append(int32_t input, int32_t output,
                      const AppendRequest &request, int64_t *capacity) {
    RunContext &run = *slot.context;
    if (run.caches) {
      void *data = nullptr;
      int32_t code = MOE_OK;
      {
        auto place = run.caches->append(static_cast<uint32_t>(input),
                                        static_cast<uint32_t>(output),
                                        Caches::Host, request, *capacity);
        if (place)
          data = *place;
        code = static_cast<int32_t>(place.error().code);
        run.callError = place.error().message;
      }
      if (data)
        return data;
      if (code != MOE_OK)
        fail(code, "%s", run.callError.c_str(), 0);
    }
    if (__builtin_add_overflow(request.rows, request.fresh, capacity))
      *capacity = -1;
    void *data = allocate(request.bytes(*capacity));
    copyBlocks(request.toBlocks(data, *capacity));
    return data;
  }

  static RunContext &context() { return *slot.context; }
  static bool onMainThread() { return slot.worker == 0; }
};

} // namespace moe::rt

using moe::rt::EntryPoints;

void *moert_alloc(int64_t bytes) { return EntryPoints::allocate(bytes); }
void moert_free(void *data) { EntryPoints::release(data); }
void *moert_scratch(int64_t bytes) { return EntryPoints::scratch(bytes); }

void *moert_append(int32_t input, int32_t output, const void *past,
                   int64_t blocks, int64_t rows, int64_t fresh,
                   int64_t row_bytes, int64_t *capacity) {
  return EntryPoints::append(input, output,
                             {past, blocks, rows, fresh, row_bytes}, capacity);
}

void moert_parallel_for(int64_t n, int64_t grain,
                        void (*body)(void *arg, int64_t begin, int64_t end),
                        void *arg) {
  EntryPoints::parallelFor(n, grain, body, arg);
}

void moert_fail(int32_t code, const char *message, const char *where,
                int64_t value) {
  EntryPoints::fail(code, message, where, value);
}

void moert_observe(const char *layer, const int32_t *ids, int64_t n,
                   int64_t experts) {
  EntryPoints::context().recorder.observe(layer, ids, n, experts);
}

void moert_measure(const char *layer, int32_t measure, int32_t score,
                   int64_t experts, const moert_tensor *values, int32_t count) {
  moe::rt::Code code = EntryPoints::context().recorder.measure(
      layer, measure, score, experts, values, count);
  if (code == moe::rt::Code::OutOfMemory)
    EntryPoints::fail(
        MOE_OUT_OF_MEMORY,
        "layer '%s' is too large for what is to be measured of it", layer, 0);
  else if (code != moe::rt::Code::Ok)
    EntryPoints::fail(MOE_MODEL_FAILED,
                      "there are two layers '%s' of different sizes, which one "
                      "profile cannot hold",
                      layer, 0);
}

void moert_phase_begin(const char *name) {
  if (EntryPoints::onMainThread())
    EntryPoints::context().recorder.phaseBegin(name);
}

void moert_phase_end() {
  if (EntryPoints::onMainThread())
    EntryPoints::context().recorder.phaseEnd();
}
