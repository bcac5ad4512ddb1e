#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include <cmath>
#include <numeric>

namespace moe {
#define GEN_PASS_DEF_FACTORIZEEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct FactorizeExpertsPass
    : moe::impl::FactorizeExpertsPassBase<FactorizeExpertsPass> {
  using FactorizeExpertsPassBase::FactorizeExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] {
      return emitError(module.getLoc(), "factorize-experts: ");
    };
    if ((rank == -1) == (ratio == -1.0))
      return wrong() << "give rank or ratio (share of the numbers that is "
                        "kept), not both";
    if (rank != -1 && rank < 1)
      return wrong() << "rank is 1 or more, not " << rank.getValue();
    if (rank == -1 && !(ratio > 0 && ratio < 1))
      return wrong() << "ratio is between 0 and 1, not " << ratio;
    if (!(rowsKept >= 0 && rowsKept < 1) || rows < 1)
      return wrong() << "rows-kept is at least 0 and less than 1, and rows 1 "
                        "or more";
    auto found = beginStep(module, "factorize-experts", Stage::Factor, *layers);
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    if (!inputs.weights || (weighted && !inputs.profile))
      return wrong() << "weighted errors need a profile (--profile=FILE)";
    SymbolTable symbols(module);
    for (MoELayer &layer : *found) {
      auto moments = LayerMoments::of(layer, inputs, rows, weighted);
      if (failed(moments))
        return failure();
      for (auto [e, entry] : llvm::enumerate(layer.pool.getEntries())) {
        auto expert = dyn_cast<ExpertOp>(entry.getOperation());
        if (!expert)
          continue;
        auto slices =
            moments->addBanks(static_cast<int64_t>(e), expert, symbols);
        if (failed(slices))
          return failure();
        for (StringRef name : matrixNames(expert))
          if (failed(factor(layer, expert, name, slices->of(name), inputs,
                            symbols)))
            return failure();
      }
    }
    eraseUnusedBanks(module);
    return success();
  }

  LogicalResult factor(MoELayer &layer, ExpertOp expert, StringRef name,
                       SliceAttr moments, CompressInputs &inputs,
                       SymbolTable &symbols) {
    auto shape = shapeOf(expert, name, symbols);
    if (failed(shape))
      return failure();
    int64_t out = shape->front(), in = shape->back();
    int64_t kept = std::llround(rowsKept * static_cast<double>(out));
    int64_t own = rank;
    if (own == -1) {
      double numbers = ratio * static_cast<double>(out * in) -
                       static_cast<double>(kept * in);
      own = static_cast<int64_t>(numbers / static_cast<double>(out + in));
      if (own < 1)
        return emitLayerError(layer)
               << "expert '" << expert.getEntryName() << "': the share "
               << ratio << " of '" << name << "' (" << out << " x " << in
               << ") is too little for rank 1 and " << kept << " rows";
    }
    if (own > std::min(out, in))
      return emitLayerError(layer)
             << "expert '" << expert.getEntryName() << "': '" << name << "' is "
             << out << " x " << in << ", it has no rank " << own;
    auto slice = expert->getAttrOfType<SliceAttr>(name);
    FloatType type = plainType(slice, symbols);
    auto recipe = [&](StringRef part) {
      return LowRankAttr::get(&getContext(), slice, own,
                              StringAttr::get(&getContext(), part), moments);
    };
    std::string prefix =
        (layer.pool.getSymName() + "." + expert.getEntryName() + "." + name)
            .str();
    auto add = [&](StringRef suffix, Attribute made, int64_t rows,
                   int64_t columns) {
      return wholeOf(addBank(layer, symbols, prefix + suffix, made,
                             RankedTensorType::get({rows, columns}, type)));
    };
    SliceAttr left = add(".left", recipe("left"), out, own);
    SliceAttr right = add(".right", recipe("right"), own, in);
    SliceAttr rowBank, ids;
    if (kept > 0) {
      auto rest = evaluate(expert, recipe("rest"), *inputs.weights);
      if (failed(rest))
        return failure();
      SmallVector<int32_t> places = greatestRows(*rest, kept);
      SmallVector<int64_t> order(places.begin(), places.end());
      rowBank =
          add(".rows",
              PermuteAttr::get(&getContext(), recipe("rest"), 0,
                               DenseI64ArrayAttr::get(&getContext(), order)),
              kept, in);
      auto idType =
          RankedTensorType::get({kept}, IntegerType::get(&getContext(), 32));
      ids = wholeOf(addBank(
          layer, symbols, prefix + ".row_ids",
          DenseElementsAttr::get(idType, ArrayRef<int32_t>(places)), idType));
    }
    expert->setAttr(name, FactoredAttr::get(&getContext(), SliceAttr(), left,
                                            right, FloatAttr(), rowBank, ids));
    return success();
  }

  /// Rows of the greatest norm, in rising order.
  static SmallVector<int32_t> greatestRows(const Numbers &numbers,
                                           int64_t count) {
    std::vector<std::pair<double, int32_t>> order;
    for (int64_t r = 0; r < numbers.rows; ++r) {
      double square = 0;
      for (int64_t c = 0; c < numbers.columns; ++c)
        square += numbers.at(r, c) * numbers.at(r, c);
      order.push_back({-square, static_cast<int32_t>(r)});
    }
    llvm::sort(order);
    SmallVector<int32_t> rows;
    for (int64_t i = 0; i < count; ++i)
      rows.push_back(order[i].second);
    llvm::sort(rows);
    return rows;
  }
};
} // namespace
