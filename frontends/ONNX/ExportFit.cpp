// Whether a contrib operator says a layer, and ONNX Runtime reads it right.
#include "frontends/ONNX/ExporterImpl.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace moe;
using namespace moe::onnx;

static constexpr remark::RemarkOpts kContrib =
    remark::RemarkOpts::name("contrib-op").category("moe-export");

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

/// What an apply says beyond tokens, a gate and a pool.
static const char *refuseApply(ApplyOp apply) {
  if (apply.getTokens().size() != 1 || apply.getIds().size() != 1 ||
      apply.getWeights().size() != 1 || !apply.getVariants().empty() ||
      !apply.getExtras().empty() || !apply.getStates().empty())
    return "the operator has one input, one gate and no state";
  if (apply.getCombine() != Combine::Add || apply.getScaleInput() ||
      apply.getPrescale().convertToDouble() != 1.0)
    return "the operator adds weighted outputs";
  auto gate = apply.getIds()[0].getDefiningOp<GateOp>();
  if (!gate || apply.getWeights()[0].getDefiningOp() != gate)
    return "ids and weights are not those of one gate";
  Type type = elementOf(apply.getTokens()[0]);
  if (!type.isF32() && !type.isF16())
    return "the CPU kernel takes f32 and f16 only";
  if (type.isF16() && !isNormalised(gate))
    return "some versions of the CPU kernel give zeros for f16 weights that "
           "are not normalised";
  if (elementOf(apply.getResult(0)) != type)
    return "the result has another type than the tokens";
  return refuseGate(gate);
}

static const char *refuseActivation(ExpertOp expert) {
  if (expert.isGlu()) {
    bool both = !expert.getGateBias() == !expert.getUpBias();
    return expert.getActivation() == Activation::Silu && both
               ? nullptr
               : "the operator's gated experts are SwiGLU with both biases or "
                 "none";
  }
  bool known = llvm::is_contained({Activation::Identity, Activation::Relu,
                                   Activation::Silu, Activation::GeluTanh},
                                  expert.getActivation());
  return expert.getKind() == ExpertKind::Ffn && known &&
                 expert.getAlpha().convertToDouble() == 1.0 &&
                 expert.getLimit().convertToDouble() == 0.0
             ? nullptr
             : "the operator does not know the experts' activation";
}

namespace {
/// Experts of a layer, one after the other, and what they have in common.
class ExpertFit {
public:
  ExpertFit(SymbolTable &symbols, SymbolTableCollection &tables, Type type,
            std::function<SliceAttr(SliceAttr)> storedQuant)
      : symbols(symbols), tables(tables), type(type),
        storedQuant(std::move(storedQuant)) {}

  const char *refuse(ExpertOp expert);
  const char *refuseAll(GateOp gate);

private:
  const char *refuseMatrix(Attribute matrix, StringRef name);
  const char *refuseQuant(SliceAttr stored, QuantAttr found);
  BankOp bankOf(SliceAttr slice) {
    return symbols.lookup<BankOp>(slice.getBank().getValue());
  }
  /// Whether numbers of a bank become the tokens' type exactly. Those of gate
  /// and up lie in one tensor, so `part` is the same for both.
  bool widens(SliceAttr slice, StringRef part) {
    BankOp bank = bankOf(slice);
    if (!bank)
      return false;
    Type element = bank.getTensorType().getElementType();
    Type &known = elements[part];
    known = known ? known : element;
    return element == known &&
           (element == type || (type.isF32() && isa<FloatType>(element) &&
                                element.getIntOrFloatBitWidth() == 16));
  }

  SymbolTable &symbols;
  SymbolTableCollection &tables;
  Type type;
  std::function<SliceAttr(SliceAttr)> storedQuant;
  llvm::StringMap<Type> elements;
  ExpertOp first;
  ExpertShape shape;
  std::optional<QuantAttr> quant; // null: not quantised
};
} // namespace

