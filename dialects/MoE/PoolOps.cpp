#include "dialects/MoE/MoEOps.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace moe;

void PoolOp::build(OpBuilder &builder, OperationState &state, StringRef name) {
  state.getOrAddProperties<Properties>().sym_name = builder.getStringAttr(name);
  state.addRegion()->emplaceBlock();
}

LogicalResult PoolOp::verifyRegions() {
  // pool_c1
  if (getBody().empty() || getBody().front().empty())
    return emitOpError("has no entry");
  llvm::StringMap<Operation *> names;
  for (Operation &op : getBody().front()) {
    auto entry = dyn_cast<ExpertOpInterface>(op);
    if (!entry)
      return op.emitOpError("is no expert, so it cannot stand in a pool");
    // pool_c2
    auto [known, fresh] = names.try_emplace(entry.getEntryName(), &op);
    if (fresh)
      continue;
    InFlightDiagnostic diag = op.emitOpError("has the name of another entry, @")
                              << entry.getEntryName();
    diag.attachNote(known->second->getLoc()) << "the other entry";
    return diag;
  }
  // pool_c3
  for (auto alias : getBody().getOps<AliasOp>()) {
    auto target = names.find(alias.getTarget());
    if (target == names.end())
      return alias.emitOpError("stands for @")
             << alias.getTarget() << ", which the pool does not have";
    if (isa<AliasOp>(target->second))
      return alias.emitOpError("stands for @")
             << alias.getTarget() << ", which is an alias itself";
  }
  return success();
}

SmallVector<ExpertOpInterface> PoolOp::getEntries() {
  return llvm::to_vector(getBody().getOps<ExpertOpInterface>());
}

int64_t PoolOp::getNumEntries() {
  return llvm::range_size(getBody().front().getOperations());
}

ExpertOpInterface PoolOp::getEntry(int64_t e) {
  if (e < 0 || e >= getNumEntries())
    return {};
  return dyn_cast<ExpertOpInterface>(*std::next(getBody().front().begin(), e));
}

ExpertOpInterface PoolOp::getEntry(StringRef name) {
  for (auto entry : getBody().getOps<ExpertOpInterface>())
    if (entry.getEntryName() == name)
      return entry;
  return {};
}

ExpertOpInterface PoolOp::getResolvedEntry(int64_t e) {
  ExpertOpInterface entry = getEntry(e);
  if (!entry)
    return {};
  if (auto alias = dyn_cast<AliasOp>(entry.getOperation()))
    return getEntry(alias.getTarget());
  return entry;
}

SmallVector<ExpertOp>
PoolOp::getUniformExperts(SymbolTableCollection &symbols) {
  SmallVector<ExpertOp> experts;
  ExpertShape shape;
  for (ExpertOpInterface entry : getEntries()) {
    auto expert = dyn_cast<ExpertOp>(entry.getOperation());
    if (!expert || !expert.isPlain())
      return {};
    FailureOr<ExpertShape> own = expert.getShape(symbols);
    if (failed(own))
      return {};
    if (experts.empty())
      shape = *own;
    ExpertOp first = experts.empty() ? expert : experts.front();
    if (!(*own == shape) || expert.getKind() != first.getKind() ||
        expert.getActivation() != first.getActivation() ||
        expert.getAlpha() != first.getAlpha() ||
        expert.getBeta() != first.getBeta() ||
        expert.getLimit() != first.getLimit() ||
        expert.getOutputScale() != first.getOutputScale() ||
        expert.getInput() != first.getInput() ||
        expert.getGateBias().has_value() != first.getGateBias().has_value() ||
        expert.getUpBias().has_value() != first.getUpBias().has_value() ||
        expert.getDownBias().has_value() != first.getDownBias().has_value())
      return {};
    experts.push_back(expert);
  }
  return experts;
}

bool PoolOp::isUniformGlu(SymbolTableCollection &symbols) {
  SmallVector<ExpertOp> experts = getUniformExperts(symbols);
  return !experts.empty() && experts.front().isGlu();
}

PoolOp PoolOp::lookup(Operation *from, FlatSymbolRefAttr name,
                      SymbolTableCollection &symbols) {
  return symbols.lookupNearestSymbolFrom<PoolOp>(from, name);
}
