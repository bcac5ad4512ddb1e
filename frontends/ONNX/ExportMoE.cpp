// Routers; MoE layers as contrib operators.
#include "frontends/ONNX/ExporterImpl.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

static constexpr remark::RemarkOpts kContrib =
    remark::RemarkOpts::name("contrib-op").category("moe-export");

static Type elementOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType();
}

std::string Exporter::layerName(ApplyOp apply) {
  return (apply.getLayer() ? *apply.getLayer() : apply.getPool()).str();
}

LogicalResult Exporter::exportRouter(RouterOp router) {
  Location loc = router.getLoc();
  if (router.getSeed() || router.getStandardize() ||
      router.getKind() == RouterKind::Distance)
    return emitError(loc) << "a router with "
                          << (router.getSeed()          ? "a seed"
                              : router.getStandardize() ? "standardised logits"
                                                        : "distances")
                          << " cannot be written as ONNX";
  prefix = "router/";
  Type type = elementOf(router.getLogits());
  std::string input = nameOf(router.getInput());
  auto operand = [&](Value value) {
    return cast(nameOf(value), elementOf(value), type);
  };
  auto finish = [&](const std::string &name) {
    values[router.getLogits()] = name;
    prefix.clear();
    return success();
  };
  if (router.getKind() == RouterKind::Given)
    return finish(operand(router.getInput()));
  if (router.getKind() == RouterKind::Table) {
    // Gates give ids of 64 bits here, and so does a table.
    std::string ids = emit("Gather", {nameOf(router.getWeight()), input});
    int64_t slots = llvm::cast<RankedTensorType>(router.getLogits().getType())
                        .getDimSize(1);
    ids = emit("Reshape", {ids, ints({-1, slots})});
    return finish(
        cast(ids, elementOf(router.getWeight()), builder.getI64Type()));
  }
  input = operand(router.getInput());
  if (router.getKind() == RouterKind::LinearTanhLinear)
    input = emit("Tanh", {emit("Gemm", {input, operand(router.getHidden())},
                               attribute("transB", 1))});
  SmallVector<std::string> inputs = {input, operand(router.getWeight())};
  if (router.getBias())
    inputs.push_back(operand(router.getBias()));
  std::string logits = router.getTransposed()
                           ? emit("Gemm", inputs)
                           : emit("Gemm", inputs, attribute("transB", 1));
  if (router.getResidual())
    logits = emit("Add", {logits, emit("Gemm",
                                       {operand(router.getResidual()),
                                        operand(router.getResidualWeight())},
                                       attribute("transB", 1))});
  return finish(logits);
}

bool Exporter::isContrib(ApplyOp apply) {
  auto [it, isNew] = contrib.try_emplace(apply, false);
  if (!isNew || options.form == MoEForm::Standard)
    return it->second;
  std::string why;
  bool fits = fitsContrib(apply, why);
  if (!fits)
    remark::missed(apply.getLoc(), kContrib) << remark::reason("{0}", why);
  return contrib[apply] = fits;
}

/// Whether the contrib operators say the same as a gate; why not.
static const char *refuseGate(GateOp gate) {
  if (gate.getScore() != Score::Softmax)
    return "the operator's score is softmax";
  if (gate.getDense() || gate.getK() || gate.getSubset() || gate.getValues() ||
      gate.getChoiceBias() || gate.getGroups() || gate.getSparseMixer())
    return "the operator chooses by logits alone";
  if (gate.getSkipRatio() || gate.getSkipCumulative() || gate.getCapacity() ||
      gate.getCapacityFactor())
    return "the operator knows no skip rule and no capacity";
  if (gate.getScale().convertToDouble() != 1.0 ||
      gate.getNormEpsilon().convertToDouble() != 0.0)
    return "the operator knows no scale and no epsilon";
  if (gate.getNorm() != Norm::None && gate.getNorm() != Norm::Selected)
    return "the operator normalises over all chosen experts";
  if (gate.getTiesHigh() || gate.getGranularity() != Granularity::Token)
    return "the operator routes tokens, ties to the lower expert";
  return nullptr;
}

static bool isNormalised(GateOp gate) {
  return gate.getSelectFirst() || gate.getNorm() == Norm::Selected;
}

