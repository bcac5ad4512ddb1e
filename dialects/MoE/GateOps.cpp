#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace moe;

/// Types of a gate's results: ids, weights, variants; weights alone if dense.
static void resultTypes(RankedTensorType logits, std::optional<int64_t> topK,
                        bool dense, bool variants,
                        SmallVectorImpl<Type> &types) {
  MLIRContext *context = logits.getContext();
  int64_t rows = logits.getDimSize(0);
  if (dense || !topK) {
    types.push_back(logits);
    return;
  }
  auto i32 = IntegerType::get(context, 32);
  types.push_back(RankedTensorType::get({rows, *topK}, i32));
  types.push_back(
      RankedTensorType::get({rows, *topK}, logits.getElementType()));
  if (variants)
    types.push_back(RankedTensorType::get({rows, *topK}, i32));
}

LogicalResult
GateOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                         Adaptor adaptor,
                         SmallVectorImpl<Type> &inferredReturnTypes) {
  auto logits = dyn_cast<RankedTensorType>(adaptor.getLogits().getType());
  // gate_c1
  if (!logits || logits.getRank() != 2)
    return emitOptionalError(location,
                             "'moe.gate' op needs logits of rank 2, not ",
                             adaptor.getLogits().getType());
  // gate_c2
  if (!adaptor.getTopK() && !adaptor.getDense())
    return emitOptionalError(location,
                             "'moe.gate' op needs top_k or to be dense");
  resultTypes(logits, adaptor.getTopK(), adaptor.getDense(),
              adaptor.getSkipCumulative().has_value(), inferredReturnTypes);
  return success();
}

void GateOp::build(OpBuilder &builder, OperationState &state, Score score,
                   Value logits, FlatSymbolRefAttr pool, int64_t topK,
                   Norm norm) {
  auto &properties = state.getOrAddProperties<Properties>();
  MLIRContext *context = builder.getContext();
  state.addOperands(logits);
  properties.operandSegmentSizes = {1, 0, 0, 0};
  properties.score = ScoreAttr::get(context, score);
  properties.pool = pool;
  properties.top_k = builder.getI64IntegerAttr(topK);
  properties.norm = NormAttr::get(context, norm);
  resultTypes(cast<RankedTensorType>(logits.getType()), topK, /*dense=*/false,
              /*variants=*/false, state.types);
}

void GateOp::build(OpBuilder &builder, OperationState &state, Score score,
                   Value logits, FlatSymbolRefAttr pool) {
  auto &properties = state.getOrAddProperties<Properties>();
  state.addOperands(logits);
  properties.operandSegmentSizes = {1, 0, 0, 0};
  properties.score = ScoreAttr::get(builder.getContext(), score);
  properties.pool = pool;
  properties.dense = builder.getUnitAttr();
  state.addTypes(logits.getType());
}

int64_t GateOp::getNumColumns() {
  return cast<RankedTensorType>(getLogits().getType()).getDimSize(1);
}

static bool positive(std::optional<APFloat> value) {
  return !value || value->convertToDouble() > 0;
}

