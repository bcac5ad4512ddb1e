#include "mlir/IR/Remarks.h"
#include "passes/Compress/Calibration.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"

namespace moe {
#define GEN_PASS_DEF_SKIPEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

/// Second weight over first, for each row.
static std::vector<double> ratiosOf(const Numbers &weights) {
  std::vector<double> ratios;
  for (int64_t r = 0; r < weights.rows; ++r) {
    double first = 0, second = 0;
    for (int64_t e = 0; e < weights.columns; ++e) {
      double w = weights.at(r, e);
      if (w > first)
        second = first, first = w;
      else if (w > second)
        second = w;
    }
    ratios.push_back(first > 0 ? second / first : 0);
  }
  llvm::sort(ratios);
  return ratios;
}

/// Linear between neighbours, so that the quantile 0.5 is the median.
static double quantile(ArrayRef<double> sorted, double share) {
  double place = share * static_cast<double>(sorted.size() - 1);
  size_t below = static_cast<size_t>(place);
  size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] +
         (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

namespace {
struct SkipExpertsPass : moe::impl::SkipExpertsPassBase<SkipExpertsPass> {
  using SkipExpertsPassBase::SkipExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] { return emitError(module.getLoc(), "skip-experts: "); };
    if (beta != -1.0 && !(beta >= 0))
      return wrong() << "beta is not negative, not " << beta;
    if (!(share >= 0 && share <= 1) || rows < 1)
      return wrong() << "share is between 0 and 1, and rows 1 or more";
    auto found = beginStep(module, "skip-experts", Stage::Trim, *layers);
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    std::vector<double> betas;
    for (MoELayer &layer : *found) {
      if (beta != -1.0) {
        betas.push_back(beta);
        continue;
      }
      if (!inputs.profile || !inputs.weights)
        return emitLayerError(layer) << "skip-experts needs a profile "
                                        "(--profile=FILE), or beta=NUMBER";
      auto calibration =
          Calibration::of(layer, *inputs.profile, *inputs.weights, rows);
      if (failed(calibration))
        return failure();
      betas.push_back(quantile(ratiosOf(calibration->getGates()), share));
    }
    Builder builder(&getContext());
    for (auto [layer, own] : llvm::zip(*found, betas)) {
      if (*layer.gate.getTopK() < 2) {
        remark::missed(
            layer.apply->getLoc(),
            remark::RemarkOpts::name("skip").category("moe-compress"))
            << (layer.name + " has one expert per token");
        continue;
      }
      layer.gate.setSkipRatioAttr(builder.getF64FloatAttr(own));
      remark::passed(layer.apply->getLoc(),
                     remark::RemarkOpts::name("skip").category("moe-compress"))
          << ("skips below a ratio in " + layer.name)
          << remark::metric("beta", own);
    }
    return success();
  }
};
} // namespace
