#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "dialects/Onnx/OnnxOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/Passes.h"
#include "passes/Raise/SymbolicShapes.h"

namespace moe {
#define GEN_PASS_DEF_RAISEPROJECTIONSPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// A product of rows with a weight, and what is added to it.
struct Projection {
  onnx::NodeOp product;
  Value weight, bias, residual;
  onnx::NodeOp last; ///< the node whose result it is
};

/// The only reader of `value` that is not dead, where that is an Add.
onnx::NodeOp onlyAdd(Value value) {
  onnx::NodeOp only;
  for (OpOperand &use : value.getUses()) {
    Operation *user = use.getOwner();
    if (isOpTriviallyDead(user))
      continue;
    auto node = dyn_cast<onnx::NodeOp>(user);
    if (only || !node || !node.is("Add") ||
        node->getBlock() != value.getParentBlock())
      return {};
    only = node;
  }
  return only;
}

/// What `add` adds to `value`.
Value otherInput(onnx::NodeOp add, Value value) {
  return add.getInputs()[add.getInputs()[0] == value ? 1 : 0];
}

std::optional<Projection> match(onnx::NodeOp node) {
  auto type = f32Type(node.getResult(0)), rows = f32Type(node.getInputs()[0]);
  Value weight = storedWeight(node.getInputs()[1]);
  if (!weight || !type || !rows || rows.getRank() < 2 ||
      cast<RankedTensorType>(weight.getType()).getRank() != 2 ||
      rows.isDynamicDim(rows.getRank() - 1))
    return std::nullopt;
  Projection found{node, weight, {}, {}, node};
  int64_t columns = cast<RankedTensorType>(weight.getType()).getDimSize(1);
  Value y = node.getResult(0);
  if (onnx::NodeOp add = onlyAdd(y)) {
    Value other = otherInput(add, y), bias = storedWeight(other);
    if (!bias && isConstant(other) && f32Type(other))
      bias = other;
    if (bias && cast<RankedTensorType>(bias.getType()).getShape() ==
                    ArrayRef<int64_t>{columns}) {
      found.bias = bias;
      found.last = add;
      y = add.getResult(0);
    }
  }
  // A sum with rows of the same sizes, which must be known to be the same.
  if (onnx::NodeOp add = onlyAdd(y)) {
    Value other = otherInput(add, y);
    if (other != y && !isConstant(other) && f32Type(other) == type &&
        add.getResult(0).getType() == type)
      found.residual = other, found.last = add;
  }
  return found;
}

void raise(Projection found, SymbolicShapes &shapes) {
  Value residual = found.residual;
  onnx::NodeOp last = found.last;
  if (residual && !shapes.sameShape(residual, found.product.getResult(0))) {
    residual = {};
    last = found.bias ? onlyAdd(found.product.getResult(0)) : found.product;
  }
  OpBuilder builder(last);
  Location loc = found.product.getLoc();
  Value x = found.product.getInputs()[0];
  auto rows = cast<RankedTensorType>(x.getType());
  int64_t rank = rows.getRank();
  ReassociationIndices lead;
  for (int64_t d = 0; d + 1 < rank; ++d)
    lead.push_back(d);
  SmallVector<ReassociationIndices> groups{lead, {rank - 1}};
  SmallVector<Value> sizes;
  for (int64_t d = 0; d + 1 < rank; ++d)
    sizes.push_back(tensor::DimOp::create(builder, loc, x, d));
  int64_t columns =
      cast<RankedTensorType>(found.weight.getType()).getDimSize(1);
  sizes.push_back(arith::ConstantIndexOp::create(builder, loc, columns));
  if (rank > 2) {
    x = tensor::CollapseShapeOp::create(builder, loc, x, groups);
    if (residual)
      residual =
          tensor::CollapseShapeOp::create(builder, loc, residual, groups);
  }
  auto flat = cast<RankedTensorType>(x.getType());
  SmallVector<Value> dynamic;
  if (flat.isDynamicDim(0))
    dynamic.push_back(tensor::DimOp::create(builder, loc, x, 0));
  Value init =
      tensor::EmptyOp::create(builder, loc, {flat.getDimSize(0), columns},
                              builder.getF32Type(), dynamic);
  Value y = moert::GemmOp::create(builder, loc, TypeRange{init.getType()}, x,
                                  found.weight, found.bias, residual, init,
                                  UnitAttr())
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
  replaceValue(builder, last.getResult(0), y);
}

struct RaiseProjectionsPass
    : moe::impl::RaiseProjectionsPassBase<RaiseProjectionsPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<FunctionOpInterface>()) {
      if (function.isExternal())
        continue;
      SmallVector<onnx::NodeOp> products;
      function.walk([&](onnx::NodeOp node) {
        if (node.is("MatMul"))
          products.push_back(node);
      });
      SymbolicShapes shapes(function);
      // One by one: what is raised is what the next one adds to.
      for (onnx::NodeOp node : products)
        if (auto projection = match(node))
          raise(*projection, shapes);
      eraseDead(function);
    }
  }
};
} // namespace
