// Launches of the fake driver, one by one and as graphs.
#include "runtime/FakeDriver/FakeDriverState.h"

#include <cstring>

using namespace moe;
using namespace moe::fakecuda;

namespace moe::rt {
namespace {

/// A copy of what a launch is given, or an error.
CuResult read(const CuKernelNode &given, FakeContext *context,
              FakeLaunch &launch) {
  launch.function = *object<FakeFunction>(given.function);
  if (launch.function.context != context)
    return CuInvalidHandle;
  if (!given.gridX || given.gridY != 1 || given.gridZ != 1 || !given.blockX ||
      given.blockY != 1 || given.blockZ != 1 ||
      static_cast<int>(given.sharedBytes) > launch.function.dynamicBytes)
    return CuInvalidValue;
  launch.blocks = given.gridX;
  launch.threads = given.blockX;
  launch.sharedBytes = given.sharedBytes;
  launch.arguments.clear();
  const FakeKernel &kernel = *launch.function.kernel;
  for (size_t i = 0; i < kernel.parameterBytes.size(); ++i)
    std::memcpy(launch.arguments.emplace_back().bytes, given.parameters[i],
                kernel.parameterBytes[i]);
  return CuSuccess;
}

CuResult run(FakeLaunch &given) {
  const FakeFunction &function = given.function;
  emu::Launch launch;
  launch.name = function.name.c_str();
  launch.blocks = given.blocks;
  launch.threads = given.threads;
  launch.sharedBytes = given.sharedBytes;
  launch.entry = function.kernel->entry;
  std::vector<void *> values;
  for (auto &argument : given.arguments)
    values.push_back(function.kernel->byAddress ? argument.bytes
                                                : argument.bytes[0]);
  launch.arguments = values.data();
  Status status =
      emu::run(launch, function.context->memory, fake->schedule, nullptr);
  return status.ok() ? CuSuccess : fail(status.message);
}

CuResult enqueueLaunch(CuStream stream, FakeLaunch launch) {
  ++fake->numLaunched;
  return enqueue(
      stream, [launch = std::move(launch)]() mutable { return run(launch); });
}

} // namespace

CuResult cuLaunchKernel(CuFunction function, unsigned gridX, unsigned gridY,
                        unsigned gridZ, unsigned blockX, unsigned blockY,
                        unsigned blockZ, unsigned sharedBytes, CuStream stream,
                        void **parameters, void **) {
  Entered entered;
  if (entered.error || fake->launchResult)
    return entered.error ? entered.error : fake->launchResult;
  FakeLaunch launch;
  CuKernelNode given = {function,   gridX,   gridY,   gridZ,
                        blockX,     blockY,  blockZ,  sharedBytes,
                        parameters, nullptr, nullptr, nullptr};
  if (CuResult result = read(given, entered.at, launch))
    return result;
  return enqueueLaunch(stream, std::move(launch));
}

CuResult cuGraphCreate(CuGraph *graph, unsigned flags) {
  Entered entered;
  if (entered.error || flags)
    return entered.error ? entered.error : CuInvalidValue;
  ++fake->live[FakeDriver::Graphs];
  *graph = handle<CuGraph>(new FakeGraph);
  return CuSuccess;
}

// A chain: what else graphs can be, ours are not.
CuResult cuGraphAddKernelNode_v2(CuGraphNode *node, CuGraph handleOfGraph,
                                 const CuGraphNode *after, size_t numAfter,
                                 const CuKernelNode *kernel) {
  Entered entered;
  if (entered.error || fake->graphResult)
    return entered.error ? entered.error : fake->graphResult;
  auto *graph = object<FakeGraph>(handleOfGraph);
  if (numAfter != (graph->nodes.empty() ? 0 : 1) ||
      (numAfter && *after != graph->nodes.back()))
    return CuInvalidValue;
  FakeLaunch launch;
  if (CuResult result = read(*kernel, entered.at, launch))
    return result;
  graph->launches.push_back(std::move(launch));
  *node = reinterpret_cast<CuGraphNode>(graph->launches.size());
  graph->nodes.push_back(*node);
  return CuSuccess;
}

CuResult cuGraphInstantiateWithFlags(CuGraphExec *exec, CuGraph graph,
                                     unsigned long long flags) {
  Entered entered;
  if (entered.error || flags)
    return entered.error ? entered.error : CuInvalidValue;
  ++fake->live[FakeDriver::Graphs];
  *exec = handle<CuGraphExec>(new FakeGraph(*object<FakeGraph>(graph)));
  return CuSuccess;
}

CuResult cuGraphExecKernelNodeSetParams_v2(CuGraphExec exec, CuGraphNode node,
                                           const CuKernelNode *kernel) {
  Entered entered;
  if (entered.error || fake->graphUpdateResult)
    return entered.error ? entered.error : fake->graphUpdateResult;
  auto *graph = object<FakeGraph>(exec);
  size_t number = reinterpret_cast<uintptr_t>(node);
  if (!number || number > graph->launches.size())
    return CuInvalidHandle;
  ++fake->numUpdated;
  return read(*kernel, entered.at, graph->launches[number - 1]);
}

CuResult cuGraphLaunch(CuGraphExec exec, CuStream stream) {
  Entered entered;
  if (entered.error || fake->launchResult)
    return entered.error ? entered.error : fake->launchResult;
  for (const FakeLaunch &launch : object<FakeGraph>(exec)->launches)
    if (CuResult result = enqueueLaunch(stream, launch))
      return result;
  return CuSuccess;
}

CuResult cuGraphExecDestroy(CuGraphExec exec) {
  delete object<FakeGraph>(exec);
  --fake->live[FakeDriver::Graphs];
  return CuSuccess;
}

CuResult cuGraphDestroy(CuGraph graph) {
  delete object<FakeGraph>(graph);
  --fake->live[FakeDriver::Graphs];
  return CuSuccess;
}

} // namespace moe::rt
