// Types of elementwise operators and casts.
#include "frontends/ONNX/ElementTypes.h"
#include "frontends/ONNX/TypeRules.h"

using namespace mlir;
using namespace moe::onnx;

namespace {
Types sameAsFirst(const NodeFacts &node) { return one(node.inputs[0]); }

Types elementwise(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  return broadcastAll(node, 0, node.element(0));
}

Types comparison(const NodeFacts &node) {
  if (failed(sameElements(node, 0)))
    return failure();
  return broadcastAll(node, 0, IntegerType::get(node.context, 1));
}

Types power(const NodeFacts &node) { // the exponent may have its own type
  return broadcastAll(node, 0, node.element(0));
}

Types toBool(const NodeFacts &node) {
  return one(withElement(node.inputs[0], IntegerType::get(node.context, 1)));
}

Types where(const NodeFacts &node) {
  if (failed(sameElements(node, 1)))
    return failure();
  return broadcastAll(node, 0, node.element(1));
}

Types cast(const NodeFacts &node) {
  Type element = elementTypeOf(node.context, node.integer("to", 0));
  if (!element)
    return node.emitError()
           << "casts to element type number " << node.integer("to", 0)
           << ", which is not a supported type";
  return one(withElement(node.inputs[0], element));
}

Types castLike(const NodeFacts &node) {
  return one(withElement(node.inputs[0], node.element(1)));
}

Types clip(const NodeFacts &node) { return one(node.inputs[0]); }

Types dequantize(const NodeFacts &node) {
  Type element = node.element(1);
  if (int64_t number = node.integer("output_dtype", 0))
    element = elementTypeOf(node.context, number);
  return one(withElement(node.inputs[0], element));
}
} // namespace

void moe::onnx::addElementTypeRules(TypeRules &rules) {
  rules.add(
      "Abs Ceil Cos CumSum Elu Erf Exp Floor Gelu HardSigmoid Identity "
      "LeakyRelu Log LogSoftmax Neg Reciprocal Relu Round Sigmoid Sign Sin "
      "Softmax Softplus Sqrt Swish Tanh Trilu ScatterElements ScatterND "
      "com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QuickGelu "
      "com.microsoft.RotaryEmbedding",
      sameAsFirst);
  rules.add("Add Sub Mul Div Mod Max Min Sum", elementwise);
  rules.add("And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual",
            comparison);
  rules.add("Pow", power);
  rules.add("Not IsNaN IsInf", toBool);
  rules.add("Where", where);
  rules.add("Cast", cast);
  rules.add("CastLike", castLike);
  rules.add("Clip", clip);
  rules.add("DequantizeLinear", dequantize);
}
