#include "mlir/IR/Remarks.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"

namespace moe {
#define GEN_PASS_DEF_NARROWEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct NarrowExpertsPass : moe::impl::NarrowExpertsPassBase<NarrowExpertsPass> {
  using NarrowExpertsPassBase::NarrowExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] { return emitError(module.getLoc(), "narrow-experts: "); };
    if (!(ratio > 0 && ratio < 1))
      return wrong() << "ratio is between 0 and 1, not " << ratio;
    if (budget != "expert" && budget != "layer")
      return wrong() << "budget is expert or layer, not '" << budget << "'";
    if (multiple < 1 || rows < 1)
      return wrong() << "multiple and rows are 1 or more";
    auto found = beginStep(module, "narrow-experts", Stage::Factor, *layers);
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    if (!inputs.profile || !inputs.weights)
      return wrong() << "needs a profile (--profile=FILE)";
    SymbolTable symbols(module);
    for (MoELayer &layer : *found)
      if (failed(narrow(layer, inputs, symbols)))
        return failure();
    eraseUnusedBanks(module);
    return success();
  }

  /// What each hidden unit adds to the layer's output, as a mean square over
  /// all tokens.
  FailureOr<std::vector<double>> importance(const MoELayer &layer, int64_t e,
                                            ExpertOp expert,
                                            const LayerMoments &layerMoments,
                                            CompressInputs &inputs) {
    auto moments = layerMoments.get(e, expert);
    auto down = evaluate(expert, *expert.getDown(), *inputs.weights);
    if (failed(moments) || failed(down))
      return failure();
    // Weights of the gate tell how much of it arrives.
    const Numbers &gates = layerMoments.getCalibration().getEntryGates();
    double share = 0;
    for (int64_t r = 0; r < gates.rows; ++r)
      share += gates.at(r, e) * gates.at(r, e);
    share /= static_cast<double>(gates.rows);
    std::vector<double> result = moments->hidden;
    for (int64_t c = 0; c < down->columns; ++c) {
      double square = 0;
      for (int64_t r = 0; r < down->rows; ++r)
        square += down->at(r, c) * down->at(r, c);
      result[c] *= square * share;
    }
    if (failed(checkFinite(layer, e, result)))
      return failure();
    return result;
  }

  LogicalResult narrow(MoELayer &layer, CompressInputs &inputs,
                       SymbolTable &symbols) {
    auto moments = LayerMoments::of(layer, inputs, rows);
    if (failed(moments))
      return failure();
    struct Unit {
      double importance;
      size_t expert;
      int64_t unit;
    };
    std::vector<Unit> units;
    std::vector<ExpertOp> experts;
    std::vector<int64_t> widths;
    for (auto [e, entry] : llvm::enumerate(layer.pool.getEntries())) {
      auto expert = dyn_cast<ExpertOp>(entry.getOperation());
      if (!expert)
        continue;
      auto own =
          importance(layer, static_cast<int64_t>(e), expert, *moments, inputs);
      if (failed(own))
        return failure();
      for (auto [unit, value] : llvm::enumerate(*own))
        units.push_back({value, experts.size(), static_cast<int64_t>(unit)});
      widths.push_back(static_cast<int64_t>(own->size()));
      experts.push_back(expert);
    }
    llvm::sort(units, [](const Unit &a, const Unit &b) {
      return std::make_tuple(-a.importance, a.expert, a.unit) <
             std::make_tuple(-b.importance, b.expert, b.unit);
    });
    // The best units go to their experts until the budget is spent; widths
    // are rounded to whole multiples then.
    auto rounded = [&](double width, int64_t most) {
      int64_t up =
          static_cast<int64_t>(width + 0.5 * multiple) / multiple * multiple;
      return std::clamp<int64_t>(up, std::min<int64_t>(multiple, most), most);
    };
    std::vector<int64_t> target;
    std::vector<int64_t> among(experts.size());
    size_t kept =
        static_cast<size_t>(static_cast<double>(units.size()) * (1 - ratio));
    for (size_t i = 0; i < kept; ++i)
      ++among[units[i].expert];
    for (size_t e = 0; e < experts.size(); ++e)
      target.push_back(rounded(
          budget == "layer" ? static_cast<double>(among[e])
                            : static_cast<double>(widths[e]) * (1 - ratio),
          widths[e]));
    std::vector<SmallVector<int64_t>> chosen(experts.size());
    for (const Unit &unit : units)
      if (static_cast<int64_t>(chosen[unit.expert].size()) <
          target[unit.expert])
        chosen[unit.expert].push_back(unit.unit);
    for (auto [expert, own] : llvm::zip(experts, chosen)) {
      llvm::sort(own);
      if (failed(takeHiddenUnits(layer, expert, own, symbols)))
        return failure();
    }
    return success();
  }
};
} // namespace
