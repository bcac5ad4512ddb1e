#include "passes/Raise/NodeSupport.h"

#include "dialects/MoE/MoEOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/Raise/WeightRef.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

NodeOp moe::createNode(OpBuilder &builder, Location loc, StringRef name,
                       int64_t version, ValueRange inputs, Type result) {
  return NodeOp::create(builder, loc, TypeRange(result),
                        builder.getStringAttr(name), builder.getStringAttr(""),
                        builder.getI64IntegerAttr(version), inputs,
                        DictionaryAttr(), 0);
}

std::optional<SmallVector<int64_t>> moe::listOf(NodeOp node, StringRef name,
                                                unsigned i) {
  if (node.attribute(name))
    return node.intsAttribute(name);
  return node.input(i) ? constantInts(node.input(i)) : std::nullopt;
}

std::optional<size_t> moe::axisOf(int64_t axis, size_t rank) {
  axis = axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
  if (axis < 0 || axis >= static_cast<int64_t>(rank))
    return std::nullopt;
  return static_cast<size_t>(axis);
}

RankedTensorType moe::f32Type(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32() ? type : RankedTensorType();
}

bool moe::isGraphArgument(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  return argument &&
         isa<FunctionOpInterface>(argument.getOwner()->getParentOp());
}

bool moe::isConstant(Value value, unsigned depth) {
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<onnx::ConstantOp, onnx::NoneOp, WeightOp>(op))
    return true;
  auto node = dyn_cast_or_null<NodeOp>(op);
  // Without inputs: random numbers.
  return node && depth && !node->getNumRegions() && !node.getInputs().empty() &&
         llvm::all_of(node.getInputs(), [&](Value input) {
           return isConstant(input, depth - 1);
         });
}

Value moe::storedWeight(Value value) {
  if (auto cast = value.getDefiningOp<NodeOp>();
      cast && cast.is("Cast") && cast.intAttribute("to", 0) == 1)
    value = cast.input(0);
  if (!value || !value.getDefiningOp<WeightOp>())
    return {};
  Type element = cast<RankedTensorType>(value.getType()).getElementType();
  bool narrow = element.isF32() || element.isBF16() || element.isF16();
  return narrow ? value : Value();
}

Value moe::emptyLike(OpBuilder &builder, Location loc, Type element,
                     ArrayRef<std::pair<Value, int64_t>> dimensions) {
  SmallVector<int64_t> shape;
  SmallVector<Value> dynamic;
  for (auto [value, d] : dimensions) {
    shape.push_back(cast<RankedTensorType>(value.getType()).getDimSize(d));
    if (ShapedType::isDynamic(shape.back()))
      dynamic.push_back(tensor::DimOp::create(builder, loc, value, d));
  }
  return tensor::EmptyOp::create(builder, loc, shape, element, dynamic);
}

Value moe::transposed(OpBuilder &builder, Location loc, Value value,
                      ArrayRef<int64_t> perm) {
  Value inner = value;
  while (auto cast = inner.getDefiningOp<tensor::CastOp>())
    inner = cast.getSource();
  if (auto node = inner.getDefiningOp<NodeOp>();
      node && node.is("Transpose") && node.attribute("perm")) {
    SmallVector<int64_t> other = node.intsAttribute("perm");
    bool undoes = other.size() == perm.size();
    for (size_t d = 0; d < perm.size() && undoes; ++d)
      undoes = other[perm[d]] == static_cast<int64_t>(d);
    if (undoes)
      return node.input(0);
  }
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  for (int64_t d : perm)
    shape.push_back(type.getDimSize(d));
  NodeOp node = createNode(builder, loc, "Transpose", 13, value,
                           RankedTensorType::get(shape, type.getElementType()));
  node.setOnnxAttributesAttr(builder.getDictionaryAttr(
      builder.getNamedAttr("perm", builder.getDenseI64ArrayAttr(perm))));
  return node.getResult(0);
}

bool moe::requireSame(OpBuilder &builder, Location loc, SymbolicShapes &shapes,
                      Dimension a, Dimension b, StringRef message) {
  const SymbolicShape *x = shapes.shape(a.tensor), *y = shapes.shape(b.tensor);
  if (x && y) {
    const DimExpr &m = (*x)[a.index], &n = (*y)[b.index];
    if (m == n)
      return true;
    if (m.asConstant() && n.asConstant())
      return false;
  }
  Value first = tensor::DimOp::create(builder, loc, a.tensor, a.index);
  Value second = tensor::DimOp::create(builder, loc, b.tensor, b.index);
  Value same = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq,
                                     first, second);
  cf::AssertOp::create(builder, loc, same, message);
  return true;
}

void moe::replaceValue(OpBuilder &builder, Value old, Value value) {
  if (value.getType() != old.getType())
    value = tensor::CastOp::create(builder, old.getLoc(), old.getType(), value);
  old.replaceAllUsesWith(value);
}

void moe::markDead(Value value, llvm::DenseSet<Operation *> &dead) {
  SmallVector<Operation *> work = {value.getDefiningOp()};
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (!isa_and_nonnull<NodeOp>(op) ||
        llvm::any_of(op->getUsers(),
                     [&](Operation *user) { return !dead.contains(user); }) ||
        !dead.insert(op).second)
      continue;
    for (Value operand : op->getOperands())
      work.push_back(operand.getDefiningOp());
  }
}

void moe::eraseDead(FunctionOpInterface function) {
  function.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
    if (isOpTriviallyDead(op))
      op->erase();
  });
}
