#include "mlir/IR/Remarks.h"
#include "passes/Compress/Grams.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Scores.h"
#include "passes/Compress/Storage.h"
#include <numeric>

namespace moe {
#define GEN_PASS_DEF_QUANTIZEEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct QuantizeExpertsPass
    : moe::impl::QuantizeExpertsPassBase<QuantizeExpertsPass> {
  using QuantizeExpertsPassBase::QuantizeExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  InFlightDiagnostic wrong() {
    return emitError(getOperation().getLoc(), "quantize: ");
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto first = storageOf(&getContext(), type, block, asymmetric);
    auto second = storageOf(&getContext(), mixed, block, asymmetric);
    if (!first || (!mixed.empty() && !second))
      return wrong() << (first ? "mixed" : "type") << " is " << knownStorages
                     << ", not '" << (first ? mixed : type) << "'";
    if (mode != "round" && mode != "aware" && mode != "gptq")
      return wrong() << "mode is round, aware or gptq, not '" << mode << "'";
    if (second && !(bytes > 0))
      return wrong() << "mixed needs bytes, the share of the f32 bytes that "
                        "experts may take";
    if (rows < 1)
      return wrong() << "rows is 1 or more, not " << rows.getValue();
    auto emitWrong = [&] { return wrong(); };
    if (failed(checkStorage(*first, emitWrong)) ||
        (second && failed(checkStorage(*second, emitWrong))))
      return failure();
    bool compensated = mode == "gptq";
    if (compensated && (first->plain || (second && second->plain)))
      return wrong() << "mode=gptq chooses codes, which "
                     << (first->plain ? first->name : second->name)
                     << " has none of";
    auto found = beginStep(module, "quantize", Stage::Quantize, *layers);
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    bool aware = mode == "aware";
    if ((aware || compensated) && (!inputs.profile || !inputs.weights))
      return wrong() << "mode=" << mode << " needs a profile (--profile=FILE)";
    SymbolTable symbols(module);
    rights.clear();
    for (MoELayer &layer : *found) {
      std::vector<bool> important;
      if (second &&
          failed(chooseImportant(layer, *first, *second, inputs, important)))
        return failure();
      auto moments = LayerMoments::of(layer, inputs, rows, aware);
      if (failed(moments))
        return failure();
      std::optional<LayerGrams> grams;
      if (compensated) {
        auto made = LayerGrams::of(layer, inputs, rows, symbols);
        if (failed(made))
          return failure();
        grams = std::move(*made);
      }
      auto entries = layer.pool.getEntries();
      for (auto [e, entry] : llvm::enumerate(entries)) {
        auto expert = dyn_cast<ExpertOp>(entry.getOperation());
        if (!expert)
          continue;
        auto slices =
            moments->addBanks(static_cast<int64_t>(e), expert, symbols);
        if (failed(slices))
          return failure();
        bool less = second && !important[e];
        if (grams && llvm::any_of(matrixNames(expert), [&](StringRef name) {
              return isa<FactoredAttr>(expert->getAttr(name));
            }))
          return emitLayerError(layer)
                 << "expert '" << expert.getEntryName()
                 << "' is factored, and mode=gptq knows whole matrices only; "
                    "mode=aware and mode=round go with factors";
        // Grams of hidden units name the other matrices as they were.
        SmallVector<std::pair<StringRef, CodeChoice>> choices;
        for (StringRef name : matrixNames(expert)) {
          CodeChoice choice{slices->of(name), {}};
          if (grams) {
            auto gram =
                grams->of(static_cast<int64_t>(e), expert, name, symbols);
            if (failed(gram))
              return failure();
            choice.gram = *gram;
          }
          choices.push_back({name, choice});
        }
        for (auto &[name, choice] : choices)
          if (failed(store(layer, expert, name, less ? *second : *first, choice,
                           symbols)))
            return failure();
      }
      remark::passed(
          layer.apply->getLoc(),
          remark::RemarkOpts::name("quantize").category("moe-compress"))
          << ("stores the experts of " + layer.name + " as " + type);
    }
    eraseUnusedBanks(module);
    return success();
  }

  /// Which entries keep the first type, so that the layer's bytes fit.
  LogicalResult chooseImportant(MoELayer &layer, const Storage &first,
                                const Storage &second, CompressInputs &inputs,
                                std::vector<bool> &important) {
    auto scores =
        scoreExperts(layer, score, inputs.profile, *inputs.weights, rows);
    if (!scores)
      return wrong() << "score is frequency, probability, saliency or "
                        "magnitude, not '"
                     << score << "'";
    if (failed(*scores))
      return failure();
    double many = first.bytes() / 4;
    double few = second.bytes() / 4;
    if (bytes < few)
      return wrong() << "bytes=" << bytes << " is less than " << second.name
                     << " takes, which is " << few;
    auto entries = layer.pool.getEntries();
    int64_t experts = llvm::count_if(entries, [](ExpertOpInterface entry) {
      return isa<ExpertOp>(entry.getOperation());
    });
    int64_t count =
        many <= few
            ? experts
            : static_cast<int64_t>(std::min(
                  static_cast<double>(experts),
                  (bytes - few) / (many - few) * static_cast<double>(experts) +
                      1e-9));
    std::vector<int64_t> order(entries.size());
    std::iota(order.begin(), order.end(), 0);
    llvm::sort(order, [&](int64_t a, int64_t b) {
      return std::make_pair(-(**scores)[a], a) <
             std::make_pair(-(**scores)[b], b);
    });
    important.assign(entries.size(), false);
    for (int64_t e : order)
      if (count > 0 && isa<ExpertOp>(entries[e].getOperation()))
        important[e] = true, --count;
    return success();
  }

  /// Quantises a matrix, or both of its factors.
  LogicalResult store(MoELayer &layer, ExpertOp expert, StringRef name,
                      const Storage &storage, const CodeChoice &choice,
                      SymbolTable &symbols) {
    auto factored = expert->getAttrOfType<FactoredAttr>(name);
    if (!factored) {
      auto made = storeSlice(layer, expert, name,
                             expert->getAttrOfType<SliceAttr>(name), storage,
                             choice, symbols);
      if (succeeded(made))
        expert->setAttr(name, *made);
      return made;
    }
    if (!factored.getLeft() || factored.getBase() || factored.getRows())
      return emitLayerError(layer)
             << "expert '" << expert.getEntryName() << "': matrix '" << name
             << "' is more than two factors, which are not quantised";
    auto left = storeSlice(layer, expert, (name + ".left").str(),
                           factored.getLeft(), storage, {}, symbols);
    if (failed(left))
      return failure();
    // Gate and up may share what reads the inputs.
    SliceAttr &right = rights[factored.getRight()];
    if (!right) {
      auto made = storeSlice(layer, expert, (name + ".right").str(),
                             factored.getRight(), storage, choice, symbols);
      if (failed(made))
        return failure();
      right = *made;
    }
    expert->setAttr(name, FactoredAttr::get(&getContext(), SliceAttr(), *left,
                                            right, factored.getScale(),
                                            SliceAttr(), SliceAttr()));
    return success();
  }

  /// A slice as storage of its own.
  FailureOr<SliceAttr> storeSlice(MoELayer &layer, ExpertOp expert,
                                  StringRef name, SliceAttr slice,
                                  const Storage &storage,
                                  const CodeChoice &choice,
                                  SymbolTable &symbols) {
    if (slice.getQuant())
      return emitLayerError(layer)
             << "expert '" << expert.getEntryName() << "' is quantised already";
    return addStored(layer, expert, name, slice, storage, choice, symbols);
  }

  /// Right factors that have been quantised.
  llvm::DenseMap<SliceAttr, SliceAttr> rights;
};
} // namespace
