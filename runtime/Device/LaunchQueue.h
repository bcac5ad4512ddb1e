// Launches that go to a device together.
#ifndef MOE_RUNTIME_DEVICE_LAUNCHQUEUE_H
#define MOE_RUNTIME_DEVICE_LAUNCHQUEUE_H

#include "runtime/Device/LaunchGraph.h"

#include <list>

namespace moe::rt {

/// Collects launches until somebody has to see what came of them. Where the
/// same kernels were launched before with as many blocks, as in each step of
/// decoding, they start as one CUDA graph, in which only what differs from the
/// last time is changed; else one by one. Either way in order.
///
/// MOE_CUDA_GRAPHS=0 in the environment: never as a graph. One thread at a
/// time.
class LaunchQueue {
public:
  explicit LaunchQueue(Device &device);

  /// As `launch`, but later. The kernel must stay.
  Status add(const Kernel &kernel, uint64_t blocks, void *const *arguments);
  /// Before anything else is asked of the device, or memory is freed. What
  /// waits may be others'; where it cannot be launched, the device is given up,
  /// so that they hear of it.
  Status flush();
  /// And until it is done.
  Status finish();

  /// How many launches of graphs there were.
  uint64_t graphLaunches() const { return numGraphLaunches; }

private:
  bool mayBeGraph() const;
  Status launchAll();
  Status launchGraph();
  bool wasSeen(uint64_t hash);

  Device &device;
  bool areGraphsWanted;
  LaunchList waiting;
  std::list<LaunchGraph> graphs; // latest first
  std::vector<uint64_t> seen;    // hashes, latest last
  uint64_t numGraphLaunches = 0;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_LAUNCHQUEUE_H
