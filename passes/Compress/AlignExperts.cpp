#include "mlir/IR/Remarks.h"
#include "passes/Compress/Assignment.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Similarity.h"

namespace moe {
#define GEN_PASS_DEF_ALIGNEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct AlignExpertsPass : moe::impl::AlignExpertsPassBase<AlignExpertsPass> {
  using AlignExpertsPassBase::AlignExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto found = beginStep(module, "align-experts", Stage::Merge, *layers);
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    if (!inputs.weights)
      return emitError(module.getLoc(),
                       "align-experts: there are no weights to look at");
    SymbolTable symbols(module);
    for (MoELayer &layer : *found) {
      SmallVector<ExpertOp> experts;
      for (ExpertOpInterface entry : layer.pool.getEntries())
        if (auto expert = dyn_cast<ExpertOp>(entry.getOperation()))
          experts.push_back(expert);
      if (experts.empty())
        continue;
      auto others = ArrayRef(experts).drop_front();
      auto orders = alignedOrders(layer, experts[0], others, *inputs.weights);
      if (failed(orders))
        return failure();
      for (auto [each, order] : llvm::zip(others, *orders)) {
        ExpertOp expert = each;
        remark::analysis(
            expert.getLoc(),
            remark::RemarkOpts::name("align").category("moe-compress"))
            << ("order of '" + expert.getEntryName() + "' of " + layer.name)
                   .str()
            << remark::metric("kendall_tau", kendallTau(order));
        // A unit out of place is worth a recipe.
        if (!llvm::is_sorted(order) &&
            failed(takeHiddenUnits(layer, expert, order, symbols)))
          return failure();
      }
    }
    eraseUnusedBanks(module);
    return success();
  }
};
} // namespace
