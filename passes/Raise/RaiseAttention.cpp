#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "passes/Raise/AttentionMatch.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISEATTENTIONPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

namespace {
constexpr remark::RemarkOpts raise =
    remark::RemarkOpts::name("attention").category("moe-raise");
} // namespace

/// `operand` as keys and values are read, [B, heads, L, D].
static Value asHeadsFirst(OpBuilder &builder, Location loc,
                          const HeadsOperand &operand) {
  Value root = operand.root;
  if (operand.layout == HeadLayout::HeadsFirst)
    return root;
  Value init = emptyLike(builder, loc, builder.getF32Type(),
                         {{root, 0}, {root, 2}, {root, 1}, {root, 3}});
  return moert::KvAppendOp::create(builder, loc, TypeRange{init.getType()},
                                   Value(), root, init)
      .getResult(0);
}

/// The mask as the operator reads it: anything but zero shows a key.
static Value keyMask(OpBuilder &builder, Location loc,
                     const AttentionMatch &match) {
  if (!match.keyMask || !match.maskIsOne)
    return match.keyMask;
  auto type = cast<RankedTensorType>(match.keyMask.getType());
  Type element = type.getElementType();
  auto scalar = RankedTensorType::get({}, element);
  Value one = onnx::ConstantOp::create(
      builder, loc, cast<ElementsAttr>(builder.getOneAttr(scalar)));
  return createNode(builder, loc, "Equal", 13, {match.keyMask, one},
                    RankedTensorType::get(type.getShape(), builder.getI1Type()))
      .getResult(0);
}

/// Checks what the graph would check: the sizes of operands. False where they
/// cannot be right.
static bool checkSizes(OpBuilder &builder, Location loc,
                       const AttentionMatch &match, SymbolicShapes &shapes) {
  auto rows = [](const HeadsOperand &operand) {
    return Dimension{operand.root,
                     operand.layout == HeadLayout::HeadsFirst ? 2 : 1};
  };
  Dimension batch{match.query.root, 0}, keys = rows(match.key);
  StringRef batches = "attention: queries, keys, values and mask have "
                      "different batch sizes";
  StringRef counts = "attention: keys, values and mask differ in length";
  bool fits =
      requireSame(builder, loc, shapes, batch, {match.key.root, 0}, batches) &&
      requireSame(builder, loc, shapes, batch, {match.value.root, 0},
                  batches) &&
      requireSame(builder, loc, shapes, keys, rows(match.value), counts);
  if (fits && match.keyMask)
    fits =
        requireSame(builder, loc, shapes, batch, {match.keyMask, 0}, batches) &&
        requireSame(builder, loc, shapes, keys, {match.keyMask, 1}, counts);
  return fits;
}

/// Writes `match` where its result was computed.
static void emit(AttentionMatch &match) {
  OpBuilder builder(match.output.getDefiningOp());
  Location loc = match.output.getLoc();
  Value query = asRowsFirst(builder, loc, match.query.root, match.query.layout);
  Value key = asHeadsFirst(builder, loc, match.key);
  Value value = asHeadsFirst(builder, loc, match.value);
  Value init = emptyLike(builder, loc, builder.getF32Type(),
                         {{query, 0}, {query, 1}, {query, 2}, {query, 3}});
  Value result =
      moert::AttentionOp::create(
          builder, loc, TypeRange{init.getType()}, query, key, value,
          keyMask(builder, loc, match), match.bias, init,
          builder.getF64FloatAttr(match.scale),
          match.causal ? builder.getUnitAttr() : UnitAttr(),
          builder.getI64IntegerAttr(match.window),
          builder.getF64FloatAttr(match.softcap),
          moert::MaskedRowAttr::get(builder.getContext(), match.maskedRow))
          .getResult(0);
  // Graphs put rows first right after: then nothing moves.
  for (Operation *user : llvm::make_early_inc_range(match.output.getUsers())) {
    auto node = dyn_cast<NodeOp>(user);
    if (node && node.is("Transpose") &&
        node.intsAttribute("perm") == SmallVector<int64_t>{0, 2, 1, 3})
      replaceValue(builder, node.getResult(0), result);
  }
  if (llvm::any_of(match.output.getUsers(),
                   [](Operation *user) { return !isOpTriviallyDead(user); }))
    replaceValue(builder, match.output,
                 transposed(builder, loc, result, {0, 2, 1, 3}));
}

namespace {
struct RaiseAttentionPass
    : moe::impl::RaiseAttentionPassBase<RaiseAttentionPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<FunctionOpInterface>()) {
      if (function.isExternal())
        continue;
      SmallVector<NodeOp> nodes;
      for (auto node : function.front().getOps<NodeOp>())
        if (node.is("Softmax"))
          nodes.push_back(node);
      SymbolicShapes shapes(function);
      for (NodeOp node : nodes)
        raiseOne(node, shapes);
      eraseDead(function);
    }
  }

  static void raiseOne(NodeOp softmax, SymbolicShapes &shapes) {
    std::string reason;
    auto match = matchAttention(softmax, reason);
    if (!match || !explainAttention(*match, shapes, reason)) {
      remark::missed(softmax.getLoc(), raise)
          << "a softmax is no attention: " + reason;
      return;
    }
    OpBuilder builder(match->output.getDefiningOp());
    if (!checkSizes(builder, match->output.getLoc(), *match, shapes)) {
      remark::missed(softmax.getLoc(), raise)
          << "a softmax is no attention: its operands differ in sizes";
      return;
    }
    emit(*match);
    remark::passed(match->output.getLoc(), raise) << "raised attention";
  }
};
} // namespace
