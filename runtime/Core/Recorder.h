// What a session can write down about its runs: measures of layers and phases.
#ifndef MOE_RUNTIME_CORE_RECORDER_H
#define MOE_RUNTIME_CORE_RECORDER_H

#include "runtime/Core/Measures.h"
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
  uint64_t sampleSeed = 0;

  /// Null where nobody wants phases.
  Recorder *ifPhases() { return recordPhases ? this : nullptr; }

  void beginRun() { openPhases.clear(); }
  void endRun() { ++run; }

  void observe(const char *layer, const int32_t *ids, int64_t n,
               int64_t experts);
  Code measure(const char *layer, int32_t measure, int32_t score,
               int64_t experts, const moert_tensor *values, int32_t count);
  void phaseBegin(const char *name);
  void phaseEnd();

  const std::vector<moe_expert_counts> &expertCounts();
  const std::vector<moe_layer_measure> &measures();
  const std::vector<moe_phase> &phases() const { return finished; }

private:
  struct Open {
    const char *name;
    int64_t begin;
  };
  /// Beyond this many phases none are kept: 160 MB.
  static constexpr size_t maxPhases = size_t(4) << 20;
  static constexpr int64_t maxExperts = int64_t(1) << 20;

  LayerMeasures &find(const char *layer);

  std::atomic_flag lock = ATOMIC_FLAG_INIT;
  std::vector<LayerMeasures> layers;
  std::vector<moe_expert_counts> view;
  std::vector<moe_layer_measure> list;
  std::vector<Open> openPhases;
  std::vector<moe_phase> finished;
  int64_t origin = monotonicNs();
  int32_t run = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_CORE_RECORDER_H
