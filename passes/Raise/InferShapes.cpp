// Shapes of results from the shapes of operands, operator by operator.
#include "passes/Raise/SymbolicShapes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "passes/Raise/NodeSupport.h"
#include "passes/Raise/WeightRef.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace moe;
using onnx::NodeOp;

DimExpr SymbolicShapes::broadcast(const DimExpr &a, const DimExpr &b,
                                  Value result, int64_t dim) {
  if (a == b || b.isConstant(1))
    return a;
  if (a.isConstant(1) || (b.asConstant() && !a.asConstant()))
    return b;
  if (a.asConstant() && !b.asConstant())
    return a;
  return fresh(result, dim);
}

SymbolicShapes::Known
SymbolicShapes::inferBroadcast(NodeOp node, OpResult result, unsigned first) {
  size_t rank = 0;
  SmallVector<SymbolicShape> all;
  for (Value input : node.getInputs().drop_front(first)) {
    const SymbolicShape *known = shape(input);
    if (!known)
      return std::nullopt;
    all.push_back(*known);
    rank = std::max(rank, known->size());
  }
  SymbolicShape out(rank, DimExpr::constant(1));
  for (const SymbolicShape &in : all)
    for (size_t i = 0; i < in.size(); ++i) {
      size_t d = rank - in.size() + i;
      out[d] = broadcast(out[d], in[i], result, static_cast<int64_t>(d));
    }
  return out;
}

SymbolicShapes::Known SymbolicShapes::inferReshape(NodeOp node,
                                                   OpResult result) {
  const SymbolicShape *target = elements(node.getInputs()[1]);
  if (!target)
    return std::nullopt;
  SymbolicShape out = *target;
  const SymbolicShape *in = shape(node.getInputs()[0]);
  if (!in)
    return std::nullopt;
  DimExpr total = DimExpr::constant(1), known = DimExpr::constant(1);
  for (const DimExpr &size : *in)
    total = total * size;
  bool copies = node.intAttribute("allowzero", 0) == 0;
  std::optional<size_t> open;
  for (size_t d = 0; d < out.size(); ++d) {
    if (out[d].isConstant(-1)) {
      open = d;
      continue;
    }
    if (copies && out[d].isConstant(0)) {
      if (d >= in->size())
        return std::nullopt;
      out[d] = (*in)[d];
    }
    known = known * out[d];
  }
  if (open) {
    auto rest = total.dividedBy(known);
    out[*open] = rest ? *rest : fresh(result, static_cast<int64_t>(*open));
  }
  return out;
}

/// `shape` with dimensions of size 1 in front.
static SymbolicShape padded(const SymbolicShape &shape, size_t rank) {
  SymbolicShape out(rank - shape.size(), DimExpr::constant(1));
  out.append(shape.begin(), shape.end());
  return out;
}

SymbolicShapes::Known SymbolicShapes::inferMatMul(NodeOp node,
                                                  OpResult result) {
  const SymbolicShape *a = shape(node.getInputs()[0]),
                      *b = shape(node.getInputs()[1]);
  if (!a || !b || a->size() < 2 || b->size() < 2)
    return std::nullopt;
  size_t rank = std::max(a->size(), b->size());
  SymbolicShape x = padded(*a, rank), y = padded(*b, rank);
  SymbolicShape out;
  for (size_t d = 0; d + 2 < rank; ++d)
    out.push_back(broadcast(x[d], y[d], result, static_cast<int64_t>(d)));
  out.push_back(x[rank - 2]);
  out.push_back(y[rank - 1]);
  return out;
}

SymbolicShapes::Known SymbolicShapes::inferSlice(NodeOp node) {
  const SymbolicShape *in = shape(node.getInputs()[0]);
  // Exporters compute half of a known size.
  auto list = [&](StringRef name,
                  unsigned i) -> std::optional<SmallVector<int64_t>> {
    if (auto numbers = listOf(node, name, i))
      return numbers;
    const SymbolicShape *known =
        node.input(i) ? elements(node.input(i)) : nullptr;
    if (!known)
      return std::nullopt;
    SmallVector<int64_t> numbers;
    for (const DimExpr &number : *known)
      if (auto constant = number.asConstant())
        numbers.push_back(*constant);
    if (numbers.size() != known->size())
      return std::nullopt;
    return numbers;
  };
  auto starts = list("starts", 1), ends = list("ends", 2),
       axes = list("axes", 3);
  if (!in || !starts || !ends || starts->size() != ends->size())
    return std::nullopt;
  if (node.input(4)) {
    auto steps = constantInts(node.input(4));
    if (!steps || llvm::any_of(*steps, [](int64_t s) { return s != 1; }))
      return std::nullopt;
  }
  if (!axes) {
    if (node.input(3))
      return std::nullopt;
    axes.emplace();
    for (size_t i = 0; i < starts->size(); ++i)
      axes->push_back(static_cast<int64_t>(i));
  }
  SymbolicShape out = *in;
  for (size_t i = 0; i < starts->size(); ++i) {
    auto axis = axisOf((*axes)[i], out.size());
    if (!axis)
      return std::nullopt;
    auto size = out[*axis].asConstant();
    int64_t from = (*starts)[i], to = (*ends)[i];
    if (!size) {
      if (from == 0 && to == std::numeric_limits<int64_t>::max())
        continue;
      return std::nullopt;
    }
    auto clamp = [&](int64_t at) {
      return std::clamp<int64_t>(at < 0 ? at + *size : at, 0, *size);
    };
    out[*axis] =
        DimExpr::constant(std::max<int64_t>(clamp(to) - clamp(from), 0));
  }
  return out;
}

