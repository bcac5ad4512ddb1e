#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Layers.h"
#include "passes/Compress/Passes.h"
#include "llvm/Support/xxhash.h"

namespace moe {
#define GEN_PASS_DEF_DEDUPEEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct DedupeExpertsPass : moe::impl::DedupeExpertsPassBase<DedupeExpertsPass> {
  using DedupeExpertsPassBase::DedupeExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    WeightSource *weights = CompressInputs::of(&getContext()).weights;
    if (!weights)
      return emitError(module.getLoc(),
                       "dedupe-experts: there are no weights to look at");
    auto found = collectLayers(module, *layers);
    if (failed(found))
      return failure();
    for (MoELayer &layer : *found) {
      // Hashes find candidates, numbers decide: one pair in memory at a time.
      llvm::DenseMap<uint64_t, SmallVector<ExpertOp>> seen;
      for (ExpertOpInterface entry : layer.pool.getEntries()) {
        auto expert = dyn_cast<ExpertOp>(entry.getOperation());
        if (!expert)
          continue;
        auto hash = hashOf(expert, *weights);
        if (failed(hash))
          return failure();
        ExpertOp same;
        for (ExpertOp other : seen[*hash]) {
          auto equal = areEqual(expert, other, *weights);
          if (failed(equal))
            return failure();
          if (*equal) {
            same = other;
            break;
          }
        }
        if (!same) {
          seen[*hash].push_back(expert);
          continue;
        }
        redirect(layer, expert.getEntryName(), same.getEntryName());
        OpBuilder builder(expert);
        AliasOp::create(builder, expert.getLoc(), expert.getEntryName(),
                        same.getEntryName());
        expert.erase();
      }
    }
    eraseUnusedBanks(module);
    return success();
  }

  static constexpr StringLiteral kParts[] = {
      "gate", "up", "down", "gate_bias", "up_bias", "down_bias"};

  /// Aliases of one name the other.
  static void redirect(MoELayer &layer, StringRef from, StringRef to) {
    for (ExpertOpInterface entry : layer.pool.getEntries())
      if (auto alias = dyn_cast<AliasOp>(entry.getOperation()))
        if (alias.getTarget() == from)
          alias.setTarget(to);
  }

  FailureOr<uint64_t> hashOf(ExpertOp expert, WeightSource &weights) {
    uint64_t hash = 0;
    for (StringRef part : kParts) {
      Attribute matrix = expert->getAttr(part);
      if (!matrix)
        continue;
      auto numbers = evaluate(expert, matrix, weights);
      if (failed(numbers))
        return failure();
      hash = llvm::hash_combine(
          hash, part,
          llvm::xxh3_64bits(ArrayRef<uint8_t>(
              reinterpret_cast<const uint8_t *>(numbers->values.data()),
              numbers->values.size() * sizeof(double))));
    }
    return hash;
  }

  FailureOr<bool> areEqual(ExpertOp a, ExpertOp b, WeightSource &weights) {
    if (a.getVariants() || b.getVariants() || a.getNOfM() != b.getNOfM())
      return false;
    for (NamedAttribute attribute : a->getAttrs())
      if (attribute.getName() != "entry_name" &&
          !llvm::is_contained(kParts, attribute.getName().getValue()) &&
          b->getAttr(attribute.getName()) != attribute.getValue())
        return false;
    if (a->getAttrs().size() != b->getAttrs().size())
      return false;
    for (StringRef part : kParts) {
      Attribute left = a->getAttr(part), right = b->getAttr(part);
      if (left == right)
        continue;
      if (!left || !right)
        return false;
      auto first = evaluate(a, left, weights);
      auto second = evaluate(b, right, weights);
      if (failed(first) || failed(second))
        return failure();
      if (first->rows != second->rows || first->values != second->values)
        return false;
    }
    return true;
  }
};
} // namespace
