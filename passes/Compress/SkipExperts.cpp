#include "mlir/IR/Remarks.h"
#include "passes/Compress/Calibration.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Storage.h"

namespace moe {
#define GEN_PASS_DEF_SKIPEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

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

  InFlightDiagnostic wrong() {
    return emitError(getOperation().getLoc(), "skip-experts: ");
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    if (t1 != -1.0 || t2 != -1.0)
      return addStorages();
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
      std::vector<double> ratios = calibration->slotRatios();
      llvm::sort(ratios);
      betas.push_back(quantile(ratios, share));
    }
    Builder builder(&getContext());
    for (auto [layer, own] : llvm::zip(*found, betas)) {
      if (*layer.gate.getTopK() < 2) {
        hasOneExpert(layer);
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

  /// A second storage of the experts, and the rule that chooses between them.
  LogicalResult addStorages() {
    ModuleOp module = getOperation();
    if (beta != -1.0)
      return wrong() << "the rules of beta and of t1 and t2 are two; give one";
    if (!(t1 >= 0 && t1 <= t2 && t2 <= 1))
      return wrong() << "t1 and t2 are shares, 0 <= t1 <= t2 <= 1, not "
                     << t1.getValue() << " and " << t2.getValue();
    auto storage = storageOf(&getContext(), low, block, /*asymmetric=*/false);
    if (!storage)
      return wrong() << "low is " << knownStorages << ", not '" << low << "'";
    if (failed(checkStorage(*storage, [&] { return wrong(); })))
      return failure();
    auto found = beginStep(module, "skip-experts", Stage::Quantize, *layers);
    if (failed(found))
      return failure();
    SymbolTable symbols(module);
    for (MoELayer &layer : *found) {
      if (*layer.gate.getTopK() < 2) {
        hasOneExpert(layer);
        continue;
      }
      for (ExpertOpInterface entry : layer.pool.getEntries())
        if (auto expert = dyn_cast<ExpertOp>(entry.getOperation()))
          if (failed(addStorage(layer, expert, *storage, symbols)))
            return failure();
      chooseStorages(layer);
      remark::passed(layer.apply->getLoc(),
                     remark::RemarkOpts::name("skip").category("moe-compress"))
          << ("stores experts of " + layer.name + " as " + low + " too")
          << remark::metric("t1", t1.getValue())
          << remark::metric("t2", t2.getValue());
    }
    return success();
  }

  LogicalResult addStorage(const MoELayer &layer, ExpertOp expert,
                           const Storage &storage, SymbolTable &symbols) {
    if (expert.getVariants())
      return emitLayerError(layer) << "expert '" << expert.getEntryName()
                                   << "' has a second storage already";
    NamedAttrList stored;
    for (StringRef name : matrixNames(expert)) {
      auto slice = expert->getAttrOfType<SliceAttr>(name);
      if (!slice)
        return emitLayerError(layer)
               << "expert '" << expert.getEntryName()
               << "' has factored matrices, of which no second storage is made";
      auto own = addStored(layer, expert, name, slice, storage, {}, symbols);
      if (failed(own))
        return failure();
      stored.set(name, *own);
    }
    Builder builder(&getContext());
    expert.setVariantsAttr(builder.getArrayAttr(
        VariantAttr::get(&getContext(), builder.getStringAttr(storage.name),
                         stored.getDictionary(&getContext()))));
    return success();
  }

  /// The gate with one result more, which the run over the pool takes.
  void chooseStorages(MoELayer &layer) {
    GateOp gate = layer.gate;
    OpBuilder builder(gate);
    OperationState state(gate.getLoc(), GateOp::getOperationName());
    state.addOperands(gate->getOperands());
    state.addTypes(gate->getResultTypes());
    state.addTypes(gate.getIds().getType());
    auto &properties = state.getOrAddProperties<GateOp::Properties>();
    properties = gate.getProperties();
    properties.skip_cumulative =
        builder.getDenseF64ArrayAttr({t1.getValue(), t2.getValue()});
    state.addAttributes(gate->getDiscardableAttrDictionary().getValue());
    auto chosen = cast<GateOp>(builder.create(state));
    for (auto [from, to] : llvm::zip(gate.getResults(), chosen.getResults()))
      from.replaceAllUsesWith(to);
    gate.erase();
    layer.gate = chosen;
    layer.apply.getVariantsMutable().append(chosen.getVariants());
  }

  static void hasOneExpert(const MoELayer &layer) {
    ApplyOp apply = layer.apply;
    remark::missed(apply->getLoc(),
                   remark::RemarkOpts::name("skip").category("moe-compress"))
        << (layer.name + " has one expert per token");
  }
};
} // namespace
