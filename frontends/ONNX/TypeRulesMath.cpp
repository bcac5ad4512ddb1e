// Types of products, reductions and whole layers.
#include "frontends/ONNX/TypeRules.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace moe::onnx;

namespace {
Types matmul(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  RankedTensorType a = node.ranked(0), b = node.ranked(1);
  if (!a || !b)
    return one(unranked(node.element(0)));
  if (a.getRank() == 0 || b.getRank() == 0)
    return node.emitError() << "multiplies a scalar";
  int64_t k = a.getShape().back();
  int64_t l = b.getShape()[std::max<int64_t>(0, b.getRank() - 2)];
  if (!ShapedType::isDynamic(k) && !ShapedType::isDynamic(l) && k != l)
    return node.emitError()
           << "multiplies " << spell(a) << " by " << spell(b)
           << ": inner sizes " << k << " and " << l << " differ";
  auto batch =
      broadcast(node, a.getShape().drop_back(std::min<int64_t>(2, a.getRank())),
                b.getShape().drop_back(std::min<int64_t>(2, b.getRank())));
  if (failed(batch))
    return failure();
  SmallVector<int64_t> shape = *batch;
  if (a.getRank() > 1)
    shape.push_back(a.getShape()[a.getRank() - 2]);
  if (b.getRank() > 1)
    shape.push_back(b.getShape().back());
  return one(tensor(shape, a.getElementType()));
}

Types gemm(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  RankedTensorType a = node.ranked(0), b = node.ranked(1);
  if ((a && a.getRank() != 2) || (b && b.getRank() != 2))
    return node.emitError() << "needs matrices, not " << spell(node.inputs[0])
                            << " and " << spell(node.inputs[1]);
  bool ta = node.integer("transA", 0), tb = node.integer("transB", 0);
  int64_t m = a ? a.getDimSize(ta ? 1 : 0) : kDynamic;
  int64_t k = a ? a.getDimSize(ta ? 0 : 1) : kDynamic;
  int64_t l = b ? b.getDimSize(tb ? 1 : 0) : kDynamic;
  int64_t n = b ? b.getDimSize(tb ? 0 : 1) : kDynamic;
  if (!ShapedType::isDynamic(k) && !ShapedType::isDynamic(l) && k != l)
    return node.emitError()
           << "multiplies " << spell(a) << " by " << spell(b)
           << ": inner sizes " << k << " and " << l << " differ";
  return one(tensor({m, n}, node.element(0)));
}

Types reduce(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  if (!type)
    return one(node.inputs[0]);
  Axes axes = axesOf(node, 1);
  bool keep = node.integer("keepdims", 1);
  if (!axes.known)
    return one(keep ? tensor(SmallVector<int64_t>(type.getRank(), kDynamic),
                             type.getElementType())
                    : unranked(type.getElementType()));
  if (axes.axes.empty() && node.integer("noop_with_empty_axes", 0))
    return one(type);
  llvm::SmallSet<int64_t, 4> gone;
  for (int64_t axis : axes.axes) {
    auto at = axisOf(node, axis, type.getRank());
    if (failed(at))
      return failure();
    gone.insert(*at);
  }
  SmallVector<int64_t> shape;
  for (auto [i, size] : llvm::enumerate(type.getShape())) {
    if (!gone.empty() && !gone.contains(i))
      shape.push_back(size);
    else if (keep)
      shape.push_back(1);
  }
  return one(tensor(shape, type.getElementType()));
}

Types argReduce(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  Type i64 = IntegerType::get(node.context, 64);
  if (!type)
    return one(unranked(i64));
  auto at = axisOf(node, node.integer("axis", 0), type.getRank());
  if (failed(at))
    return failure();
  SmallVector<int64_t> shape(type.getShape());
  if (node.integer("keepdims", 1))
    shape[*at] = 1;
  else
    shape.erase(shape.begin() + *at);
  return one(tensor(shape, i64));
}

Types topK(const NodeFacts &node) {
  RankedTensorType type = node.ranked(0);
  Type i64 = IntegerType::get(node.context, 64);
  if (!type)
    return SmallVector<Type>{node.inputs[0], unranked(i64)};
  auto at = axisOf(node, node.integer("axis", -1), type.getRank());
  if (failed(at))
    return failure();
  int64_t k = node.integer("k", kDynamic);
  if (auto value = node.value(1); value && value->size() == 1)
    k = (*value)[0];
  int64_t size = type.getDimSize(*at);
  if (!ShapedType::isDynamic(k) && !ShapedType::isDynamic(size) && k > size)
    return node.emitError() << "takes the top " << k << " of " << size;
  SmallVector<int64_t> shape(type.getShape());
  shape[*at] = k;
  return SmallVector<Type>{tensor(shape, type.getElementType()),
                           tensor(shape, i64)};
}

Types normalization(const NodeFacts &node) {
  SmallVector<Type> types(node.numOutputs, NoneType::get(node.context));
  types[0] = node.inputs[0];
  for (unsigned i = 1; i < types.size(); ++i)
    types[i] = unranked(node.element(0));
  return types;
}

Types skipNormalization(const NodeFacts &node) {
  SmallVector<Type> types(node.numOutputs, unranked(node.element(0)));
  types[0] = node.inputs[0];
  if (types.size() > 3)
    types[3] = node.inputs[0];
  return types;
}

/// com.microsoft.MoE and QMoE: shapes of routers, weights and scales.
Types contribMoE(const NodeFacts &node) {
  RankedTensorType logits = node.ranked(1), fc1 = node.ranked(2);
  if (!logits)
    return one(node.inputs[0]);
  if (logits.getRank() != 2)
    return node.emitError()
           << "needs router logits [tokens, experts], not " << spell(logits);
  int64_t experts = logits.getDimSize(1), k = node.integer("k", 1);
  if (fc1 && fc1.getRank() == 3 && !ShapedType::isDynamic(experts) &&
      fc1.getDimSize(0) != experts)
    return node.emitError()
           << "routes to " << experts << " experts, but has weights of "
           << fc1.getDimSize(0);
  if (!ShapedType::isDynamic(experts) && k > experts)
    return node.emitError()
           << "has k = " << k << ", but only " << experts << " experts";
  if (node.op == "QMoE")
    for (unsigned weight : {2u, 5u, 8u}) {
      RankedTensorType w = node.ranked(weight), s = node.ranked(weight + 1);
      if (!w || !s || w.getRank() < 2 || s.getRank() < 2)
        continue;
      if (s.getDimSize(0) != w.getDimSize(0) ||
          s.getDimSize(1) != w.getDimSize(1))
        return node.emitError()
               << "input " << weight + 1 << ": scales " << spell(s)
               << " do not fit weights " << spell(w)
               << ", which need one row of scales per weight row";
    }
  return one(node.inputs[0]);
}

/// Further outputs are statistics or caches.
Types firstLikeInput(const NodeFacts &node) {
  SmallVector<Type> types(node.numOutputs, unranked(node.element(0)));
  types[0] = node.inputs[0];
  return types;
}
} // namespace

void moe::onnx::addMathTypeRules(TypeRules &rules) {
  rules.add("MatMul", matmul);
  rules.add("Gemm", gemm);
  rules.add("ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
            reduce);
  rules.add("ArgMax ArgMin", argReduce);
  rules.add("TopK", topK);
  rules.add("LayerNormalization RMSNormalization SimplifiedLayerNormalization",
            normalization);
  rules.add("com.microsoft.SkipSimplifiedLayerNormalization",
            skipNormalization);
  rules.add("com.microsoft.MoE com.microsoft.QMoE", contribMoE);
  rules.add("BatchNormalization com.microsoft.MultiHeadAttention",
            firstLikeInput);
}
