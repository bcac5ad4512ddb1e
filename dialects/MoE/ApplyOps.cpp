#include "dialects/MoE/MoEOps.h"
#include "dialects/MoE/MoEUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace moe;

void ApplyOp::build(OpBuilder &builder, OperationState &state, Type result,
                    FlatSymbolRefAttr pool, Value tokens, Value ids,
                    Value weights) {
  auto &properties = state.getOrAddProperties<Properties>();
  state.addTypes(result);
  state.addOperands(tokens);
  if (ids)
    state.addOperands(ids);
  if (weights)
    state.addOperands(weights);
  properties.pool = pool;
  properties.operandSegmentSizes = {1, ids ? 1 : 0, weights ? 1 : 0, 0, 0, 0};
}

LogicalResult ApplyOp::verify() {
  size_t ids = getIds().size(), weights = getWeights().size();
  if (getTokens().empty())
    return emitOpError("needs tokens");
  // apply_c1
  if (ids == 0 && weights == 0)
    return emitOpError("needs ids or weights");
  if (ids != 0 && weights != 0 && ids != weights)
    return emitOpError("has ids of ")
           << ids << " gates but weights of " << weights;
  // apply_c2
  for (Value id : getIds())
    if (tensorType(id).getRank() != 2 ||
        !tensorType(id).getElementType().isInteger(32))
      return emitOpError("needs i32 ids of rank 2, not ") << id.getType();
  for (Value weight : getWeights())
    if (tensorType(weight).getRank() != 2 ||
        !isa<FloatType>(tensorType(weight).getElementType()))
      return emitOpError("needs float weights of rank 2, not ")
             << weight.getType();
  for (auto [id, weight] : llvm::zip(getIds(), getWeights()))
    for (unsigned i : {0u, 1u})
      if (differ(tensorType(id).getDimSize(i),
                 tensorType(weight).getDimSize(i)))
        return emitOpError("has ids ")
               << id.getType() << " but weights " << weight.getType();
  if (!getVariants().empty() && getVariants().size() != ids)
    return emitOpError("has ids of ")
           << ids << " gates but variants of " << getVariants().size();
  for (auto [id, variant] : llvm::zip(getIds(), getVariants()))
    if (!tensorType(variant).getElementType().isInteger(32) ||
        differ(tensorType(id), tensorType(variant)))
      return emitOpError("has ids ")
             << id.getType() << " but variants " << variant.getType();
  // apply_c3
  if (std::optional<ArrayAttr> subsets = getSubsets()) {
    if (!isDense())
      return emitOpError("has subsets, but its gates give ids");
    if (subsets->size() != weights)
      return emitOpError("has ")
             << subsets->size() << " subsets for " << weights << " gates";
    for (auto [subset, weight] :
         llvm::zip(subsets->getAsRange<DenseI64ArrayAttr>(), getWeights()))
      if (differ(subset.size(), tensorType(weight).getDimSize(1)))
        return emitOpError("has a subset of ")
               << subset.size() << " entries for weights " << weight.getType();
  }
  // apply_c4
  size_t gates = getNumGates(), states = getStates().size();
  if (getNumResults() != gates + states)
    return emitOpError("has ") << getNumResults() << " results for " << gates
                               << " gates and " << states << " states";
  for (auto [state, result] : llvm::zip(getStates(), getStateResults()))
    if (state.getType() != result.getType())
      return emitOpError("takes state ")
             << state.getType() << " but returns " << result.getType();
  // apply_c7
  for (ValueRange rows :
       {ValueRange(getTokens()), ValueRange(getGateResults())})
    for (Value row : rows)
      if (tensorType(row).getRank() == 0)
        return emitOpError("needs rows, not ") << row.getType();
  // apply_c5
  if (getCombine() == Combine::Replace)
    for (Value choice : isDense() ? getWeights() : getIds())
      if (differ(tensorType(choice).getDimSize(1), 1))
        return emitOpError("replaces, so it needs one slot per token, not ")
               << choice.getType();
  if (getScaleInput() && (getCombine() != Combine::Add || weights == 0))
    return emitOpError("scales its input, so it needs weights and combine add");
  return success();
}

