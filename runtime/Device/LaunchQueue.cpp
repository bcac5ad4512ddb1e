#include "runtime/Device/LaunchQueue.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace moe::rt {
namespace {

// Fewer start as fast one by one.
constexpr size_t fewestLaunches = 8;
// One for each number of tokens that comes back, and for parts of a run.
constexpr size_t mostGraphs = 16;
constexpr size_t mostSeen = 64;

} // namespace

LaunchQueue::LaunchQueue(Device &device) : device(device) {
  const char *wanted = std::getenv("MOE_CUDA_GRAPHS");
  areGraphsWanted = !(wanted && std::strcmp(wanted, "0") == 0);
}

Status LaunchQueue::add(const Kernel &kernel, uint64_t blocks,
                        void *const *arguments) {
  if (!device.failure().ok())
    return device.failure();
  // What cannot be copied, or a caller who wants to see kernels fail.
  if (!kernel.hasParameters || !blocks || blocks > kMostBlocks ||
      device.launchesBlocking()) {
    if (Status status = flush(); !status.ok())
      return status;
    return launch(kernel, blocks, arguments);
  }
  waiting.add(kernel, static_cast<uint32_t>(blocks), arguments);
  return {};
}

bool LaunchQueue::mayBeGraph() const {
  return areGraphsWanted && waiting.size() >= fewestLaunches &&
         LaunchGraph::isKnownTo(device.driver());
}

bool LaunchQueue::wasSeen(uint64_t hash) {
  if (std::find(seen.begin(), seen.end(), hash) != seen.end())
    return true;
  if (seen.size() == mostSeen) {
    // Of those that are no graphs the oldest.
    auto isGraph = [&](uint64_t known) {
      return std::any_of(
          graphs.begin(), graphs.end(),
          [&](const LaunchGraph &graph) { return graph.hash() == known; });
    };
    seen.erase(std::find_if_not(seen.begin(), seen.end(), isGraph));
  }
  seen.push_back(hash);
  return false;
}

Status LaunchQueue::launchAll() {
  for (size_t i = 0; i < waiting.size(); ++i) {
    LaunchList::Entry entry = waiting[i];
    if (Status status =
            launch(*entry.kernel, entry.blocks, entry.arguments.data());
        !status.ok())
      return status;
  }
  return {};
}

/// Where the driver will have none of it, it will not the next time.
Status LaunchQueue::launchGraph() {
  auto found =
      std::find_if(graphs.begin(), graphs.end(), [&](const LaunchGraph &graph) {
        return graph.hasShapeOf(waiting);
      });
  if (found != graphs.end()) {
    graphs.splice(graphs.begin(), graphs, found);
    areGraphsWanted = found->update(waiting);
  } else if (wasSeen(waiting.hash())) {
    auto made = LaunchGraph::create(device, waiting);
    areGraphsWanted = static_cast<bool>(made);
    if (made)
      graphs.push_front(std::move(*made));
    if (graphs.size() > mostGraphs) {
      // Worth another only if it comes back twice again.
      seen.erase(std::find(seen.begin(), seen.end(), graphs.back().hash()));
      graphs.pop_back();
    }
  } else
    return launchAll();
  if (!areGraphsWanted) {
    graphs.clear();
    return launchAll();
  }
  ++numGraphLaunches;
  return graphs.front().launch();
}

Status LaunchQueue::flush() {
  if (!waiting.size())
    return {};
  Status status = device.failure();
  if (status.ok())
    status = mayBeGraph() ? launchGraph() : launchAll();
  waiting.clear();
  if (!status.ok())
    device.giveUp(status);
  return status;
}

Status LaunchQueue::finish() {
  if (Status status = flush(); !status.ok())
    return status;
  return device.synchronize();
}

} // namespace moe::rt