const char *ExpertFit::refuse(ExpertOp expert) {
  auto size = expert.getShape(tables);
  if (failed(size))
    return "an expert does not fit its banks";
  if (!first) {
    first = expert;
    shape = *size;
  }
  if (!(shape == *size) || expert.getKind() != first.getKind() ||
      expert.getActivation() != first.getActivation() ||
      expert.getAlpha() != first.getAlpha() ||
      expert.getBeta() != first.getBeta() ||
      expert.getLimit() != first.getLimit() ||
      !expert.getGateBias() != !first.getGateBias() ||
      !expert.getUpBias() != !first.getUpBias() ||
      !expert.getDownBias() != !first.getDownBias())
    return "the operator's experts are alike: one width, one activation";
  if (expert.getInput() != 0 ||
      expert.getOutputScale().convertToDouble() != 1.0)
    return "the operator knows no scale of an expert's output";
  for (StringRef name : {"gate_bias", "up_bias", "down_bias"}) {
    auto slice = expert->getAttrOfType<SliceAttr>(name);
    if (slice && !widens(slice, name == "down_bias" ? "bias2" : "bias1"))
      return "the operator's biases have the tokens' type";
  }
  for (StringRef name : {"gate", "up", "down"})
    if (Attribute matrix = expert->getAttr(name))
      if (const char *why =
              refuseMatrix(matrix, name == "down" ? "fc2" : "fc1"))
        return why;
  return refuseActivation(expert);
}

const char *ExpertFit::refuseMatrix(Attribute matrix, StringRef name) {
  auto slice = dyn_cast<SliceAttr>(matrix);
  if (!slice)
    return "the operator knows no factored matrices";
  SliceAttr stored = storedQuant(slice);
  auto found = stored ? llvm::cast<QuantAttr>(stored.getQuant()) : QuantAttr();
  if (!quant)
    quant = found;
  if (!*quant != !found)
    return "the operator's matrices are stored alike";
  if (found)
    return refuseQuant(stored, found);
  return widens(slice, name) ? nullptr
                             : "the operator's weights have the tokens' type";
}

const char *ExpertFit::refuseQuant(SliceAttr stored, QuantAttr found) {
  BankOp bank = bankOf(stored), scales = bankOf(found.getScales());
  if (!bank || !scales)
    return "a bank is missing";
  Type element = bank.getTensorType().getElementType();
  Type &known = elements["values"];
  known = known ? known : element;
  if (element != known || found.getBits() != quant->getBits() ||
      found.getBlock() != quant->getBlock() ||
      !found.getZeros() != !quant->getZeros())
    return "the operator's matrices are stored alike";
  if (!found.isInteger())
    return "the operator's quantised values are integers";
  if (stored.getTransposed() || !element.isInteger(8) ||
      scales.getTensorType().getElementType() != type)
    return "the operator's quantised matrices are bytes of [out, in], and "
           "scales have the tokens' type";
  if (found.getZeros() && (found.getBits() < 8 || !element.isUnsignedInteger()))
    return "the operator's zero points are packed as its values are";
  return nullptr;
}

/// What only shows in all experts together.
const char *ExpertFit::refuseAll(GateOp gate) {
  if (!*quant)
    return nullptr;
  if (!isNormalised(gate))
    return "the CPU kernel always normalises weights of quantised experts";
  int64_t block = quant->getBlock();
  if (quant->getBits() < 4 || (quant->getBits() == 8 && block))
    return "the CPU kernel is not exact for blocks of 8-bit values";
  // One block to a row is taken for one scale to a row.
  if (block &&
      (block < 16 || !llvm::isPowerOf2_64(block) || shape.in % block ||
       shape.hidden % block || shape.in == block || shape.hidden == block))
    return "the operator's blocks are powers of two from 16 on, several to a "
           "row";
  return nullptr;
}

const char *Exporter::refuseContrib(ApplyOp apply) {
  if (const char *why = refuseApply(apply))
    return why;
  auto gate = apply.getIds()[0].getDefiningOp<GateOp>();
  auto pool = PoolOp::lookup(apply, apply.getPoolAttr(), tables);
  if (!pool)
    return "the pool is missing";
  ExpertFit fit(symbols, tables, elementOf(apply.getTokens()[0]),
                [&](SliceAttr slice) { return storedQuant(slice); });
  for (ExpertOpInterface entry : pool.getEntries()) {
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (!expert)
      return "the operator has stored experts only, each its own";
    if (const char *why = fit.refuse(expert))
      return why;
  }
  if (const char *why = fit.refuseAll(gate))
    return why;
  return scoresTwins(gate.getLogits())
             ? "the router scores two experts alike, and the CPU kernel "
               "prefers the higher of equals"
             : nullptr;
}

bool Exporter::isContrib(ApplyOp apply) {
  auto [it, isNew] = contrib.try_emplace(apply, false);
  if (!isNew || options.form == MoEForm::Standard)
    return it->second;
  const char *why = refuseContrib(apply);
  if (why)
    remark::missed(apply.getLoc(), kContrib) << remark::reason("{0}", why);
  return contrib[apply] = !why;
}
