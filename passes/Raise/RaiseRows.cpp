// Rows that only move: embeddings, and keys and values appended to caches.
#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISEROWSPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

/// `Gather` of rows of a stored table.
static void raiseEmbedding(NodeOp node) {
  Value table = storedWeight(node.getInputs()[0]), ids = node.input(1);
  auto type = f32Type(node.getResult(0));
  auto idType =
      ids ? dyn_cast<RankedTensorType>(ids.getType()) : RankedTensorType();
  if (!table || cast<RankedTensorType>(table.getType()).getRank() != 2 ||
      !type || !idType || node.intAttribute("axis", 0) != 0 ||
      !(idType.getElementType().isInteger(64) ||
        idType.getElementType().isInteger(32)))
    return;
  OpBuilder builder(node);
  Location loc = node.getLoc();
  SmallVector<std::pair<Value, int64_t>> dimensions;
  for (int64_t d = 0; d < idType.getRank(); ++d)
    dimensions.push_back({ids, d});
  dimensions.push_back({table, 1});
  Value init = emptyLike(builder, loc, builder.getF32Type(), dimensions);
  Value rows = moert::EmbedOp::create(builder, loc, TypeRange{init.getType()},
                                      ids, table, init)
                   .getResult(0);
  replaceValue(builder, node.getResult(0), rows);
}

/// `Concat` of an argument of the function, [B, heads, P, D], and new rows.
static void raiseAppend(NodeOp node, SymbolicShapes &shapes) {
  if (node.getInputs().size() != 2)
    return;
  Value past = node.getInputs()[0], fresh = node.getInputs()[1];
  auto type = dyn_cast<RankedTensorType>(node.getResult(0).getType());
  auto pastType = dyn_cast<RankedTensorType>(past.getType());
  if (!isGraphArgument(past) || !type || !pastType || type.getRank() != 4 ||
      pastType.getRank() != 4 || !isa<RankedTensorType>(fresh.getType()) ||
      axisOf(node.intAttribute("axis", 0), 4) != 2 || type.isDynamicDim(1) ||
      type.isDynamicDim(3))
    return;
  auto freshType = cast<RankedTensorType>(fresh.getType());
  for (int64_t d : {1, 3})
    if (pastType.getDimSize(d) != type.getDimSize(d) ||
        freshType.getDimSize(d) != type.getDimSize(d))
      return;
  OpBuilder builder(node);
  Location loc = node.getLoc();
  if (!requireSame(builder, loc, shapes, {past, 0}, {fresh, 0},
                   "a cache and the rows that are appended to it have "
                   "different batch sizes"))
    return;
  fresh = transposed(builder, loc, fresh, {0, 2, 1, 3});
  Value length = arith::AddIOp::create(
      builder, loc, tensor::DimOp::create(builder, loc, past, 2),
      tensor::DimOp::create(builder, loc, fresh, 1));
  SmallVector<int64_t> shape = {pastType.getDimSize(0), type.getDimSize(1),
                                ShapedType::kDynamic, type.getDimSize(3)};
  SmallVector<Value> dynamic;
  if (pastType.isDynamicDim(0))
    dynamic.push_back(tensor::DimOp::create(builder, loc, past, 0));
  dynamic.push_back(length);
  Value init = tensor::EmptyOp::create(builder, loc, shape,
                                       type.getElementType(), dynamic);
  Value present =
      moert::KvAppendOp::create(builder, loc, TypeRange{init.getType()}, past,
                                fresh, init)
          .getResult(0);
  replaceValue(builder, node.getResult(0), present);
}

namespace {
struct RaiseRowsPass : moe::impl::RaiseRowsPassBase<RaiseRowsPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<FunctionOpInterface>()) {
      if (function.isExternal())
        continue;
      SymbolicShapes shapes(function);
      for (auto node :
           llvm::make_early_inc_range(function.front().getOps<NodeOp>())) {
        if (node.is("Gather"))
          raiseEmbedding(node);
        else if (node.is("Concat"))
          raiseAppend(node, shapes);
      }
      eraseDead(function);
    }
  }
};
} // namespace
