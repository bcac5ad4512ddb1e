// What generated code runs in: memory, threads, and a way out on failure.
#ifndef MOE_RUNTIME_CORE_RUN_H
#define MOE_RUNTIME_CORE_RUN_H

#include "runtime/Core/Arena.h"
#include "runtime/Core/Caches.h"
#include "runtime/Core/Offload.h"
#include "runtime/Core/Recorder.h"
#include "runtime/Core/Scratch.h"
#include "runtime/Core/Status.h"
#include "runtime/Core/ThreadPool.h"

#include <csetjmp>
#include <memory>
#include <vector>

namespace moe::rt {

/// Everything the moert_ functions of IRInterface.h need, found through a
/// thread-local pointer while execute() runs. Also serves code that is compiled
/// in memory and has no Session. One thread at a time.
class RunContext {
public:
  /// `threads` <= 0: as many as there are processors. `memoryLimit` 0: the
  /// machine's memory.
  explicit RunContext(int threads = 0, uint64_t memoryLimit = 0);
  ~RunContext() { dropDeviceResults(); }
  RunContext(const RunContext &) = delete;
  RunContext &operator=(const RunContext &) = delete;

  /// Calls function(arg); a moert_fail inside becomes the returned error.
  /// Memory of the arena from earlier runs stays valid, see nextArena().
  Status execute(void (*function)(void *), void *arg);

  /// Recycles the older of two arenas and allocates from it from now on, so
  /// that tensors of the latest run outlive the next: what feeds back needs
  /// that. With `keepLatest` false the latest is recycled.
  void nextArena(bool keepLatest);
  Arena &arena() { return arenas[current]; }

  int threads() const { return pool.threads(); }
  uint64_t peakMemory() const { return arenas[0].peak() + arenas[1].peak(); }

  Recorder recorder;
  /// Where fed-back outputs live; null where there is no session.
  Caches *caches = nullptr;
  /// What runs on a device, if anything does.
  Offload *offload = nullptr;
  std::vector<void *> deviceMemory; // of this run
  /// Outputs of the latest run that are on the device alone; see
  /// moert_device_present.
  struct DeviceResult {
    void *host; // where they go when somebody wants them
    void *device;
    int64_t bytes;
  };
  std::vector<DeviceResult> deviceResults;
  /// Has the bytes at `data`, if they are such an output, come.
  Status fetch(const void *data);
  /// Where such an output is on the device, or null.
  const void *onDevice(const void *data) const;
  void dropDeviceResults();
  std::string callError; // what came of the last call that failed

  /// Of this thread.
  static RunContext *running();

private:
  friend struct EntryPoints;

  struct Failure {
    int32_t code;
    const char *message;
    const char *where;
    int64_t value;
    int64_t chunk; // of the region it happened in, for a stable choice
  };

  void recordFailure(const Failure &failure);
  std::vector<DeviceResult>::const_iterator findResult(const void *data) const;
  [[noreturn]] void leave();

  Arena arenas[2];
  int current = 0;
  ThreadPool pool;
  std::unique_ptr<Scratch[]> scratch; // per worker
  std::jmp_buf exit;
  std::atomic_flag failureLock = ATOMIC_FLAG_INIT;
  std::atomic<bool> failed{false};
  Failure failure{};
};

/// Replaces one %lld and one %s; other text is kept as it is.
std::string expandMessage(const char *message, const char *where,
                          int64_t value);

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_RUN_H
