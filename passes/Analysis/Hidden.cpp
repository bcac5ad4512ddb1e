#include "passes/Analysis/Hidden.h"

#include "mlir/IR/Builders.h"
#include "passes/Analysis/Activation.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Recipe.h"

using namespace mlir;
using namespace moe;

FailureOr<HiddenLayer> HiddenLayer::of(ExpertOp expert) {
  if (!expert.isGlu() && expert.getKind() != ExpertKind::Ffn)
    return expert.emitOpError("of another kind than ffn and glu cannot be "
                              "evaluated on a sample");
  HiddenLayer layer;
  layer.activation = expert.getActivation();
  layer.alpha = expert.getAlpha().convertToDouble();
  layer.beta = expert.getBeta().convertToDouble();
  layer.limit = expert.getLimit().convertToDouble();
  layer.gate = expert.getGateAttr(), layer.up = expert.getUp();
  layer.gateBias = expert.getGateBiasAttr();
  layer.upBias = expert.getUpBiasAttr();
  return layer;
}

static double valueOr(FloatAttr attr, double otherwise) {
  return attr ? attr.getValueAsDouble() : otherwise;
}

HiddenLayer::HiddenLayer(HiddenAttr recipe)
    : activation(recipe.getActivation()), alpha(valueOr(recipe.getAlpha(), 1)),
      beta(valueOr(recipe.getBeta(), 0)), limit(valueOr(recipe.getLimit(), 0)),
      gate(recipe.getGate()), up(recipe.getUp()),
      gateBias(recipe.getGateBias()), upBias(recipe.getUpBias()) {}

HiddenAttr HiddenLayer::on(Attribute inputs) const {
  Builder builder(inputs.getContext());
  auto number = [&](double value, double usual) {
    return value == usual ? FloatAttr() : builder.getF64FloatAttr(value);
  };
  return HiddenAttr::get(inputs.getContext(), inputs, up, activation, gate,
                         upBias, gateBias, number(alpha, 1), number(beta, 0),
                         number(limit, 0));
}

FailureOr<Numbers> moe::multiplyRows(Operation *at, const Numbers &rows,
                                     Attribute matrix, Attribute bias,
                                     WeightSource &weights) {
  auto numbers = moe::evaluate(at, matrix, weights);
  if (failed(numbers))
    return failure();
  if (numbers->columns != rows.columns)
    return at->emitOpError("reads ")
           << numbers->columns << " features, but the sample has "
           << rows.columns;
  Numbers result = timesTransposed(rows, *numbers);
  if (!bias)
    return result;
  auto addend = moe::evaluate(at, bias, weights);
  if (failed(addend))
    return failure();
  if (static_cast<int64_t>(addend->values.size()) != result.columns)
    return at->emitOpError("makes ")
           << result.columns << " numbers a row, but its bias has "
           << addend->values.size();
  for (int64_t r = 0; r < result.rows; ++r)
    for (int64_t c = 0; c < result.columns; ++c)
      result.at(r, c) += addend->values[c];
  return result;
}

FailureOr<Numbers> HiddenLayer::evaluate(Operation *at, const Numbers &x,
                                         WeightSource &weights) const {
  auto hidden = multiplyRows(at, x, up, upBias, weights);
  if (failed(hidden))
    return failure();
  if (!gate) {
    for (double &value : hidden->values)
      value = activate(activation, alpha,
                       limit > 0 ? std::min(value, limit) : value);
    return hidden;
  }
  auto line = std::move(*hidden);
  auto argument = multiplyRows(at, x, gate, gateBias, weights);
  if (failed(argument))
    return failure();
  if (argument->columns != line.columns)
    return at->emitOpError("has ") << argument->columns << " gates for "
                                   << line.columns << " hidden units";
  for (auto [l, g] : llvm::zip(line.values, argument->values)) {
    if (limit > 0) {
      g = std::min(g, limit);
      l = std::clamp(l, -limit, limit);
    }
    l = activate(activation, alpha, g) * (l + beta);
  }
  return line;
}
