#include "passes/Raise/BakedTrace.h"
#include "dialects/Onnx/OnnxOps.h"
#include "passes/Raise/WeightRef.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// The dimension of `value` that counts what a NonZero found, with that node.
static std::pair<NodeOp, int64_t> countedDimension(Value value) {
  auto node = value.getDefiningOp<NodeOp>();
  if (!node)
    return {};
  if (node.is("NonZero"))
    return {node, 1};
  if (!node.is("Transpose") && !node.is("Identity") && !node.is("Cast"))
    return {};
  auto [source, from] = countedDimension(node.input(0));
  if (!source || !node.is("Transpose"))
    return {source, from};
  SmallVector<int64_t> perm = node.intsAttribute("perm");
  if (perm.empty())
    return {source, 1 - from};
  for (size_t d = 0; d < perm.size(); ++d)
    if (perm[d] == from)
      return {source, static_cast<int64_t>(d)};
  return {};
}

/// True where a TopK or ArgMax is among the nodes that `value` is made of,
/// not further than a router's choice is from its use.
static bool comesFromChoice(Value value) {
  SmallVector<Value> work = {value};
  llvm::DenseSet<Value> seen;
  for (unsigned steps = 0; !work.empty() && steps < 32; ++steps) {
    Value next = work.pop_back_val();
    auto node = next.getDefiningOp<NodeOp>();
    if (!node || !seen.insert(next).second)
      continue;
    if (node.is("TopK") || node.is("ArgMax"))
      return true;
    work.append(node.getInputs().begin(), node.getInputs().end());
  }
  return false;
}

LogicalResult moe::refuseBakedTraces(FunctionOpInterface function) {
  WalkResult result = function.walk([&](NodeOp node) {
    if (!node.is("Split") || !node.input(0) ||
        (node.input(1) && !constantInts(node.input(1))))
      return WalkResult::advance();
    auto [found, dimension] = countedDimension(node.input(0));
    int64_t axis = node.intAttribute("axis", 0);
    axis = axis < 0 ? axis + 2 : axis;
    if (!found || axis != dimension || !comesFromChoice(found.getResult(0)))
      return WalkResult::advance();
    node.emitError("Split: the file runs exactly ")
        << node.getNumResults()
        << " experts, those that the input it was traced with reached; other "
           "inputs reach others: export it with all experts";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}