/// Whether two rows of a router's weights (and biases) are the same bytes: each
/// token is a tie then.
bool Exporter::scoresTwins(Value logits) {
  auto router = logits.getDefiningOp<RouterOp>();
  if (!router || router.getKind() != RouterKind::Linear || !router.getWeight())
    return false;
  // The bytes of a stored weight or constant; empty where it is neither.
  auto bytesOf = [&](Value value) -> std::string {
    if (!value)
      return {};
    if (auto constantOp = value.getDefiningOp<ConstantOp>()) {
      auto dense = dyn_cast<DenseElementsAttr>(constantOp.getValue());
      return dense ? rawBytes(dense) : std::string();
    }
    auto weight = value.getDefiningOp<WeightOp>();
    auto bank = weight ? symbols.lookup<BankOp>(weight.getBank()) : BankOp();
    auto bytes = bank ? options.bytes(bank) : FailureOr<StringRef>();
    if (failed(bytes))
      return {};
    std::string copy = bytes->str();
    options.release(*bytes);
    return copy;
  };
  auto type = llvm::cast<RankedTensorType>(router.getWeight().getType());
  std::string bytes = bytesOf(router.getWeight());
  std::string bias = bytesOf(router.getBias());
  int64_t experts = type.getDimSize(router.getTransposed() ? 1 : 0);
  int64_t features = type.getDimSize(router.getTransposed() ? 0 : 1);
  size_t size = type.getElementTypeBitWidth() / 8;
  if (bytes.size() != size * experts * features ||
      (router.getBias() && bias.empty()))
    return false;
  llvm::StringSet<> rows;
  for (int64_t e = 0; e < experts; ++e) {
    std::string row;
    for (int64_t k = 0; k < features; ++k)
      row += bytes.substr(
          size * (router.getTransposed() ? k * experts + e : e * features + k),
          size);
    size_t each = bias.size() / experts;
    row += bias.substr(e * each, each);
    if (!rows.insert(row).second)
      return true;
  }
  return false;
}

