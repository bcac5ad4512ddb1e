// What a session can write down about its runs: expert counts and phases.
#ifndef MOE_RUNTIME_CORE_RECORDER_H
#define MOE_RUNTIME_CORE_RECORDER_H

#include "runtime/moe_runtime.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::rt {

/// Nanoseconds of the monotonic clock.
int64_t monotonicNs();

/// Off unless asked for, then each call costs a branch. `observe` may be called
/// from any thread of the region, the rest from the session's thread.
class Recorder {
public:
  bool recordExperts = false;
  bool recordPhases = false;

  void beginRun() { openPhases.clear(); }
  void endRun() { ++run; }

  void observe(const char *layer, const int32_t *ids, int64_t n,
               int64_t experts);
  void phaseBegin(const char *name);
  void phaseEnd();

  const std::vector<moe_expert_counts> &expertCounts();
  const std::vector<moe_phase> &phases() const { return finished; }

private:
  struct Layer {
    const char *name;
    std::vector<uint64_t> counts;
  };
  struct Open {
    const char *name;
    int64_t begin;
  };
  /// Beyond this many phases none are kept: 160 MB.
  static constexpr size_t maxPhases = size_t(4) << 20;
  static constexpr int64_t maxExperts = int64_t(1) << 20;

  std::atomic_flag lock = ATOMIC_FLAG_INIT;
  std::vector<Layer> layers;
  std::vector<moe_expert_counts> view;
  std::vector<Open> openPhases;
  std::vector<moe_phase> finished;
  int64_t origin = monotonicNs();
  int32_t run = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_RECORDER_H
