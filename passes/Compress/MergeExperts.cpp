#include "mlir/IR/Remarks.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/ProfileColumns.h"
#include "passes/Compress/Scores.h"
#include "passes/Compress/Shares.h"
#include "passes/Compress/Similarity.h"
#include <cmath>
#include <numeric>

namespace moe {
#define GEN_PASS_DEF_MERGEEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// A group, its first member leading, with the weights of the mean.
struct Merge {
  std::vector<int64_t> members;
  std::vector<double> weights;
};

struct MergeExpertsPass : moe::impl::MergeExpertsPassBase<MergeExpertsPass> {
  using MergeExpertsPassBase::MergeExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] { return emitError(module.getLoc(), "merge-experts: "); };
    bool dek = method == "dek";
    if (!dek && method != "m-smoe")
      return wrong() << "method is m-smoe or dek, not '" << method << "'";
    if (budget != "layer" && budget != "global")
      return wrong() << "budget is layer or global, not '" << budget << "'";
    if (dek && budget == "global")
      return wrong() << "only m-smoe spends a global budget";
    if (rowBias && !dek)
      return wrong() << "only dek merges rows of the router, so that they "
                        "could have a bias";
    if (rows < 2)
      return wrong() << "rows is 2 or more, not " << rows.getValue();
    std::string kind = similarity.empty() ? dek ? "outputs" : "router-logits"
                                          : similarity.getValue();
    auto found = beginStep(module, "merge-experts", Stage::Merge, *layers);
    if (failed(found))
      return failure();
    auto counts = keptCounts("merge-experts", *found, keep, ratio);
    if (failed(counts))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    if (!inputs.weights)
      return wrong() << "there are no weights to look at";
    std::vector<std::vector<double>> use;
    for (MoELayer &layer : *found) {
      if (failed(checkEntries(layer)))
        return failure();
      if (dek)
        continue;
      auto own = scoreExperts(layer, "frequency", inputs.profile,
                              *inputs.weights, rows);
      if (failed(*own))
        return failure();
      use.push_back(std::move(**own));
    }
    if (budget == "global") {
      int64_t average =
          std::llround(static_cast<double>(std::accumulate(
                           counts->begin(), counts->end(), int64_t(0))) /
                       static_cast<double>(counts->size()));
      *counts = spendGroups(use, average);
    }
    // All groups and means first: nothing has changed where one fails.
    std::vector<std::vector<Merge>> merges;
    for (auto [l, layer] : llvm::enumerate(*found)) {
      auto alike =
          similarityOf(layer, kind, inputs.profile, *inputs.weights, rows);
      if (!alike)
        return wrong() << "similarity is router-logits, outputs or weights, "
                          "not '"
                       << kind << "'";
      if (failed(*alike))
        return failure();
      Groups groups = dek ? groupByLinkage(**alike, (*counts)[l])
                          : groupByLeaders(use[l], **alike, (*counts)[l]);
      merges.emplace_back();
      for (auto &group : groups)
        merges.back().push_back(
            {group, meanWeights(group, dek ? ArrayRef<double>()
                                           : ArrayRef<double>(use[l]))});
    }
    SymbolTable symbols(module);
    for (auto [layer, own] : llvm::zip(*found, merges)) {
      if (dek && failed(checkColumns(layer, columnsOf(own), symbols)))
        return failure();
      if (rowBias && layer.router.getBias())
        return emitLayerError(layer)
               << "its router has a bias, to which row-bias cannot add";
    }
    std::vector<std::vector<Mean>> means;
    for (auto [layer, own] : llvm::zip(*found, merges)) {
      means.emplace_back();
      for (const Merge &merge : own) {
        if (merge.members.size() < 2)
          continue;
        auto made = meanOf(layer, merge, inputs, symbols);
        if (failed(made))
          return failure();
        means.back().push_back(std::move(*made));
      }
    }
    for (auto [each, own, made] : llvm::zip(*found, merges, means)) {
      MoELayer &layer = each;
      for (Mean &mean : made)
        store(layer, mean, symbols);
      if (failed(dek ? mergeRows(layer, own, symbols) : alias(layer, own)))
        return failure();
      remark::passed(layer.apply->getLoc(),
                     remark::RemarkOpts::name("merge").category("moe-compress"))
          << ("merged the experts of " + layer.name)
          << remark::metric("groups", static_cast<int64_t>(own.size()));
    }
    eraseUnusedBanks(module);
    return success();
  }

  /// Means are taken of experts that compute the same function of one shape.
  static LogicalResult checkEntries(const MoELayer &layer) {
    PoolOp pool = layer.pool;
    ExpertOp first;
    for (ExpertOpInterface entry : pool.getEntries()) {
      auto expert = dyn_cast<ExpertOp>(entry.getOperation());
      if (!expert)
        return emitLayerError(layer)
               << "entry '" << entry.getEntryName()
               << "' is no expert of matrices, so it cannot be merged";
      if (!first)
        first = expert;
      if (expert.getKind() != first.getKind() ||
          expert.getActivation() != first.getActivation() ||
          expert.getAlpha() != first.getAlpha() ||
          expert.getBeta() != first.getBeta() ||
          expert.getLimit() != first.getLimit() ||
          expert.getOutputScale() != first.getOutputScale() ||
          bool(expert.getUpBias()) != bool(first.getUpBias()) ||
          bool(expert.getGateBias()) != bool(first.getGateBias()) ||
          bool(expert.getDownBias()) != bool(first.getDownBias()))
        return emitLayerError(layer)
               << "experts '" << first.getEntryName() << "' and '"
               << expert.getEntryName()
               << "' compute different functions, so a mean means nothing";
    }
    return success();
  }

  static std::vector<double> meanWeights(ArrayRef<int64_t> group,
                                         ArrayRef<double> use) {
    double sum = 0;
    if (!use.empty())
      for (int64_t e : group)
        sum += use[e];
    std::vector<double> weights;
    for (int64_t e : group)
      weights.push_back(sum > 0 ? use[e] / sum
                                : 1.0 / static_cast<double>(group.size()));
    return weights;
  }

  /// What the group's first member becomes.
  struct Mean {
    ExpertOp leader;
    struct Part {
      StringRef name;
      Attribute recipe;
      SmallVector<int64_t, 2> shape;
    };
    SmallVector<Part> parts;
  };

  /// The recipes name what the members are, so all are made before any is
  /// stored.
  FailureOr<Mean> meanOf(const MoELayer &layer, const Merge &merge,
                         CompressInputs &inputs, const SymbolTable &symbols) {
    Builder builder(&getContext());
    PoolOp pool = layer.pool;
    auto entries = pool.getEntries();
    SmallVector<ExpertOp> experts;
    for (int64_t member : merge.members)
      experts.push_back(cast<ExpertOp>(entries[member].getOperation()));
    SmallVector<DenseI64ArrayAttr> orders(experts.size());
    if (align) {
      auto found = alignedOrders(
          layer, experts[0], ArrayRef(experts).drop_front(), *inputs.weights);
      if (failed(found))
        return failure();
      for (auto [i, order] : llvm::enumerate(*found))
        orders[i + 1] = builder.getDenseI64ArrayAttr(order);
    }
    Mean mean{experts[0], {}};
    SmallVector<StringRef> names = matrixNames(experts[0]);
    for (StringRef name : {"gate_bias", "up_bias", "down_bias"})
      if (experts[0]->getAttr(name))
        names.push_back(name);
    for (StringRef name : names) {
      auto shape = shapeOf(layer, experts[0], name, symbols);
      if (failed(shape))
        return failure();
      SmallVector<Attribute> sources;
      for (auto [expert, order] : llvm::zip(experts, orders)) {
        auto own = shapeOf(layer, expert, name, symbols);
        if (failed(own))
          return failure();
        if (*own != *shape)
          return emitLayerError(layer)
                 << "experts '" << experts[0].getEntryName() << "' and '"
                 << expert.getEntryName() << "' have different widths";
        Attribute source = expert->getAttr(name);
        // Hidden units are rows, but columns of down.
        if (order && name != "down_bias")
          source =
              PermuteAttr::get(&getContext(), source, name == "down", order);
        sources.push_back(source);
      }
      auto recipe = MixAttr::get(&getContext(), builder.getArrayAttr(sources),
                                 builder.getF64ArrayAttr(merge.weights));
      mean.parts.push_back({name, recipe, *shape});
    }
    return mean;
  }

  static void store(MoELayer &layer, Mean &mean, SymbolTable &symbols) {
    mean.leader.removeNOfMAttr(); // zeros of others lie elsewhere
    for (Mean::Part &part : mean.parts)
      replaceMatrix(layer, mean.leader, part.name, part.recipe, part.shape,
                    symbols);
  }

  /// The mean takes the place of the lowest member; the others name it.
  LogicalResult alias(MoELayer &layer, ArrayRef<Merge> merges) {
    auto entries = layer.pool.getEntries();
    for (const Merge &merge : merges) {
      if (merge.members.size() == 1)
        continue;
      int64_t lowest =
          *std::min_element(merge.members.begin(), merge.members.end());
      std::string target = entries[lowest].getEntryName().str();
      auto leader = cast<ExpertOp>(entries[merge.members[0]].getOperation());
      std::string leaderName = leader.getEntryName().str();
      for (int64_t member : merge.members) {
        if (member == lowest)
          continue;
        OpBuilder builder(entries[member]);
        std::string name = entries[member].getEntryName().str();
        AliasOp::create(builder, entries[member].getLoc(), name, target);
      }
      // The leader moves to the lowest place, under its name.
      if (lowest != merge.members[0]) {
        leader->moveBefore(entries[lowest]);
        leader.setEntryName(target);
      }
      for (int64_t member : merge.members)
        if (member != merge.members[0])
          entries[member]->erase();
    }
    return success();
  }

  /// One entry and one column per group.
  LogicalResult mergeRows(MoELayer &layer, ArrayRef<Merge> merges,
                          SymbolTable &symbols) {
    SmallVector<MixedColumn> columns = columnsOf(merges);
    auto behind = ProfileColumns::of(layer);
    if (failed(behind) || failed(mixColumns(layer, columns, symbols)))
      return failure();
    if (rowBias)
      addRowBias(layer, merges, symbols);
    auto entries = layer.pool.getEntries();
    Block &body = layer.pool.getBody().front();
    for (const Merge &merge : merges) {
      entries[merge.members[0]]->moveBefore(&body, body.end());
      for (size_t i = 1; i < merge.members.size(); ++i)
        entries[merge.members[i]]->erase();
    }
    behind->change(layer, columns);
    return success();
  }

  static SmallVector<MixedColumn> columnsOf(ArrayRef<Merge> merges) {
    SmallVector<MixedColumn> columns;
    for (const Merge &merge : merges) {
      MixedColumn column;
      for (auto [member, weight] : llvm::zip(merge.members, merge.weights))
        column.push_back({member, weight});
      columns.push_back(std::move(column));
    }
    return columns;
  }

  /// Logits of groups rise by the logarithm of their size, so that members
  /// with equal rows keep their share of a softmax.
  static void addRowBias(MoELayer &layer, ArrayRef<Merge> merges,
                         SymbolTable &symbols) {
    std::vector<double> numbers;
    for (const Merge &merge : merges)
      numbers.push_back(std::log(static_cast<double>(merge.members.size())));
    BankOp bank = addNumbers(layer, symbols,
                             layer.pool.getSymName() + ".row_bias", numbers);
    OpBuilder builder(layer.router);
    layer.router.getBiasMutable().assign(
        WeightOp::create(builder, layer.router.getLoc(), bank.getTensorType(),
                         FlatSymbolRefAttr::get(bank.getSymNameAttr())));
  }
};
} // namespace
