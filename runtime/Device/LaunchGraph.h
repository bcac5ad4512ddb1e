// Launches as a CUDA graph.
#ifndef MOE_RUNTIME_DEVICE_LAUNCHGRAPH_H
#define MOE_RUNTIME_DEVICE_LAUNCHGRAPH_H

#include "runtime/Device/LaunchList.h"

namespace moe::rt {

/// A chain of launches that starts with one call of the driver. It must go
/// before the device.
class LaunchGraph {
public:
  static bool isKnownTo(const Driver &driver);
  static Result<LaunchGraph> create(Device &device, const LaunchList &launches);

  LaunchGraph() = default;
  LaunchGraph(LaunchGraph &&other) noexcept { *this = std::move(other); }
  LaunchGraph &operator=(LaunchGraph &&other) noexcept;
  ~LaunchGraph() { destroy(); }

  /// The same kernels, in the same order, with as many blocks.
  bool hasShapeOf(const LaunchList &other) const {
    return launches.hasShapeOf(other);
  }
  uint64_t hash() const { return launches.hash(); }
  /// Takes the arguments of launches of the same shape; false where the driver
  /// refuses, and the graph is of no more use.
  bool update(const LaunchList &launches);
  Status launch();

private:
  void destroy();

  Device *device = nullptr;
  CuGraph graph = nullptr;
  CuGraphExec exec = nullptr;
  std::vector<CuGraphNode> nodes;
  LaunchList launches; // as they are in `exec`
};

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_LAUNCHGRAPH_H
