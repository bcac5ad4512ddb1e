#include "dialects/MoE/MoEOps.h"
#include "dialects/MoE/MoEUtils.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moe;

namespace {
/// What `moe.observe` writes.
struct Profile : SideEffects::Resource::Base<Profile> {
  StringRef getName() final { return "moe profile"; }
};
} // namespace

//===----------------------------------------------------------------------===//
// moe.soft_merge
//===----------------------------------------------------------------------===//

LogicalResult SoftMergeOp::verify() {
  // soft_merge_c1
  for (Value value : {getTokens(), getWeights(), getOut()})
    if (tensorType(value).getRank() != 2)
      return emitOpError("needs tensors of rank 2, not ") << value.getType();
  return success();
}

LogicalResult SoftMergeOp::verifySymbolUses(SymbolTableCollection &symbols) {
  PoolOp pool = PoolOp::lookup(*this, getPoolAttr(), symbols);
  if (!pool)
    return emitOpError("mixes ")
           << getPoolAttr() << ", which is not a moe.pool";
  // soft_merge_c1
  if (differ(tensorType(getWeights()).getDimSize(1), pool.getNumEntries()))
    return emitOpError("has weights ")
           << getWeights().getType() << ", but " << getPoolAttr() << " has "
           << pool.getNumEntries() << " entries";
  // soft_merge_c2
  ExpertOp first;
  ExpertShape shape;
  for (ExpertOpInterface entry : pool.getEntries()) {
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (!expert)
      return emitOpError("cannot mix entry @")
             << entry.getEntryName() << ", which has no matrices of its own";
    FailureOr<ExpertShape> own = expert.getShape(symbols);
    if (failed(own))
      return success(); // said by the expert itself
    if (!first) {
      first = expert;
      shape = *own;
    }
    if (!(*own == shape) || expert.getKind() != first.getKind() ||
        expert.getActivation() != first.getActivation())
      return emitOpError("cannot mix entry @")
             << entry.getEntryName() << ", which is of another kind or shape "
             << "than @" << first.getEntryName();
  }
  // soft_merge_c3
  if (differ(tensorType(getTokens()).getDimSize(1), shape.in) ||
      (shape.out >= 0 && differ(tensorType(getOut()).getDimSize(1), shape.out)))
    return emitOpError("turns ")
           << getTokens().getType() << " into " << getOut().getType()
           << ", but its experts take " << shape.in << " features and give "
           << shape.out;
  return success();
}

//===----------------------------------------------------------------------===//
// moe.confidence_gate
//===----------------------------------------------------------------------===//

LogicalResult ConfidenceGateOp::verify() {
  // confidence_gate_c1
  for (Value value : {getRows(), getOut(), getCertainty()})
    if (tensorType(value).getRank() != 2)
      return emitOpError("needs tensors of rank 2, not ") << value.getType();
  if (differ(tensorType(getCertainty()).getDimSize(1), 1))
    return emitOpError("gives one confidence per row, not ")
           << getCertainty().getType();
  // confidence_gate_c2
  bool separate = getMode() == ConfidenceMode::Separate;
  if (separate != getSeed().has_value())
    return emitOpError(separate ? "draws at random, so it needs a seed"
                                : "draws nothing, so it has no seed");
  return success();
}

LogicalResult
ConfidenceGateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // confidence_gate_c3
  PoolOp pool = PoolOp::lookup(*this, getPoolAttr(), symbols);
  if (!pool)
    return emitOpError("runs ") << getPoolAttr() << ", which is not a moe.pool";
  if (pool.getNumEntries() != 2 ||
      llvm::range_size(pool.getBody().getOps<ExpertFnOp>()) != 2)
    return emitOpError("needs a pool of two functions, weak and strong");
  auto confidence = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(
      *this, getConfidenceAttr());
  if (!confidence || confidence.getNumArguments() != 1)
    return emitOpError("needs a function of one argument, which ")
           << getConfidenceAttr() << " is not";
  return success();
}

//===----------------------------------------------------------------------===//
// moe.hyper_adapter
//===----------------------------------------------------------------------===//

/// E over k; -1 where it is larger than any table can be.
static int64_t choose(int64_t experts, int64_t k) {
  k = std::min(k, experts - k);
  double estimate = 1;
  int64_t result = 1;
  for (int64_t i = 1; i <= k; ++i) {
    estimate = estimate * (experts - k + i) / i;
    if (estimate > 1e15)
      return -1;
    result = result * (experts - k + i) / i;
  }
  return result;
}

