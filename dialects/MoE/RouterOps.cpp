#include "dialects/MoE/MoEOps.h"
#include "dialects/MoE/MoEUtils.h"

using namespace mlir;
using namespace moe;

void RouterOp::build(OpBuilder &builder, OperationState &state, Type logits,
                     RouterKind kind, Value input, Value weight, Value bias,
                     bool transposed) {
  build(builder, state, logits, kind, input, weight, /*hidden=*/Value(), bias,
        /*residual=*/Value(), /*residual_weight=*/Value(), transposed,
        /*temperature=*/FloatAttr(), /*seed=*/IntegerAttr(),
        /*standardize=*/false);
}

LogicalResult RouterOp::verify() {
  RouterKind kind = getKind();
  auto type = [](Value value) {
    return cast<RankedTensorType>(value.getType());
  };
  RankedTensorType input = type(getInput()), logits = type(getLogits());
  bool given = kind == RouterKind::Given, table = kind == RouterKind::Table;
  // router_c1
  if (given && (getWeight() || getSeed()))
    return emitOpError("is given, so it has no weight");
  if (getWeight() && getSeed())
    return emitOpError("has a weight and a seed, but only one can be");
  if (!given && !getWeight() && !getSeed())
    return emitOpError("needs a weight");
  if (getSeed() && kind != RouterKind::Linear)
    return emitOpError("has a seed, which only linear has");
  if (getSeed() && getBias())
    return emitOpError("has a seed, which makes the bias, too");
  // router_c2
  if (static_cast<bool>(getHidden()) != (kind == RouterKind::LinearTanhLinear))
    return emitOpError(getHidden() ? "has a hidden matrix, which only "
                                     "linear_tanh_linear has"
                                   : "needs a hidden matrix");
  // router_c3
  std::optional<APFloat> temperature = getTemperature();
  if (temperature && kind != RouterKind::Distance)
    return emitOpError("has a temperature, which only distance has");
  if (temperature && !(temperature->convertToDouble() > 0))
    return emitOpError("needs a positive temperature");
  // router_c6
  if ((given || table) && (getBias() || getResidual() || getStandardize()))
    return emitOpError("takes no bias, residual or standardize");
  // router_c4
  if (table) {
    RankedTensorType entries = type(getWeight());
    if (input.getRank() != 1 || !input.getElementType().isInteger())
      return emitOpError("looks up integer ids of rank 1, not ") << input;
    if (logits.getRank() != 2 || !logits.getElementType().isInteger(32))
      return emitOpError("gives i32 ids of rank 2, not ") << logits;
    if (entries.getRank() > 2 || entries.getRank() < 1 ||
        !entries.getElementType().isInteger())
      return emitOpError("needs a table of integers of rank 1 or 2, not ")
             << entries;
    int64_t k = entries.getRank() == 2 ? entries.getDimSize(1) : 1;
    if (differ(k, logits.getDimSize(1)))
      return emitOpError("gives ")
             << logits.getDimSize(1) << " ids from a table of " << k;
    return success();
  }
  if (input.getRank() != 2 || logits.getRank() != 2)
    return emitOpError("turns rows into logits, both of rank 2, not ")
           << input << " into " << logits;
  if (differ(input.getDimSize(0), logits.getDimSize(0)))
    return emitOpError("turns ")
           << input.getDimSize(0) << " rows into " << logits.getDimSize(0);
  // router_c5
  int64_t experts = logits.getDimSize(1);
  if (given)
    return differ(input.getDimSize(1), experts)
               ? emitOpError("gives ")
                     << experts << " logits of " << input.getDimSize(1)
               : success();
  int64_t features = input.getDimSize(1);
  auto matrix = [&](Value value, int64_t out, int64_t in,
                    StringRef name) -> LogicalResult {
    RankedTensorType w = type(value);
    unsigned o = getTransposed() ? 1 : 0;
    if (w.getRank() == 2 && !differ(w.getDimSize(o), out) &&
        !differ(w.getDimSize(1 - o), in))
      return success();
    InFlightDiagnostic diag = emitOpError("has ")
                              << name << " " << w << " for ";
    if (ShapedType::isDynamic(in))
      diag << "any number of features and ";
    else
      diag << in << " features and ";
    if (ShapedType::isDynamic(out))
      return diag << "any number of outputs";
    return diag << out << " outputs";
  };
  if (Value hidden = getHidden()) {
    if (failed(matrix(hidden, ShapedType::kDynamic, features, "hidden matrix")))
      return failure();
    features = type(hidden).getDimSize(getTransposed() ? 1 : 0);
  }
  if (getWeight() && failed(matrix(getWeight(), experts, features, "weight")))
    return failure();
  if (getBias() && (type(getBias()).getRank() != 1 ||
                    differ(type(getBias()).getDimSize(0), experts)))
    return emitOpError("has bias ")
           << getBias().getType() << " for " << experts << " experts";
  if (!getResidual())
    return success();
  RankedTensorType before = type(getResidual()), r = type(getResidualWeight());
  if (before.getRank() != 2 || r.getRank() != 2 ||
      differ(before.getDimSize(1), r.getDimSize(1)) ||
      differ(r.getDimSize(0), experts))
    return emitOpError("has residual ")
           << before << " and matrix " << r << " for " << experts << " experts";
  return success();
}
