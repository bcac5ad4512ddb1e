// MoE layers as contrib operators.
#include "frontends/ONNX/ExporterImpl.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

std::string Exporter::layerName(ApplyOp apply) {
  return (apply.getLayer() ? *apply.getLayer() : apply.getPool()).str();
}

/// One tensor of all experts: what `part` of `matrix` is, or rows of two
/// matrices by turns.
FailureOr<std::string> Exporter::stacked(ArrayRef<ExpertOp> experts,
                                         StringRef name, StringRef part,
                                         StringRef matrix, StringRef second) {
  PlannedWeight weight;
  weight.name = prefix + name.str();
  SmallVector<int64_t> shape;
  auto viewOf = [&](ExpertOp expert, StringRef which) -> FailureOr<BankView> {
    auto slice = expert->getAttrOfType<SliceAttr>(which);
    if (SliceAttr stored = storedQuant(slice)) {
      auto quant = llvm::cast<QuantAttr>(stored.getQuant());
      slice = part == "scales"  ? quant.getScales()
              : part == "zeros" ? quant.getZeros()
                                : stored;
    }
    auto view = BankView::of(slice, symbols, expert);
    if (succeeded(view) && slice.getTransposed() && view->shape.size() == 2) {
      std::swap(view->shape[0], view->shape[1]);
      std::swap(view->strides[0], view->strides[1]);
    }
    return view;
  };
  for (ExpertOp expert : experts) {
    WeightPiece piece;
    auto view = viewOf(expert, matrix);
    if (failed(view))
      return failure();
    piece.view = *view;
    if (!second.empty()) {
      auto other = viewOf(expert, second);
      if (failed(other))
        return failure();
      piece.second = *other;
    }
    shape.assign(view->shape.begin(), view->shape.end());
    shape[0] *= second.empty() ? 1 : 2;
    weight.pieces.push_back(std::move(piece));
  }
  shape.insert(shape.begin(), static_cast<int64_t>(experts.size()));
  Type element = weight.pieces[0].view.elementType();
  SliceAttr stored =
      part == "values"
          ? storedQuant(experts[0]->getAttrOfType<SliceAttr>(matrix))
          : SliceAttr();
  if (stored && !element.isUnsignedInteger()) {
    // The operator's values are unsigned, around their middle.
    element = builder.getIntegerType(8, /*isSigned=*/false);
    auto quant = llvm::cast<QuantAttr>(stored.getQuant());
    weight.flip = quant.getBits() == 4 ? 0x88 : 0x80;
  }
  weight.type = RankedTensorType::get(shape, element);
  return plan(std::move(weight));
}

LogicalResult Exporter::exportContrib(ApplyOp apply) {
  auto gate = apply.getIds()[0].getDefiningOp<GateOp>();
  auto pool = PoolOp::lookup(apply, apply.getPoolAttr(), tables);
  SmallVector<ExpertOp> experts;
  for (ExpertOpInterface entry : pool.getEntries())
    experts.push_back(llvm::cast<ExpertOp>(entry.getOperation()));
  ExpertOp first = experts[0];
  prefix = layerName(apply) + "/";
  Type type = elementOf(apply.getTokens()[0]);
  bool gated = first.isGlu();
  SliceAttr stored = storedQuant(llvm::cast<SliceAttr>(first.getUpAttr()));
  auto quant = stored ? llvm::cast<QuantAttr>(stored.getQuant()) : QuantAttr();

  SmallVector<std::string> inputs = {
      nameOf(apply.getTokens()[0]),
      cast(nameOf(gate.getLogits()), elementOf(gate.getLogits()), type)};
  auto add = [&](bool there, StringRef name, StringRef part, StringRef matrix,
                 StringRef second) -> LogicalResult {
    inputs.push_back("");
    if (!there)
      return success();
    auto made = stacked(experts, name, part, matrix, second);
    if (failed(made))
      return failure();
    auto slice = first->getAttrOfType<SliceAttr>(matrix);
    Type element = symbols.lookup<BankOp>(slice.getBank().getValue())
                       .getTensorType()
                       .getElementType();
    inputs.back() = storedQuant(slice) ? *made : cast(*made, element, type);
    return success();
  };
  StringRef one = gated ? "gate" : "up", two = gated ? "up" : "";
  StringRef oneBias = gated ? "gate_bias" : "up_bias",
            twoBias = gated ? "up_bias" : "";
  bool bias = static_cast<bool>(first.getUpBias());
  bool downBias = static_cast<bool>(first.getDownBias());
  auto layer = [&](StringRef fc, bool biased, StringRef a, StringRef b,
                   StringRef aBias, StringRef bBias) -> LogicalResult {
    if (failed(add(true, (fc + ".weight").str(), "values", a, b)))
      return failure();
    if (quant && failed(add(true, (fc + ".scales").str(), "scales", a, b)))
      return failure();
    return add(biased, (fc + ".bias").str(), "values", aBias, bBias);
  };
  if (failed(layer("fc1", bias, one, two, oneBias, twoBias)) ||
      failed(layer("fc2", downBias, "down", "", "down_bias", "")))
    return failure();
  if (quant && quant.getZeros()) {
    inputs.append({"", "", ""}); // fc3
    if (failed(add(true, "fc1.zeros", "zeros", one, two)) ||
        failed(add(true, "fc2.zeros", "zeros", "down", "")))
      return failure();
  }
  while (inputs.back().empty())
    inputs.pop_back();

  StringRef activation = "swiglu";
  if (!gated)
    activation = stringifyActivation(first.getActivation());
  if (activation == "gelu_tanh")
    activation = "gelu";
  SmallVector<NamedAttribute> attributes = {
      attribute("k", *gate.getTopK()),
      attribute("normalize_routing_weights", isNormalised(gate)),
      builder.getNamedAttr("activation_type",
                           builder.getStringAttr(activation))};
  auto number = [&](StringRef name, const APFloat &value) {
    attributes.push_back(builder.getNamedAttr(
        name,
        builder.getF32FloatAttr(static_cast<float>(value.convertToDouble()))));
  };
  if (gated) {
    attributes.push_back(attribute("swiglu_fusion", 1));
    number("activation_alpha", first.getAlpha());
    number("activation_beta", first.getBeta());
    if (!first.getLimit().isZero())
      number("swiglu_limit", first.getLimit());
  }
  if (quant) {
    attributes.push_back(attribute("expert_weight_bits", quant.getBits()));
    if (quant.getBlock())
      attributes.push_back(attribute("block_size", quant.getBlock()));
  }
  domains.try_emplace("com.microsoft", 1);
  values[apply.getResult(0)] =
      emit(quant ? "QMoE" : "MoE", inputs, 1, attributes, "com.microsoft")[0];
  prefix.clear();
  return success();
}

LogicalResult Exporter::exportApply(ApplyOp apply) {
  return isContrib(apply) ? exportContrib(apply) : exportExperts(apply);
}
