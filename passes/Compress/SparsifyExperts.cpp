#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include <cmath>

namespace moe {
#define GEN_PASS_DEF_SPARSIFYEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct SparsifyExpertsPass
    : moe::impl::SparsifyExpertsPassBase<SparsifyExpertsPass> {
  using SparsifyExpertsPassBase::SparsifyExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] {
      return emitError(module.getLoc(), "sparsify-experts: ");
    };
    bool wanda = score == "wanda";
    if (!wanda && score != "magnitude")
      return wrong() << "score is wanda or magnitude, not '" << score << "'";
    if (ratio != -1.0 && !(ratio >= 0 && ratio < 1))
      return wrong() << "ratio is at least 0 and less than 1, not " << ratio;
    if (n < 1 || m < 2 || n >= m)
      return wrong() << "keeps n of every m weights, 0 < n < m, not "
                     << n.getValue() << " of " << m.getValue();
    if (rows < 1)
      return wrong() << "rows is 1 or more, not " << rows.getValue();
    auto found = beginStep(module, "sparsify-experts", Stage::Factor, *layers);
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    if (wanda && (!inputs.profile || !inputs.weights))
      return wrong() << "score=wanda needs a profile (--profile=FILE)";
    SymbolTable symbols(module);
    for (MoELayer &layer : *found) {
      auto moments = LayerMoments::of(layer, inputs, rows, wanda);
      if (failed(moments))
        return failure();
      for (auto [e, entry] : llvm::enumerate(layer.pool.getEntries()))
        if (auto expert = dyn_cast<ExpertOp>(entry.getOperation()))
          if (failed(sparsify(layer, static_cast<int64_t>(e), expert, *moments,
                              symbols)))
            return failure();
    }
    eraseUnusedBanks(module);
    return success();
  }

  LogicalResult sparsify(MoELayer &layer, int64_t e, ExpertOp expert,
                         const LayerMoments &layerMoments,
                         SymbolTable &symbols) {
    auto slices = layerMoments.addBanks(e, expert, symbols);
    if (failed(slices))
      return failure();
    for (StringRef name : matrixNames(expert)) {
      auto shape = shapeOf(layer, expert, name, symbols);
      if (failed(shape))
        return failure();
      int64_t columns = shape->back();
      int64_t kept = n, group = m;
      if (ratio != -1.0) {
        group = 0;
        kept = columns - std::llround(ratio * static_cast<double>(columns));
        if (kept < 1)
          return emitLayerError(layer)
                 << "expert '" << expert.getEntryName() << "': matrix '" << name
                 << "' has rows of " << columns
                 << " numbers, of which ratio=" << ratio.getValue()
                 << " leaves none";
      } else if (columns % m != 0) {
        return emitLayerError(layer)
               << "expert '" << expert.getEntryName() << "': matrix '" << name
               << "' has " << columns << " inputs, which groups of "
               << m.getValue() << " do not divide";
      }
      replaceMatrix(layer, expert, name,
                    SparsifyAttr::get(&getContext(), expert->getAttr(name),
                                      kept, group, slices->of(name)),
                    *shape, symbols);
    }
    if (ratio == -1.0)
      expert.setNOfM(ArrayRef<int64_t>{n, m});
    return success();
  }
};
} // namespace
