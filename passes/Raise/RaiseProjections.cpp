#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "dialects/Onnx/OnnxOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Raise/Passes.h"

namespace moe {
#define GEN_PASS_DEF_RAISEPROJECTIONSPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// The stored weight behind a matrix operand, or null: the weight itself, or
/// what a Cast to f32 widens.
Value storedWeight(Value value) {
  if (auto cast = value.getDefiningOp<onnx::NodeOp>();
      cast && cast.is("Cast") && cast.intAttribute("to", 0) == 1)
    value = cast.input(0);
  if (!value || !value.getDefiningOp<WeightOp>())
    return {};
  auto type = cast<RankedTensorType>(value.getType());
  bool narrow = type.getElementType().isF32() ||
                type.getElementType().isBF16() || type.getElementType().isF16();
  return narrow && type.getRank() == 2 ? value : Value();
}

/// Raises `node`, a MatMul; false where it is no projection.
bool raise(onnx::NodeOp node) {
  auto type = dyn_cast<RankedTensorType>(node.getResult(0).getType());
  auto rows = dyn_cast<RankedTensorType>(node.getInputs()[0].getType());
  Value weight = storedWeight(node.getInputs()[1]);
  if (!weight || !type || !rows || rows.getRank() < 2 ||
      !rows.getElementType().isF32() || rows.isDynamicDim(rows.getRank() - 1))
    return false;
  OpBuilder builder(node);
  Location loc = node.getLoc();
  Value x = node.getInputs()[0];
  int64_t rank = rows.getRank();
  ReassociationIndices lead;
  for (int64_t d = 0; d + 1 < rank; ++d)
    lead.push_back(d);
  SmallVector<ReassociationIndices> groups{lead, {rank - 1}};
  SmallVector<Value> sizes;
  for (int64_t d = 0; d + 1 < rank; ++d)
    sizes.push_back(tensor::DimOp::create(builder, loc, x, d));
  int64_t columns = cast<RankedTensorType>(weight.getType()).getDimSize(1);
  sizes.push_back(arith::ConstantIndexOp::create(builder, loc, columns));
  if (rank > 2)
    x = tensor::CollapseShapeOp::create(builder, loc, x, groups);
  auto flat = cast<RankedTensorType>(x.getType());
  SmallVector<Value> dynamic;
  if (flat.isDynamicDim(0))
    dynamic.push_back(tensor::DimOp::create(builder, loc, x, 0));
  Value init =
      tensor::EmptyOp::create(builder, loc, {flat.getDimSize(0), columns},
                              builder.getF32Type(), dynamic);
  Value y = moert::GemmOp::create(builder, loc, TypeRange{init.getType()}, x,
                                  weight, Value(), Value(), init, UnitAttr())
                .getResult(0);
  if (rank > 2) {
    SmallVector<int64_t> shape(rows.getShape().drop_back());
    shape.push_back(columns);
    // Not expand_shape: lowering it aborts upstream where a group has more
    // than one dynamic size.
    Value target = tensor::FromElementsOp::create(
        builder, loc, RankedTensorType::get({rank}, builder.getIndexType()),
        sizes);
    y = tensor::ReshapeOp::create(
        builder, loc, RankedTensorType::get(shape, builder.getF32Type()), y,
        target);
  }
  if (y.getType() != type)
    y = tensor::CastOp::create(builder, loc, type, y);
  node.getResult(0).replaceAllUsesWith(y);
  node.erase();
  return true;
}

struct RaiseProjectionsPass
    : moe::impl::RaiseProjectionsPassBase<RaiseProjectionsPass> {
  void runOnOperation() override {
    SmallVector<onnx::NodeOp> products;
    getOperation().walk([&](onnx::NodeOp node) {
      if (node.is("MatMul"))
        products.push_back(node);
    });
    for (onnx::NodeOp node : products)
      raise(node);
  }
};
} // namespace