bool Exporter::fitsContrib(ApplyOp apply, std::string &why) {
  auto no = [&](const char *reason) {
    why = reason;
    return false;
  };
  if (apply.getTokens().size() != 1 || apply.getIds().size() != 1 ||
      apply.getWeights().size() != 1 || !apply.getVariants().empty() ||
      !apply.getExtras().empty() || !apply.getStates().empty())
    return no("the operator has one input, one gate and no state");
  if (apply.getCombine() != Combine::Add || apply.getScaleInput() ||
      apply.getPrescale().convertToDouble() != 1.0)
    return no("the operator adds weighted outputs");
  auto gate = apply.getIds()[0].getDefiningOp<GateOp>();
  if (!gate || apply.getWeights()[0].getDefiningOp() != gate)
    return no("ids and weights are not those of one gate");
  if (const char *reason = refuseGate(gate))
    return no(reason);
  if (scoresTwins(gate.getLogits()))
    return no("the router scores two experts alike, and the CPU kernel prefers "
              "the higher of equals");
  auto pool = PoolOp::lookup(apply, apply.getPoolAttr(), tables);
  if (!pool)
    return no("the pool is missing");
  Type type = elementOf(apply.getTokens()[0]);
  if (!type.isF32() && !type.isF16())
    return no("the CPU kernel takes f32 and f16 only");
  if (type.isF16() && !isNormalised(gate))
    return no("some versions of the CPU kernel give zeros for f16 weights "
              "that are not normalised");
  if (elementOf(apply.getResult(0)) != type)
    return no("the result has another type than the tokens");

  // Narrower floats, those of one kind of matrix alike, are cast.
  llvm::StringMap<Type> elements;
  auto widens = [&](BankOp bank, StringRef name) {
    Type element = bank.getTensorType().getElementType();
    Type &known = elements[name];
    known = known ? known : element;
    return element == known &&
           (element == type || (type.isF32() && isa<FloatType>(element) &&
                                element.getIntOrFloatBitWidth() == 16));
  };
  ExpertOp first;
  std::optional<ExpertShape> shape;
  std::optional<QuantAttr> quant;
  for (ExpertOpInterface entry : pool.getEntries()) {
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (!expert)
      return no("the operator has stored experts only, each its own");
    if (!first)
      first = expert;
    auto size = expert.getShape(tables);
    if (failed(size))
      return no("an expert does not fit its banks");
    if (!shape)
      shape = *size;
    if (!(*shape == *size) || expert.getKind() != first.getKind() ||
        expert.getActivation() != first.getActivation() ||
        expert.getAlpha() != first.getAlpha() ||
        expert.getBeta() != first.getBeta() ||
        expert.getLimit() != first.getLimit() ||
        !expert.getGateBias() != !first.getGateBias() ||
        !expert.getUpBias() != !first.getUpBias() ||
        !expert.getDownBias() != !first.getDownBias())
      return no("the operator's experts are alike: one width, one activation");
    if (expert.getInput() != 0 ||
        expert.getOutputScale().convertToDouble() != 1.0)
      return no("the operator knows no scale of an expert's output");
    for (StringRef name : {"gate_bias", "up_bias", "down_bias"}) {
      auto slice = expert->getAttrOfType<SliceAttr>(name);
      auto bank =
          slice ? symbols.lookup<BankOp>(slice.getBank().getValue()) : BankOp();
      if (bank && !widens(bank, name))
        return no("the operator's biases have the tokens' type");
    }
    for (StringRef name : {"gate", "up", "down"}) {
      Attribute matrix = expert->getAttr(name);
      if (!matrix)
        continue;
      auto slice = dyn_cast<SliceAttr>(matrix);
      if (!slice)
        return no("the operator knows no factored matrices");
      SliceAttr stored = storedQuant(slice);
      auto found =
          stored ? llvm::cast<QuantAttr>(stored.getQuant()) : QuantAttr();
      if (!quant)
        quant = found;
      if (!*quant != !found ||
          (found && (found.getBits() != quant->getBits() ||
                     found.getBlock() != quant->getBlock() ||
                     !found.getZeros() != !quant->getZeros())))
        return no("the operator's matrices are stored alike");
      auto bank =
          symbols.lookup<BankOp>((found ? stored : slice).getBank().getValue());
      Type element = bank ? bank.getTensorType().getElementType() : Type();
      if (!found && !(bank && widens(bank, name)))
        return no("the operator's weights have the tokens' type");
      if (!found)
        continue;
      auto scales =
          symbols.lookup<BankOp>(found.getScales().getBank().getValue());
      if (stored.getTransposed() || !element.isInteger(8) ||
          (found.getZeros() && !element.isUnsignedInteger()) || !scales ||
          scales.getTensorType().getElementType() != type)
        return no("the operator's quantised matrices are bytes of [out, in], "
                  "and scales have the tokens' type");
      if (found.getZeros() && found.getBits() < 8)
        return no("zero points of less than a byte are packed");
    }
  }
  if (quant && *quant) {
    if (!isNormalised(gate))
      return no("the CPU kernel always normalises weights of quantised "
                "experts");
    int64_t block = quant->getBlock();
    if (quant->getBits() < 4 || (quant->getBits() == 8 && block))
      return no("the CPU kernel is not exact for blocks of 8-bit values");
    // One block to a row is taken for one scale to a row.
    if (block &&
        (block < 16 || !llvm::isPowerOf2_64(block) || shape->in % block ||
         shape->hidden % block || shape->in == block || shape->hidden == block))
      return no("the operator's blocks are powers of two from 16 on, several "
                "to a row");
  }
  if (first.isGlu()) {
    if (elements.lookup("gate") != elements.lookup("up") ||
        elements.lookup("gate_bias") != elements.lookup("up_bias"))
      return no("gate and up weights become one tensor of one type");
    if (first.getActivation() != Activation::Silu ||
        !first.getGateBias() != !first.getUpBias())
      return no("the operator's gated experts are SwiGLU with both biases or "
                "none");
    return true;
  }
  bool known = llvm::is_contained({Activation::Identity, Activation::Relu,
                                   Activation::Silu, Activation::GeluTanh},
                                  first.getActivation());
  if (first.getKind() != ExpertKind::Ffn || !known ||
      first.getAlpha().convertToDouble() != 1.0 ||
      first.getLimit().convertToDouble() != 0.0)
    return no("the operator does not know the experts' activation");
  return true;
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
