#include "mlir/IR/Remarks.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/RouterNorms.h"
#include "passes/Compress/Scores.h"
#include "passes/Compress/Shares.h"
#include <numeric>

namespace moe {
#define GEN_PASS_DEF_PRUNEEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct PruneExpertsPass : moe::impl::PruneExpertsPassBase<PruneExpertsPass> {
  using PruneExpertsPassBase::PruneExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] { return emitError(module.getLoc(), "prune-experts: "); };
    if (budget != "layer" && budget != "global")
      return wrong() << "budget is layer or global, not '" << budget << "'";
    // The paper's code keeps the columns of its pruned experts.
    if (semantics.empty())
      semantics = std::string(score == "router-norm" ? "null" : "remove");
    if (semantics != "remove" && semantics != "null")
      return wrong() << "semantics is remove or null, not '" << semantics
                     << "'";
    if (search != "exhaustive" && search != "greedy" && search != "beam")
      return wrong() << "search is exhaustive, greedy or beam, not '" << search
                     << "'";
    if (beam < 1 || rows < 1)
      return wrong() << "beam and rows are 1 or more";
    if (score == "reconstruction" && budget == "global")
      return wrong() << "losses of reconstruction say nothing about other "
                        "layers, so they cannot share a budget";
    auto found = beginStep(module, "prune-experts", Stage::Trim, *layers);
    if (failed(found))
      return failure();
    auto counts = keptCounts("prune-experts", *found, keep, ratio);
    if (failed(counts))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    if (!inputs.weights)
      return wrong() << "there are no weights to look at";
    // All choices first: nothing has changed where one fails.
    std::vector<std::vector<int64_t>> kept;
    if (score == "reconstruction") {
      for (auto [layer, count] : llvm::zip(*found, *counts)) {
        auto own = reconstruct(layer, count, inputs);
        if (failed(own))
          return failure();
        kept.push_back(std::move(*own));
      }
    } else {
      std::vector<std::vector<double>> scores;
      for (MoELayer &layer : *found) {
        auto own = scoresOf(layer, inputs);
        if (!own)
          return wrong() << "score is frequency, probability, saliency, "
                            "reconstruction, magnitude or router-norm, not '"
                         << score << "'";
        if (failed(*own))
          return failure();
        scores.push_back(std::move(**own));
      }
      kept = choose(*found, *counts, scores);
    }
    SymbolTable symbols(module);
    for (auto [layer, own] : llvm::zip(*found, kept))
      if (static_cast<int64_t>(own.size()) < layer.pool.getNumEntries() &&
          failed(semantics == "remove" ? checkKept(layer, own, symbols)
                                       : checkNoAlias(layer)))
        return failure();
    for (auto [layer, own] : llvm::zip(*found, kept))
      if (failed(drop(layer, own, symbols)))
        return failure();
    eraseUnusedBanks(module);
    return success();
  }

  std::optional<FailureOr<std::vector<double>>>
  scoresOf(const MoELayer &layer, const CompressInputs &inputs) {
    if (score != "router-norm")
      return scoreExperts(layer, score, inputs.profile, *inputs.weights, rows);
    if (!inputs.base)
      return FailureOr<std::vector<double>>(
          emitLayerError(layer) << "score 'router-norm' needs the model before "
                                   "fine-tuning (--base=FILE)");
    return inputs.base->growth(layer, *inputs.weights);
  }

  FailureOr<std::vector<int64_t>>
  reconstruct(const MoELayer &layer, int64_t count, CompressInputs &inputs) {
    if (!inputs.profile)
      return emitLayerError(layer)
             << "score 'reconstruction' needs a profile (--profile=FILE)";
    PoolOp pool = layer.pool;
    int64_t experts = pool.getNumEntries();
    bool exhaustive = search == "exhaustive";
    if (int64_t subsets = countSubsets(experts, count);
        exhaustive && subsets > maxSubsets)
      return emitLayerError(layer)
             << subsets << " subsets of " << count << " of " << experts
             << " experts are more than max-subsets=" << maxSubsets.getValue()
             << "; use search=greedy or search=beam";
    GateOp gate = layer.gate;
    if (semantics == "remove" && gate.getGroups() &&
        count % *gate.getGroups() != 0)
      return emitLayerError(layer)
             << "its gate has " << *gate.getGroups()
             << " groups of experts, which must stay equally large";
    auto calibration =
        Calibration::of(layer, *inputs.profile, *inputs.weights, rows);
    if (failed(calibration))
      return failure();
    auto reconstruction =
        Reconstruction::of(*calibration, experts, *inputs.weights,
                           /*asNull=*/semantics == "null");
    if (failed(reconstruction))
      return failure();
    return searchSubset(*reconstruction, experts, count,
                        exhaustive           ? 0
                        : search == "greedy" ? 1
                                             : beam);
  }

  /// The experts with the greatest scores, ties to the lower number.
  std::vector<std::vector<int64_t>>
  choose(ArrayRef<MoELayer> layers, ArrayRef<int64_t> counts,
         ArrayRef<std::vector<double>> scores) {
    std::vector<std::tuple<double, size_t, int64_t>> order; // worst first
    for (size_t l = 0; l < layers.size(); ++l)
      for (size_t e = 0; e < scores[l].size(); ++e)
        order.push_back({scores[l][e], l, -static_cast<int64_t>(e)});
    llvm::sort(order);
    bool global = budget == "global";
    int64_t drops = 0;
    std::vector<int64_t> left, least;
    std::vector<std::vector<int64_t>> kept(layers.size());
    for (size_t l = 0; l < layers.size(); ++l) {
      int64_t experts = static_cast<int64_t>(scores[l].size());
      GateOp gate = layers[l].gate;
      left.push_back(experts);
      least.push_back(global ? std::min<int64_t>(*gate.getTopK(), experts)
                             : counts[l]);
      drops += experts - counts[l];
      kept[l].resize(experts);
      std::iota(kept[l].begin(), kept[l].end(), 0);
    }
    for (auto [score, l, e] : order) {
      if (drops == 0 || left[l] <= least[l])
        continue;
      llvm::erase(kept[l], -e);
      --left[l], --drops;
    }
    return kept;
  }

  LogicalResult drop(MoELayer &layer, ArrayRef<int64_t> kept,
                     SymbolTable &symbols) {
    auto entries = layer.pool.getEntries();
    if (kept.size() == entries.size())
      return success();
    std::string gone;
    for (size_t e = 0; e < entries.size(); ++e)
      if (!llvm::is_contained(kept, static_cast<int64_t>(e)))
        gone += (gone.empty() ? "" : ", ") + entries[e].getEntryName().str();
    remark::passed(layer.apply->getLoc(),
                   remark::RemarkOpts::name("prune").category("moe-compress"))
        << ("dropped " + gone + " of " + layer.name)
        << remark::metric("kept", static_cast<int64_t>(kept.size()));
    if (semantics == "remove")
      return keepColumns(layer, kept, symbols);
    for (size_t e = 0; e < entries.size(); ++e) {
      if (llvm::is_contained(kept, static_cast<int64_t>(e)))
        continue;
      OpBuilder builder(entries[e]);
      NullExpertOp::create(builder, entries[e].getLoc(),
                           entries[e].getEntryName(), NullKind::Zero);
      entries[e]->erase();
    }
    return success();
  }
};
} // namespace