SymbolicShapes::Known SymbolicShapes::inferNode(NodeOp node, OpResult result) {
  static const llvm::StringSet<> same = {
      "Softmax", "Identity",  "Cast",  "Neg",  "Sqrt",     "Reciprocal",
      "Cos",     "Sin",       "Exp",   "Log",  "Abs",      "Not",
      "IsNaN",   "Sigmoid",   "Tanh",  "Erf",  "Relu",     "CumSum",
      "Trilu",   "Gelu",      "Swish", "Clip", "Softplus", "Dropout",
      "IsInf",   "LogSoftmax"};
  static const llvm::StringSet<> spread = {
      "Add",  "Sub", "Mul",  "Div",         "Pow",     "Min",
      "Max",  "And", "Or",   "Xor",         "Equal",   "Less",
      "Mod",  "Sum", "Mean", "LessOrEqual", "Greater", "GreaterOrEqual",
      "Where"};
  StringRef name = node.getOpType();
  if (node.getInputs().empty())
    return std::nullopt;
  const SymbolicShape *in = shape(node.getInputs()[0]);
  bool contribNorm = name.contains("LayerNormalization") ||
                     name == "RMSNormalization" || name == "RotaryEmbedding";
  if (contribNorm)
    return in && result.getResultNumber() == 0 ? Known(*in) : std::nullopt;
  if (!node.getDomain().empty() || !in)
    return std::nullopt;
  if (same.contains(name))
    return *in;
  if (spread.contains(name))
    return inferBroadcast(node, result, 0);
  if (name == "MatMul")
    return inferMatMul(node, result);
  if (name == "Reshape")
    return inferReshape(node, result);
  if (name == "Slice")
    return inferSlice(node);
  if (name == "Gemm") {
    const SymbolicShape *b = shape(node.getInputs()[1]);
    if (!b || in->size() != 2 || b->size() != 2)
      return std::nullopt;
    return SymbolicShape{(*in)[node.intAttribute("transA", 0) ? 1 : 0],
                         (*b)[node.intAttribute("transB", 0) ? 0 : 1]};
  }
  if (name == "TopK") {
    auto axis = axisOf(node.intAttribute("axis", -1), in->size());
    const SymbolicShape *count =
        node.input(1) ? elements(node.input(1)) : nullptr;
    if (!axis)
      return std::nullopt;
    SymbolicShape out = *in;
    out[*axis] = count && count->size() == 1
                     ? count->front()
                     : fresh(result, static_cast<int64_t>(*axis));
    return out;
  }
  if (name == "Transpose") {
    SmallVector<int64_t> perm = node.intsAttribute("perm");
    SymbolicShape out;
    for (size_t d = 0; d < in->size(); ++d)
      out.push_back((*in)[perm.empty() ? in->size() - 1 - d
                                       : static_cast<size_t>(perm[d])]);
    return out;
  }
  if (name == "Expand") {
    const SymbolicShape *target = elements(node.getInputs()[1]);
    if (!target)
      return std::nullopt;
    size_t rank = std::max(target->size(), in->size());
    SymbolicShape want = padded(*target, rank), have = padded(*in, rank);
    for (size_t d = 0; d < rank; ++d)
      want[d] = broadcast(have[d], want[d], result, static_cast<int64_t>(d));
    return want;
  }
  if (name == "Tile" && node.input(1)) {
    auto repeats = constantInts(node.input(1));
    if (!repeats || repeats->size() != in->size())
      return std::nullopt;
    SymbolicShape out;
    for (auto [size, times] : llvm::zip(*in, *repeats))
      out.push_back(size * DimExpr::constant(times));
    return out;
  }
  if (name == "Unsqueeze" || name == "Squeeze") {
    auto axes = listOf(node, "axes", 1);
    bool adds = name == "Unsqueeze";
    SymbolicShape out;
    size_t rank = in->size() + (adds && axes ? axes->size() : 0);
    if (!axes) {
      if (adds || node.input(1))
        return std::nullopt;
      for (const DimExpr &size : *in)
        if (!size.isConstant(1))
          out.push_back(size);
      return out;
    }
    SmallVector<bool> named(rank, false);
    for (int64_t a : *axes) {
      auto axis = axisOf(a, rank);
      if (!axis)
        return std::nullopt;
      named[*axis] = true;
    }
    size_t from = 0;
    for (size_t d = 0; d < rank; ++d) {
      if (adds)
        out.push_back(named[d] ? DimExpr::constant(1) : (*in)[from++]);
      else if (!named[d])
        out.push_back((*in)[d]);
    }
    return out;
  }
  if (name == "Concat") {
    auto axis = axisOf(node.intAttribute("axis", 0), in->size());
    if (!axis)
      return std::nullopt;
    SymbolicShape out = *in;
    for (Value input : node.getInputs().drop_front()) {
      const SymbolicShape *next = shape(input);
      if (!next || next->size() != out.size())
        return std::nullopt;
      for (size_t d = 0; d < out.size(); ++d) {
        if (d == *axis)
          out[d] = out[d] + (*next)[d];
        else if ((*next)[d].asConstant())
          out[d] = (*next)[d];
      }
    }
    return out;
  }
  if (name == "Gather" && node.input(1)) {
    const SymbolicShape *indices = shape(node.input(1));
    auto axis = axisOf(node.intAttribute("axis", 0), in->size());
    if (!indices || !axis)
      return std::nullopt;
    SymbolicShape out(in->begin(), in->begin() + *axis);
    out.append(indices->begin(), indices->end());
    out.append(in->begin() + *axis + 1, in->end());
    return out;
  }
  if (name == "GatherND" && node.input(1) &&
      node.intAttribute("batch_dims", 0) == 0) {
    const SymbolicShape *indices = shape(node.input(1));
    if (!indices || indices->empty())
      return std::nullopt;
    auto picked = indices->back().asConstant();
    if (!picked || *picked > static_cast<int64_t>(in->size()))
      return std::nullopt;
    SymbolicShape out(indices->begin(), indices->end() - 1);
    out.append(in->begin() + *picked, in->end());
    return out;
  }
  if (name == "Range") {
    const SymbolicShape *from = elements(node.getInputs()[0]),
                        *to = elements(node.getInputs()[1]),
                        *step = elements(node.getInputs()[2]);
    if (!step || !from || !to || !step->front().isConstant(1))
      return std::nullopt;
    return SymbolicShape{to->front() - from->front()};
  }
  if (name == "ConstantOfShape") {
    const SymbolicShape *sizes = elements(node.getInputs()[0]);
    return sizes ? Known(*sizes) : std::nullopt;
  }
  if (name.starts_with("Reduce")) {
    auto axes = listOf(node, "axes", 1);
    if (!axes || axes->empty())
      return std::nullopt;
    SmallVector<bool> named(in->size(), false);
    for (int64_t a : *axes) {
      auto axis = axisOf(a, in->size());
      if (!axis)
        return std::nullopt;
      named[*axis] = true;
    }
    SymbolicShape out;
    for (size_t d = 0; d < in->size(); ++d) {
      if (!named[d])
        out.push_back((*in)[d]);
      else if (node.intAttribute("keepdims", 1) != 0)
        out.push_back(DimExpr::constant(1));
    }
    return out;
  }
  return std::nullopt;
}

