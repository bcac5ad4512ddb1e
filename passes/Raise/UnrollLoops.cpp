#include "mlir/IR/IRMapping.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/Passes.h"
#include "passes/Raise/WeightRef.h"

namespace moe {
#define GEN_PASS_DEF_UNROLLLOOPSPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// As many experts as a layer may have.
static constexpr int64_t kMostTrips = 512;

/// How often `loop` runs, where that is known and worth a copy each.
static std::optional<int64_t> knownTrips(NodeOp loop) {
  if (loop.getBodies().size() != 1 || !loop.input(0))
    return std::nullopt;
  Block &body = loop.getBodies().front().front();
  // Nothing but carried values: no scan outputs.
  size_t carried = loop.getNumResults();
  if (body.getNumArguments() != carried + 2 ||
      loop.getInputs().size() != carried + 2 ||
      body.getTerminator()->getNumOperands() != carried + 1 ||
      !onnx::conditionHolds(loop.input(1), body))
    return std::nullopt;
  auto trips = constantInts(loop.input(0));
  if (!trips || trips->size() != 1 || trips->front() < 1 ||
      trips->front() > kMostTrips)
    return std::nullopt;
  return trips->front();
}

/// True where `value` follows from the iteration by few nodes.
static bool followsFrom(Value value, Value iteration, unsigned depth = 4) {
  if (value == iteration)
    return true;
  auto node = value.getDefiningOp<NodeOp>();
  return node && depth > 0 && llvm::any_of(node.getInputs(), [&](Value input) {
           return followsFrom(input, iteration, depth - 1);
         });
}

/// True where the body takes another part of a stored matrix each time.
static bool picksWeights(Block &body) {
  return llvm::any_of(body.getOps<NodeOp>(), [&](NodeOp node) {
    if (!node.is("Gather") && !node.is("Slice"))
      return false;
    WeightRef weight = resolveWeight(node.getInputs()[0]);
    return weight && weight.rank() == 3 &&
           llvm::any_of(node.getInputs().drop_front(), [&](Value input) {
             return followsFrom(input, body.getArgument(0));
           });
  });
}

/// `value` under the type that readers of the loop's result were made for.
static Value underType(OpBuilder &builder, Location loc, Value value,
                       Type type) {
  if (value.getType() == type)
    return value;
  return createNode(builder, loc, "Identity", 16, value, type).getResult(0);
}

static void unroll(NodeOp loop, int64_t trips) {
  OpBuilder builder(loop);
  Location loc = loop.getLoc();
  Block &body = loop.getBodies().front().front();
  Operation *yield = body.getTerminator();
  auto one = [&](Value like, int64_t number) -> Value {
    auto type = cast<RankedTensorType>(like.getType());
    return onnx::ConstantOp::create(
        builder, loc,
        DenseElementsAttr::get(
            type, Attribute(IntegerAttr::get(type.getElementType(), number))));
  };
  SmallVector<Value> carried(loop.getInputs().drop_front(2));
  for (int64_t i = 0; i < trips; ++i) {
    IRMapping values;
    values.map(body.getArgument(0), one(body.getArgument(0), i));
    values.map(body.getArgument(1), one(body.getArgument(1), 1));
    for (auto [c, value] : llvm::enumerate(carried))
      values.map(body.getArgument(c + 2), value);
    for (Operation &op : body.without_terminator())
      builder.clone(op, values);
    SmallVector<Value> next;
    for (size_t c = 0; c < carried.size(); ++c)
      next.push_back(values.lookupOrDefault(yield->getOperand(c + 1)));
    carried = next;
  }
  for (auto [c, value] : llvm::enumerate(carried))
    loop.getResult(c).replaceAllUsesWith(
        underType(builder, loc, value, loop.getResult(c).getType()));
  loop.erase();
}

namespace {
struct UnrollLoopsPass : moe::impl::UnrollLoopsPassBase<UnrollLoopsPass> {
  void runOnOperation() override {
    SmallVector<NodeOp> loops;
    getOperation().walk([&](NodeOp node) {
      if (node.is("Loop"))
        loops.push_back(node);
    });
    for (NodeOp loop : loops)
      if (auto trips = knownTrips(loop);
          trips && picksWeights(loop.getBodies().front().front()))
        unroll(loop, *trips);
  }
};
} // namespace