LogicalResult GateOp::verify() {
  auto logits = cast<RankedTensorType>(getLogits().getType());
  int64_t columns = getNumColumns();
  bool known = !ShapedType::isDynamic(columns);
  std::optional<int64_t> topK;
  if (getTopK())
    topK = static_cast<int64_t>(*getTopK());
  // gate_c1
  if (known && topK && *topK > columns)
    return emitOpError("picks ") << *topK << " of " << columns << " experts";
  // gate_c3
  if (getGroups()) {
    int64_t groups = *getGroups(), top = *getTopGroups();
    if (known && columns % groups != 0)
      return emitOpError("cannot split ")
             << columns << " experts into " << groups << " equal groups";
    if (top > groups)
      return emitOpError("keeps ") << top << " of " << groups << " groups";
    if (known && topK && *topK > columns / groups * top)
      return emitOpError("picks ") << *topK << " experts, but " << top
                                   << " groups hold " << columns / groups * top;
  }
  // gate_c4
  auto shaped = [](Value value) {
    return cast<RankedTensorType>(value.getType());
  };
  if (getChoiceBias()) {
    RankedTensorType bias = shaped(getChoiceBias());
    if (bias.getRank() != 1 ||
        (known && !bias.isDynamicDim(0) && bias.getDimSize(0) != columns))
      return emitOpError("has choice bias ")
             << bias << " for " << columns << " experts";
  }
  if (getValues() && shaped(getValues()).getShape() != logits.getShape())
    return emitOpError("has values ")
           << getValues().getType() << " for logits " << logits;
  // gate_c5
  if (getSparseMixer() && (topK != 2 || getScore() != Score::None))
    return emitOpError("needs score none and top_k 2 for sparse_mixer");
  // gate_c6
  if (getDense() && (getSkipRatio() || getSkipCumulative()))
    return emitOpError("is dense, so it has no slots to skip");
  if (getSkipRatio() && !(getSkipRatio()->convertToDouble() >= 0))
    return emitOpError("needs a skip_ratio of 0 or more");
  if (std::optional<ArrayRef<double>> limits = getSkipCumulative())
    if (limits->size() != 2 || !((*limits)[0] <= (*limits)[1]))
      return emitOpError("needs two rising limits for skip_cumulative");
  // gate_c7
  if (getCapacity() && getCapacityFactor())
    return emitOpError(
        "has a capacity and a capacity_factor, but only one can be");
  if (!positive(getCapacityFactor()) || !positive(getCapacityTau()))
    return emitOpError("needs a positive capacity");
  if (getCapacityTau() && !getCapacityFactor())
    return emitOpError("has a capacity_tau but no capacity_factor");
  if (getDense() && (getCapacity() || getCapacityFactor()))
    return emitOpError("is dense, so it has no slots to drop");
  // gate_c8
  if (std::optional<ArrayRef<int64_t>> subset = getSubset()) {
    if (known && static_cast<int64_t>(subset->size()) != columns)
      return emitOpError("lists ")
             << subset->size() << " entries for " << columns << " columns";
    llvm::SmallSet<int64_t, 16> seen;
    for (int64_t entry : *subset)
      if (entry < 0 || !seen.insert(entry).second)
        return emitOpError("lists entry ") << entry << " twice or below zero";
  }
  // gate_c9
  if (!getPool() && (getNorm() == Norm::Real || getNorm() == Norm::Nonzero))
    return emitOpError("normalises over kinds of experts, so it needs a pool");
  // gate_c10
  if (getK() && !topK)
    return emitOpError("has a dynamic k, so it needs top_k as its bound");
  if (getSelectFirst() && !topK)
    return emitOpError("selects first, so it needs top_k");
  if (getNorm() == Norm::None && !getNormEpsilon().isZero())
    return emitOpError("has a norm_epsilon but no norm");
  return success();
}

LogicalResult GateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // gate_c9
  if (!getPool())
    return success();
  PoolOp pool = PoolOp::lookup(*this, getPoolAttr(), symbols);
  if (!pool)
    return emitOpError("routes over ")
           << getPoolAttr() << ", which is not a moe.pool";
  int64_t entries = pool.getNumEntries(), columns = getNumColumns();
  auto fail = [&](InFlightDiagnostic diag) -> LogicalResult {
    diag.attachNote(pool.getLoc()) << "pool declared here";
    return diag;
  };
  if (std::optional<ArrayRef<int64_t>> subset = getSubset()) {
    for (int64_t entry : *subset)
      if (entry >= entries)
        return fail(emitOpError("lists entry ")
                    << entry << ", but " << getPoolAttr() << " has "
                    << entries);
  } else if (!ShapedType::isDynamic(columns) && columns != entries) {
    return fail(emitOpError("scores ") << columns << " experts, but "
                                       << getPoolAttr() << " has " << entries);
  }
  return success();
}

namespace {
/// softmax over all, select, divide by the sum == select, softmax over the
/// selected: a softmax restricted to a set and renormalised is the softmax of
/// that set. Cheaper, and never divides by a tiny sum.
struct SelectBeforeSoftmax : OpRewritePattern<GateOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GateOp gate,
                                PatternRewriter &rewriter) const override {
    if (gate.getScore() != Score::Softmax || gate.getSelectFirst() ||
        gate.getNorm() != Norm::Selected || gate.getDense() || !gate.getTopK())
      return rewriter.notifyMatchFailure(gate, "not a renormalised softmax");
    if (!gate.getNormEpsilon().isZero())
      return rewriter.notifyMatchFailure(gate, "norm has an epsilon");
    // Both look at the probabilities of all experts.
    if (gate.getChoiceBias() || gate.getValues() || gate.getGroups())
      return rewriter.notifyMatchFailure(gate, "needs all probabilities");
    // They divide again after dropping slots.
    if (gate.getSkipRatio() || gate.getCapacity() || gate.getCapacityFactor())
      return rewriter.notifyMatchFailure(gate, "slots may be dropped");
    rewriter.modifyOpInPlace(gate, [&] {
      gate.setSelectFirst(true);
      gate.setNorm(Norm::None);
    });
    return success();
  }
};

/// No weight is below 0 times another, unless there are negative ones.
struct SkipNothing : OpRewritePattern<GateOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GateOp gate,
                                PatternRewriter &rewriter) const override {
    if (!gate.getSkipRatio() || !gate.getSkipRatio()->isZero() ||
        gate.getScore() == Score::None || gate.getValues())
      return rewriter.notifyMatchFailure(gate, "skips slots");
    rewriter.modifyOpInPlace(gate, [&] { gate.removeSkipRatioAttr(); });
    return success();
  }
};
} // namespace

void GateOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                         MLIRContext *context) {
  patterns.add<SelectBeforeSoftmax, SkipNothing>(context);
}
