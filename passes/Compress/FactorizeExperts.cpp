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
    if (!(rowsKept >= 0 && rowsKept < 1) || rows < 1 || multiple < 1)
      return wrong() << "rows-kept is at least 0 and less than 1, and rows and "
                        "multiple 1 or more";
    if (!(power >= 0 && power <= 1))
      return wrong() << "power is between 0 and 1, not " << power;
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
            moments->addBanks(static_cast<int64_t>(e), expert, symbols, power);
        if (failed(slices))
          return failure();
        expert.removeNOfMAttr();
        bool together = joint && expert.isGlu() && rowsKept == 0;
        if (together &&
            failed(factorBoth(layer, expert, slices->input, symbols)))
          return failure();
        for (StringRef name : matrixNames(expert))
          if (!(together && name != "down") &&
              failed(factor(layer, expert, name, slices->of(name), inputs,
                            symbols)))
            return failure();
      }
    }
    eraseUnusedBanks(module);
    return success();
  }

  /// The rank of a matrix beside `kept` of its rows.
  FailureOr<int64_t> rankOf(MoELayer &layer, ExpertOp expert, StringRef name,
                            int64_t out, int64_t in, int64_t kept) {
    auto refuse = [&] {
      return emitLayerError(layer)
             << "expert '" << expert.getEntryName() << "': ";
    };
    int64_t own = rank;
    if (own == -1) {
      double numbers = ratio * static_cast<double>(out * in) -
                       static_cast<double>(kept * in);
      own = static_cast<int64_t>(numbers / static_cast<double>(out + in));
      own -= std::max<int64_t>(own, 0) % multiple;
      if (own < 1)
        return refuse() << "the share " << ratio << " of '" << name << "' ("
                        << out << " x " << in << ") is too little for rank "
                        << multiple.getValue() << " and " << kept << " rows";
    }
    if (own > std::min(out, in))
      return refuse() << "'" << name << "' is " << out << " x " << in
                      << ", it has no rank " << own;
    return own;
  }

  LowRankAttr recipeOf(Attribute source, int64_t rank, StringRef part,
                       SliceAttr moments) {
    return LowRankAttr::get(&getContext(), source, rank,
                            StringAttr::get(&getContext(), part), moments);
  }

  /// Gate and up, one below the other, as two factors times one.
  LogicalResult factorBoth(MoELayer &layer, ExpertOp expert, SliceAttr moments,
                           SymbolTable &symbols) {
    auto gateShape = shapeOf(layer, expert, "gate", symbols);
    auto upShape = shapeOf(layer, expert, "up", symbols);
    if (failed(gateShape) || failed(upShape))
      return failure();
    int64_t hidden = upShape->front(), in = upShape->back();
    auto own = rankOf(layer, expert, "gate and up", 2 * hidden, in, 0);
    if (failed(own))
      return failure();
    auto gate = expert->getAttrOfType<SliceAttr>("gate");
    FloatType type = plainType(gate, symbols);
    Builder builder(&getContext());
    auto both = StackAttr::get(
        &getContext(), builder.getArrayAttr({gate, expert->getAttr("up")}));
    std::string prefix =
        (layer.pool.getSymName() + "." + expert.getEntryName()).str();
    BankOp left = addBank(layer, symbols, prefix + ".gate_up.left",
                          recipeOf(both, *own, "left", moments),
                          RankedTensorType::get({2, hidden, *own}, type));
    SliceAttr right = wholeOf(addBank(layer, symbols, prefix + ".gate_up.right",
                                      recipeOf(both, *own, "right", moments),
                                      RankedTensorType::get({*own, in}, type)));
    for (int64_t i : {0, 1}) {
      auto half =
          SliceAttr::at(FlatSymbolRefAttr::get(left.getSymNameAttr()), i);
      expert->setAttr(i == 0 ? "gate" : "up",
                      FactoredAttr::get(&getContext(), SliceAttr(), half, right,
                                        FloatAttr(), SliceAttr(), SliceAttr()));
    }
    return success();
  }

  LogicalResult factor(MoELayer &layer, ExpertOp expert, StringRef name,
                       SliceAttr moments, CompressInputs &inputs,
                       SymbolTable &symbols) {
    auto shape = shapeOf(layer, expert, name, symbols);
    if (failed(shape))
      return failure();
    int64_t out = shape->front(), in = shape->back();
    int64_t kept = std::llround(rowsKept * static_cast<double>(out));
    auto own = rankOf(layer, expert, name, out, in, kept);
    if (failed(own))
      return failure();
    auto slice = expert->getAttrOfType<SliceAttr>(name);
    FloatType type = plainType(slice, symbols);
    auto recipe = [&](StringRef part) {
      return recipeOf(slice, *own, part, moments);
    };
    std::string prefix =
        (layer.pool.getSymName() + "." + expert.getEntryName() + "." + name)
            .str();
    auto add = [&](StringRef suffix, Attribute made, int64_t rows,
                   int64_t columns) {
      return wholeOf(addBank(layer, symbols, prefix + suffix, made,
                             RankedTensorType::get({rows, columns}, type)));
    };
    SliceAttr left = add(".left", recipe("left"), out, *own);
    SliceAttr right = add(".right", recipe("right"), *own, in);
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