LogicalResult HyperAdapterOp::verify() {
  // hyper_adapter_c1
  for (Value value : {getTokens(), getIds(), getOut()})
    if (tensorType(value).getRank() != 2)
      return emitOpError("needs tensors of rank 2, not ") << value.getType();
  if (!tensorType(getIds()).getElementType().isInteger(32))
    return emitOpError("needs i32 ids, not ") << getIds().getType();
  // hyper_adapter_c2
  bool generated = getGenerator() && getEmbeddings() && getTable().empty();
  bool folded = !getGenerator() && !getEmbeddings() && getTable().size() == 4;
  if (!generated && !folded)
    return emitOpError("needs a generator and embeddings, or a table of four");
  // hyper_adapter_c3
  int64_t experts = getExperts();
  if (generated) {
    if (tensorType(getEmbeddings()).getRank() != 2 ||
        differ(tensorType(getEmbeddings()).getDimSize(0), experts))
      return emitOpError("has embeddings ")
             << getEmbeddings().getType() << " of " << experts << " experts";
    return success();
  }
  int64_t k = tensorType(getIds()).getDimSize(1);
  if (ShapedType::isDynamic(k) || k > experts)
    return emitOpError("has a table, so it needs a fixed number of ids up to ")
           << experts;
  int64_t sets = choose(experts, k);
  if (sets < 0)
    return emitOpError("has a table, but there are too many sets of ")
           << k << " of " << experts << " experts";
  static constexpr int64_t ranks[] = {3, 2, 3, 2};
  for (auto [table, rank] : llvm::zip(getTable(), ranks))
    if (tensorType(table).getRank() != rank ||
        differ(tensorType(table).getDimSize(0), sets))
      return emitOpError("has a table ")
             << table.getType() << " for " << sets << " sets";
  return success();
}

LogicalResult HyperAdapterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // hyper_adapter_c4
  if (!getGenerator())
    return success();
  auto generator = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(
      *this, getGeneratorAttr());
  if (!generator || generator.getNumArguments() != 1 ||
      generator.getNumResults() != 4)
    return emitOpError("needs a function of one argument and four results, "
                       "which ")
           << getGeneratorAttr() << " is not";
  return success();
}

//===----------------------------------------------------------------------===//
// moe.observe
//===----------------------------------------------------------------------===//

LogicalResult ObserveOp::verify() {
  Measure measure = getMeasure();
  bool chooses = measure == Measure::Choice;
  bool pairs =
      measure == Measure::SublayerCosine || measure == Measure::BlockCosine;
  // observe_c1
  size_t most = chooses || pairs || measure == Measure::Inputs ? 2 : 1;
  size_t least = chooses ? 1 : most;
  if (getValues().size() < least || getValues().size() > most)
    return emitOpError("takes ") << (chooses ? "1 or " : "") << most
                                 << " values, not " << getValues().size();
  for (auto [i, value] : llvm::enumerate(getValues())) {
    if (tensorType(value).getRank() < 2)
      return emitOpError("needs values of rank 2 or more, not ")
             << value.getType();
    // observe_c2
    bool ids = (chooses && i == 0) || (measure == Measure::Inputs && i == 1);
    Type type = tensorType(value).getElementType();
    if (ids ? !type.isInteger(32) : !isa<FloatType>(type))
      return emitOpError(ids ? "takes i32 ids, not " : "measures floats, not ")
             << value.getType();
  }
  // observe_c3
  if ((chooses || measure == Measure::Inputs) && !getPool())
    return emitOpError("counts by expert, so it needs a pool");
  // observe_c4
  if ((measure == Measure::Logits) != getScore().has_value())
    return emitOpError(getScore() ? "has nothing to score"
                                  : "needs the score of the logits");
  // observe_c5
  if (getValues().size() < 2)
    return success();
  auto first = tensorType(getValues()[0]), second = tensorType(getValues()[1]);
  if (pairs ? differ(first, second)
            : differ(first.getDimSize(0), second.getDimSize(0)))
    return emitOpError(pairs ? "compares " : "pairs ")
           << first << " with " << second;
  return success();
}

LogicalResult ObserveOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // observe_c3
  if (getPool() && !PoolOp::lookup(*this, getPoolAttr(), symbols))
    return emitOpError("observes ")
           << getPoolAttr() << ", which is not a moe.pool";
  return success();
}

void ObserveOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  effects.emplace_back(MemoryEffects::Write::get(), Profile::get());
}
