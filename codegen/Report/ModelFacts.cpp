#include "codegen/Report/ModelFacts.h"

#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/MapVector.h"
#include <set>

using namespace mlir;
using namespace moe;
namespace json = llvm::json;

namespace {
struct Totals {
  int64_t parameters = 0, bytes = 0, experts = 0, activeExperts = 0, flops = 0;
};

std::string describeExpert(PoolOp pool, SymbolTableCollection &symbols) {
  for (ExpertOpInterface entry : pool.getEntries())
    if (auto expert = dyn_cast<ExpertOp>(entry.getOperation())) {
      std::string text = stringifyActivation(expert.getActivation()).str();
      text += expert.isGlu()
                  ? " glu"
                  : " " + stringifyExpertKind(expert.getKind()).str();
      if (expert.getUpBias() || expert.getDownBias())
        text += ", bias";
      if (pool.getUniformExperts(symbols).empty())
        text += ", mixed";
      return text;
    }
  return "functions";
}

std::string describeGate(GateOp gate) {
  std::string text = stringifyScore(gate.getScore()).str();
  if (gate.getDense())
    return text + ", dense";
  if (gate.getSelectFirst())
    text = "top-k, then " + text;
  if (gate.getChoiceBias())
    text += ", choice bias";
  if (gate.getGroups())
    text += ", groups";
  if (gate.getNorm() != Norm::None)
    text += ", normalised";
  return text;
}

json::Object describeLayer(ApplyOp apply, SymbolTableCollection &symbols,
                           unsigned index, Totals &totals) {
  PoolOp pool = PoolOp::lookup(apply, apply.getPoolAttr(), symbols);
  json::Object layer;
  layer["layer"] =
      apply.getLayer() ? apply.getLayer()->str() : std::to_string(index);
  if (!pool)
    return layer;
  int64_t experts = 0, nulls = 0, parameters = 0, bytes = 0, flops = 0;
  int64_t hidden = 0, inner = 0;
  for (ExpertOpInterface entry : pool.getEntries()) {
    ExpertCost cost = entry.getCost(symbols);
    parameters += cost.params;
    bytes += cost.bytes;
    flops += cost.flopsPerToken.value_or(0);
    isa<NullExpertOp>(entry.getOperation()) ? ++nulls : ++experts;
    if (auto expert = dyn_cast<ExpertOp>(entry.getOperation()))
      if (FailureOr<ExpertShape> shape = expert.getShape(symbols);
          succeeded(shape))
        hidden = shape->in, inner = std::max(inner, shape->hidden);
  }
  int64_t chosen = experts + nulls; // a dense gate uses them all
  if (!apply.isDense())
    chosen = cast<ShapedType>(apply.getIds()[0].getType()).getDimSize(1);
  int64_t entries = std::max<int64_t>(1, experts + nulls);
  int64_t flopsPerToken = flops * chosen / entries;
  totals.experts += parameters;
  totals.activeExperts += parameters * chosen / entries;
  totals.flops += flopsPerToken;

  layer["experts"] = experts;
  layer["null_experts"] = nulls;
  layer["top_k"] = chosen;
  layer["expert"] = describeExpert(pool, symbols);
  Value weights = apply.getWeights().empty() ? Value() : apply.getWeights()[0];
  if (auto gate = weights ? weights.getDefiningOp<GateOp>() : GateOp())
    layer["router"] = describeGate(gate);
  layer["hidden"] = hidden;
  layer["inner"] = inner;
  layer["parameters"] = parameters;
  layer["bytes"] = bytes;
  layer["flops_per_token"] = flopsPerToken;
  if (auto encoding = apply->getAttrOfType<StringAttr>("moe.encoding"))
    layer["encoding"] = encoding.getValue();
  return layer;
}

/// The argument of @main that says how many experts `gate` picks, or nothing.
std::optional<unsigned> countInput(GateOp gate) {
  Value value = gate.getK();
  while (value) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      auto function =
          dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
      if (function && function.getSymName() == "main")
        return argument.getArgNumber();
      return std::nullopt;
    }
    Operation *op = value.getDefiningOp();
    if (!isa<arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtSIOp,
             arith::ExtUIOp, tensor::ExtractOp, tensor::CastOp>(op))
      return std::nullopt;
    value = op->getOperand(0);
  }
  return std::nullopt;
}