LogicalResult ApplyOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // apply_c6
  PoolOp pool = PoolOp::lookup(*this, getPoolAttr(), symbols);
  if (!pool)
    return emitOpError("runs ") << getPoolAttr() << ", which is not a moe.pool";
  int64_t entries = pool.getNumEntries();
  auto fail = [&](InFlightDiagnostic diag) -> LogicalResult {
    diag.attachNote(pool.getLoc()) << "pool declared here";
    return diag;
  };
  if (std::optional<ArrayAttr> subsets = getSubsets()) {
    for (auto subset : subsets->getAsRange<DenseI64ArrayAttr>())
      for (int64_t entry : subset.asArrayRef())
        if (entry < 0 || entry >= entries)
          return fail(emitOpError("runs entry ")
                      << entry << ", but " << getPoolAttr() << " has "
                      << entries);
  } else if (isDense()) {
    for (Value weight : getWeights())
      if (differ(tensorType(weight).getDimSize(1), entries))
        return fail(emitOpError("has weights ")
                    << weight.getType() << ", but " << getPoolAttr() << " has "
                    << entries << " entries");
  }
  // Entries of one kind after the other share sizes, so a pool of stacked
  // slices costs one look per bank and entry here.
  for (ExpertOpInterface entry : pool.getEntries()) {
    int64_t group = entry.getInputGroup();
    if (group < 0 || group >= static_cast<int64_t>(getTokens().size()))
      return fail(emitOpError("has ")
                  << getTokens().size() << " token operands, but entry @"
                  << entry.getEntryName() << " reads number " << group);
    // apply_c7
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (!expert)
      continue;
    FailureOr<ExpertShape> shape = expert.getShape(symbols);
    if (failed(shape))
      continue; // said by the expert itself
    int64_t in = tensorType(getTokens()[group]).getShape().empty()
                     ? ShapedType::kDynamic
                     : tensorType(getTokens()[group]).getShape().back();
    if (differ(in, shape->in))
      return fail(emitOpError("has tokens of ")
                  << in << " features, but entry @" << entry.getEntryName()
                  << " takes " << shape->in);
    for (Value result : getGateResults())
      if (!tensorType(result).getShape().empty() && shape->out >= 0 &&
          differ(tensorType(result).getShape().back(), shape->out))
        return fail(emitOpError("gives rows of ")
                    << tensorType(result).getShape().back()
                    << " features, but entry @" << entry.getEntryName()
                    << " gives " << shape->out);
  }
  return success();
}

/// Functions may have effects of their own (states, observers), so an apply
/// over one keeps its place.
void ApplyOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  auto pool =
      SymbolTable::lookupNearestSymbolFrom<PoolOp>(*this, getPoolAttr());
  if (!pool || !pool.getBody().getOps<ExpertFnOp>().empty()) {
    effects.emplace_back(MemoryEffects::Read::get());
    effects.emplace_back(MemoryEffects::Write::get());
  }
}

/// True where no slot can carry the token itself (id -2).
static bool passesNothing(ApplyOp apply) {
  return llvm::all_of(apply.getIds(), [](Value ids) {
    auto gate = ids.getDefiningOp<GateOp>();
    return gate && gate.getOverflow() != Overflow::Pass;
  });
}

namespace {
/// A pool of nothing but `zero` gives zero, whatever the gate picks.
struct OnlyZeroExperts : OpRewritePattern<ApplyOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ApplyOp apply,
                                PatternRewriter &rewriter) const override {
    auto pool = SymbolTable::lookupNearestSymbolFrom<PoolOp>(
        apply, apply.getPoolAttr());
    if (!pool)
      return rewriter.notifyMatchFailure(apply, "no pool");
    for (Operation &entry : pool.getBody().front()) {
      auto null = dyn_cast<NullExpertOp>(entry);
      if (!isa<AliasOp>(entry) && (!null || null.getKind() != NullKind::Zero))
        return rewriter.notifyMatchFailure(apply, "not only zero experts");
    }
    if (apply.getCombine() != Combine::Add || !apply.getStates().empty() ||
        !passesNothing(apply))
      return rewriter.notifyMatchFailure(apply, "not a plain sum");
    auto type = cast<RankedTensorType>(apply.getResult(0).getType());
    if (apply.getNumResults() != 1 || type.getRank() != 2 ||
        type.isDynamicDim(1))
      return rewriter.notifyMatchFailure(apply,
                                         "not one result of known width");
    Location loc = apply.getLoc();
    Value zero = arith::ConstantOp::create(
        rewriter, loc, rewriter.getZeroAttr(type.getElementType()));
    SmallVector<Value> rows;
    if (type.isDynamicDim(0))
      rows.push_back(
          tensor::DimOp::create(rewriter, loc, apply.getTokens()[0], 0));
    rewriter.replaceOpWithNewOp<tensor::SplatOp>(apply, type, zero, rows);
    return success();
  }
};
} // namespace

void ApplyOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *context) {
  patterns.add<OnlyZeroExperts>(context);
}