SymbolicShapes::Known SymbolicShapes::infer(OpResult result) {
  Operation *op = result.getOwner();
  if (auto node = dyn_cast<NodeOp>(op))
    return inferNode(node, result);
  auto of = [&](Value value) -> Known {
    const SymbolicShape *known = shape(value);
    return known ? Known(*known) : std::nullopt;
  };
  if (auto destination = dyn_cast<DestinationStyleOpInterface>(op))
    return of(destination.getTiedOpOperand(result)->get());
  if (auto cast = dyn_cast<tensor::CastOp>(op))
    return of(cast.getSource());
  if (auto empty = dyn_cast<tensor::EmptyOp>(op)) {
    SymbolicShape out;
    for (OpFoldResult size : empty.getMixedSizes()) {
      if (auto number = getConstantIntValue(size)) {
        out.push_back(DimExpr::constant(*number));
        continue;
      }
      const SymbolicShape *known = elements(cast<Value>(size));
      if (!known)
        return std::nullopt;
      out.push_back(known->front());
    }
    return out;
  }
  if (auto reshape = dyn_cast<tensor::ReshapeOp>(op)) {
    auto sizes = reshape.getShape().getDefiningOp<tensor::FromElementsOp>();
    if (!sizes)
      return std::nullopt;
    SymbolicShape out;
    for (Value size : sizes.getElements()) {
      const SymbolicShape *known = elements(size);
      if (!known)
        return std::nullopt;
      out.push_back(known->front());
    }
    return out;
  }
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    Known in = of(collapse.getSrc());
    if (!in)
      return std::nullopt;
    SymbolicShape out;
    for (const ReassociationIndices &group :
         collapse.getReassociationIndices()) {
      DimExpr size = DimExpr::constant(1);
      for (int64_t d : group)
        size = size * (*in)[d];
      out.push_back(size);
    }
    return out;
  }
  // moe.router, moe.gate, moe.apply: as many rows as their first operand.
  if (op->getName().getDialectNamespace() == "moe" && op->getNumOperands())
    if (auto type = dyn_cast<RankedTensorType>(result.getType());
        type && type.getRank() == 2 && type.isDynamicDim(0) &&
        !type.isDynamicDim(1)) {
      Known in = of(op->getOperand(0));
      if (in && in->size() == 2)
        return SymbolicShape{in->front(),
                             DimExpr::constant(type.getDimSize(1))};
    }
  return std::nullopt;
}
