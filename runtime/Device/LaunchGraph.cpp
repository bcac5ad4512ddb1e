#include "runtime/Device/LaunchGraph.h"

#include "runtime/Core/Text.h"

namespace moe::rt {
namespace {

CuKernelNode nodeOf(LaunchList::Entry &entry) {
  CuKernelNode node = {};
  node.function = entry.kernel->function;
  node.gridX = entry.blocks;
  node.blockX = entry.kernel->threads;
  node.gridY = node.gridZ = node.blockY = node.blockZ = 1;
  node.sharedBytes = entry.kernel->sharedBytes;
  node.parameters = entry.arguments.data();
  return node;
}

} // namespace

bool LaunchGraph::isKnownTo(const Driver &driver) {
  return driver.graphCreate && driver.graphAddKernelNode &&
         driver.graphInstantiate && driver.graphExecKernelNodeSetParams &&
         driver.graphLaunch && driver.graphExecDestroy && driver.graphDestroy;
}

Result<LaunchGraph> LaunchGraph::create(Device &device,
                                        const LaunchList &launches) {
  const Driver &driver = device.driver();
  Device::Scope scope(device);
  LaunchGraph made;
  made.device = &device;
  CuResult result = driver.graphCreate(&made.graph, 0);
  for (size_t i = 0; i < launches.size() && !result; ++i) {
    LaunchList::Entry entry = launches[i];
    CuKernelNode node = nodeOf(entry);
    CuGraphNode added = nullptr;
    result = driver.graphAddKernelNode(
        &added, made.graph, made.nodes.empty() ? nullptr : &made.nodes.back(),
        made.nodes.empty() ? 0 : 1, &node);
    made.nodes.push_back(added);
  }
  if (!result)
    result = driver.graphInstantiate(&made.exec, made.graph, 0);
  if (result)
    return device.explain(result, "make a graph of kernels");
  made.launches = launches;
  return made;
}

LaunchGraph &LaunchGraph::operator=(LaunchGraph &&other) noexcept {
  if (this == &other)
    return *this;
  destroy();
  device = std::exchange(other.device, nullptr);
  graph = std::exchange(other.graph, nullptr);
  exec = std::exchange(other.exec, nullptr);
  nodes = std::move(other.nodes);
  launches = std::move(other.launches);
  return *this;
}

void LaunchGraph::destroy() {
  if (!device)
    return;
  Device::Scope scope(*device);
  if (exec)
    device->driver().graphExecDestroy(exec);
  if (graph)
    device->driver().graphDestroy(graph);
  device = nullptr;
}

bool LaunchGraph::update(const LaunchList &latest) {
  Device::Scope scope(*device);
  for (size_t i = 0; i < latest.size(); ++i) {
    if (launches.hasArgumentsOf(latest, i))
      continue;
    LaunchList::Entry entry = latest[i];
    CuKernelNode node = nodeOf(entry);
    if (device->driver().graphExecKernelNodeSetParams(exec, nodes[i], &node))
      return false;
  }
  launches = latest;
  return true;
}

Status LaunchGraph::launch() {
  Device::Scope scope(*device);
  CuResult result = device->driver().graphLaunch(exec, device->stream());
  for (size_t i = 0; i < launches.size(); ++i)
    device->noteLaunch(launches.kernel(i).name);
  if (result)
    return device->explain(
        result, text("launch a graph of ", launches.size(), " kernels"));
  return {};
}

} // namespace moe::rt
