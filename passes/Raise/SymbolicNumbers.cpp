// The numbers of small integer tensors: how graphs compute their shapes.
#include "passes/Raise/SymbolicShapes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/WeightRef.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

SymbolicShapes::Known SymbolicShapes::computeArithmetic(NodeOp node) {
  StringRef name = node.getOpType();
  SmallVector<SymbolicShape, 3> in;
  size_t count = 1;
  for (Value input : node.getInputs()) {
    const SymbolicShape *known = elements(input);
    if (!known || known->empty())
      return std::nullopt;
    in.push_back(*known);
    count = std::max(count, known->size());
  }
  SymbolicShape out;
  for (size_t i = 0; i < count; ++i) {
    auto at = [&](size_t input) {
      return in[input][in[input].size() == 1 ? 0 : i];
    };
    for (const SymbolicShape &list : in)
      if (list.size() != 1 && list.size() != count)
        return std::nullopt;
    DimExpr a = at(0), b = at(1);
    if (name == "Add") {
      out.push_back(a + b);
    } else if (name == "Sub") {
      out.push_back(a - b);
    } else if (name == "Mul") {
      out.push_back(a * b);
    } else if (name == "Div") {
      auto quotient = a.dividedBy(b);
      if (!quotient)
        return std::nullopt;
      out.push_back(*quotient);
    } else if (name == "Equal") {
      DimExpr difference = a - b;
      // A size is never a negative number.
      bool apart = difference.asConstant().value_or(0) != 0 ||
                   (a.isNonNegative() && b.asConstant().value_or(0) < 0) ||
                   (b.isNonNegative() && a.asConstant().value_or(0) < 0);
      if (!apart && !difference.isConstant(0))
        return std::nullopt;
      out.push_back(DimExpr::constant(apart ? 0 : 1));
    } else {
      auto condition = a.asConstant();
      if (!condition)
        return std::nullopt;
      out.push_back(*condition ? b : at(2));
    }
  }
  return out;
}

SymbolicShapes::Known SymbolicShapes::computeNode(NodeOp node) {
  StringRef name = node.getOpType();
  if (!node.getDomain().empty() || node.getInputs().empty())
    return std::nullopt;
  Value data = node.getInputs()[0];
  auto of = [&](Value value) -> Known {
    const SymbolicShape *known = elements(value);
    return known ? Known(*known) : std::nullopt;
  };
  if (name == "Shape") {
    const SymbolicShape *sizes = shape(data);
    if (!sizes)
      return std::nullopt;
    int64_t rank = static_cast<int64_t>(sizes->size());
    auto clamp = [&](int64_t at) {
      return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
    };
    int64_t start = clamp(node.intAttribute("start", 0)),
            end = std::max(clamp(node.intAttribute("end", rank)), start);
    return SymbolicShape(sizes->begin() + start, sizes->begin() + end);
  }
  if (name == "Size") {
    const SymbolicShape *sizes = shape(data);
    if (!sizes)
      return std::nullopt;
    DimExpr total = DimExpr::constant(1);
    for (const DimExpr &size : *sizes)
      total = total * size;
    return SymbolicShape{total};
  }
  if (name == "Identity" || name == "Squeeze" || name == "Unsqueeze" ||
      name == "Reshape" || name == "Cast")
    return of(data);
  if (name == "Concat") {
    SymbolicShape out;
    auto type = dyn_cast<RankedTensorType>(node.getResult(0).getType());
    for (Value input : node.getInputs()) {
      Known part = of(input);
      if (!part || !type || type.getRank() != 1)
        return std::nullopt;
      out.append(*part);
    }
    return out;
  }
  if (name == "Gather") {
    Known in = of(data);
    auto type = dyn_cast<RankedTensorType>(data.getType());
    auto indices = constantInts(node.getInputs()[1]);
    if (!in || !indices || !type || type.getRank() != 1)
      return std::nullopt;
    SymbolicShape out;
    for (int64_t index : *indices) {
      auto at = axisOf(index, in->size());
      if (!at)
        return std::nullopt;
      out.push_back((*in)[*at]);
    }
    return out;
  }
  if (name == "Slice") {
    Known in = of(data);
    auto type = dyn_cast<RankedTensorType>(data.getType());
    auto starts = listOf(node, "starts", 1), ends = listOf(node, "ends", 2);
    auto steps = node.input(4) ? constantInts(node.input(4)) : std::nullopt;
    if (!in || !type || type.getRank() != 1 || !starts || !ends ||
        starts->size() != 1 || ends->size() != 1 ||
        (node.input(4) && (!steps || steps->front() != 1)))
      return std::nullopt;
    int64_t size = static_cast<int64_t>(in->size());
    // The lowest start means the beginning, the highest end the end.
    auto clamp = [&](int64_t at) {
      return std::clamp<int64_t>(at < 0 && at >= -size ? at + size : at, 0,
                                 size);
    };
    int64_t start = clamp(starts->front()), end = clamp(ends->front());
    return SymbolicShape(in->begin() + start,
                         in->begin() + std::max(start, end));
  }
  if (name == "ConstantOfShape") {
    Known sizes = of(data);
    auto count = sizes && sizes->size() == 1 ? sizes->front().asConstant()
                                             : std::nullopt;
    auto value = dyn_cast_or_null<DenseElementsAttr>(node.attribute("value"));
    if (!count || *count < 0 || *count > 8 || !value ||
        !value.getElementType().isSignlessInteger() ||
        value.getNumElements() != 1)
      return std::nullopt;
    return SymbolicShape(
        *count,
        DimExpr::constant((*value.getValues<APInt>().begin()).getSExtValue()));
  }
  if (((name == "Add" || name == "Sub" || name == "Mul" || name == "Div" ||
        name == "Equal") &&
       node.getInputs().size() == 2) ||
      (name == "Where" && node.getInputs().size() == 3))
    return computeArithmetic(node);
  return std::nullopt;
}

SymbolicShapes::Known SymbolicShapes::compute(OpResult result) {
  Operation *op = result.getOwner();
  if (auto node = dyn_cast<NodeOp>(op))
    return node->getNumRegions() ? std::nullopt : computeNode(node);
  DenseIntElementsAttr dense;
  if (isa<onnx::ConstantOp>(op) && matchPattern(op, m_Constant(&dense))) {
    if (dense.getNumElements() > 8)
      return std::nullopt;
    SymbolicShape out;
    for (const APInt &number : dense.getValues<APInt>())
      out.push_back(DimExpr::constant(dense.getElementType().isInteger(1)
                                          ? number.getZExtValue()
                                          : number.getSExtValue()));
    return out;
  }
  if (auto number = getConstantIntValue(OpFoldResult(result)))
    return SymbolicShape{DimExpr::constant(*number)};
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    const SymbolicShape *sizes = shape(dim.getSource());
    auto at = dim.getConstantIndex();
    if (!sizes || !at || *at >= static_cast<int64_t>(sizes->size()))
      return std::nullopt;
    return SymbolicShape{(*sizes)[*at]};
  }
  if (isa<arith::MulIOp, arith::AddIOp>(op)) {
    const SymbolicShape *a = elements(op->getOperand(0)),
                        *b = elements(op->getOperand(1));
    if (!a || !b || a->size() != 1 || b->size() != 1)
      return std::nullopt;
    return SymbolicShape{isa<arith::MulIOp>(op) ? a->front() * b->front()
                                                : a->front() + b->front()};
  }
  return std::nullopt;
}