StringRef meaning(StringRef op) {
  return llvm::StringSwitch<StringRef>(op)
      .Case("moe.apply", "chosen experts of each token, combined")
      .Case("moe.gate", "choice of experts and their weights")
      .Case("moe.router", "logits over experts")
      .Case("moert.gemm", "projection by a weight matrix")
      .Case("moert.attention", "attention with grouped heads")
      .Case("moert.rms_norm", "root mean square norm")
      .Case("moert.layer_norm", "layer norm")
      .Case("moert.rope", "rotary position embedding")
      .Case("moert.rope_table", "cosines and sines of positions")
      .Case("moert.kv_append", "new keys and values join the cache")
      .Case("moert.embed", "rows of an embedding table")
      .Case("linalg.generic", "anything else, as loops")
      .Default("");
}
} // namespace

json::Object moe::collectModelFacts(ModuleOp module) {
  json::Object facts;
  Totals totals;
  SymbolTableCollection symbols;
  if (auto producer = module->getAttrOfType<StringAttr>("onnx.producer"))
    facts["producer"] = producer.getValue();
  for (BankOp bank : module.getOps<BankOp>()) {
    if (bank.getRecipe())
      continue;
    RankedTensorType type = bank.getTensorType();
    totals.parameters += type.getNumElements();
    if (type.getElementType().isIntOrFloat())
      totals.bytes +=
          (type.getNumElements() * type.getElementTypeBitWidth() + 7) / 8;
  }

  json::Array layers;
  llvm::MapVector<StringRef, int64_t> counts;
  std::set<unsigned> countInputs;
  module.walk([&](Operation *op) {
    StringRef dialect =
        op->getDialect() ? op->getDialect()->getNamespace() : "";
    bool declares =
        isa<BankOp, WeightOp, PoolOp>(op) || isa<ExpertOpInterface>(op);
    if (((dialect == "moe" || dialect == "moert") && !declares) ||
        op->getName().getStringRef() == "linalg.generic")
      ++counts[op->getName().getStringRef()];
    if (auto gate = dyn_cast<GateOp>(op))
      if (auto input = countInput(gate))
        countInputs.insert(*input);
    if (auto apply = dyn_cast<ApplyOp>(op))
      layers.push_back(describeLayer(apply, symbols, layers.size(), totals));
    if (auto gemm = dyn_cast<moert::GemmOp>(op)) {
      auto weight = cast<ShapedType>(gemm.getWeight().getType());
      if (weight.hasStaticShape())
        totals.flops += 2 * weight.getNumElements();
    } else if (auto router = dyn_cast<RouterOp>(op)) {
      auto weight = router.getWeight();
      if (weight && cast<ShapedType>(weight.getType()).hasStaticShape())
        totals.flops += 2 * cast<ShapedType>(weight.getType()).getNumElements();
    }
  });

  facts["parameters"] = totals.parameters;
  facts["active_parameters"] =
      totals.parameters - totals.experts + totals.activeExperts;
  facts["weight_bytes"] = totals.bytes;
  facts["flops_per_token"] = totals.flops;
  facts["layers"] = std::move(layers);
  // What --experts-per-token sets; the runner looks for this key.
  if (!countInputs.empty())
    facts["experts_per_token_inputs"] = json::Array(countInputs);
  auto list = counts.takeVector();
  llvm::sort(list, [](auto &a, auto &b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  json::Array ops;
  for (auto &[op, n] : list)
    ops.push_back(
        json::Object{{"op", op}, {"count", n}, {"what", meaning(op)}});
  facts["ops"] = std::move(ops);
  return facts;
}
