#include "passes/Compress/Layers.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/ProfileColumns.h"

namespace moe {
#define GEN_PASS_DEF_ADDNULLEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct AddNullExpertsPass
    : moe::impl::AddNullExpertsPassBase<AddNullExpertsPass> {
  using AddNullExpertsPassBase::AddNullExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto wrong = [&] {
      return emitError(module.getLoc(), "add-null-experts: ");
    };
    if (count < 1)
      return wrong() << "count is 1 or more, not " << count.getValue();
    if (kind != "zero" && kind != "copy")
      return wrong() << "kind is zero or copy, not '" << kind << "'";
    if (k != -1 && k < 1)
      return wrong() << "k is 1 or more, not " << k.getValue();
    auto found = beginStep(module, "add-null-experts", Stage::Trim, *layers);
    if (failed(found))
      return failure();
    for (MoELayer &layer : *found) {
      int64_t columns = layer.pool.getNumEntries() + count;
      if (k > columns)
        return emitLayerError(layer) << "has " << columns
                                     << " columns then, of which none can "
                                        "choose "
                                     << k.getValue();
      if (layer.gate.getGroups() || layer.gate.getSparseMixer() ||
          layer.gate.getK())
        return emitLayerError(layer)
               << "its gate knows groups, pairs or a number of experts at run "
                  "time, to which no column can be added";
      // Where copies that are there get no weight, new ones would not either.
      auto gives = [](ExpertOpInterface entry) {
        auto null = dyn_cast<NullExpertOp>(entry.getOperation());
        return null && null.getKind() != NullKind::Zero;
      };
      if (kind == "copy" && layer.gate.getNorm() == Norm::Real &&
          llvm::any_of(layer.pool.getEntries(), gives))
        return emitLayerError(layer)
               << "its gate gives null experts no weight, so that copies would "
                  "add nothing";
    }
    SymbolTable symbols(module);
    for (MoELayer &layer : *found)
      if (failed(checkColumns(layer, columnsOf(layer), symbols)))
        return failure();
    for (MoELayer &layer : *found) {
      auto behind = ProfileColumns::of(layer);
      if (failed(behind) ||
          failed(mixColumns(layer, columnsOf(layer), symbols)))
        return failure();
      OpBuilder builder(&getContext());
      builder.setInsertionPointToEnd(&layer.pool.getBody().front());
      for (int64_t i = 0; i < count; ++i) {
        std::string name = "null" + std::to_string(i);
        while (layer.pool.getEntry(name))
          name += "_";
        NullExpertOp::create(builder, layer.pool.getLoc(), name,
                             kind == "zero" ? NullKind::Zero : NullKind::Copy);
      }
      behind->add(layer, count);
      setNorm(layer);
      if (k != -1)
        setTopK(layer, k);
    }
    eraseUnusedBanks(module);
    return success();
  }

  /// Those of the experts, then repetitions of them.
  SmallVector<MixedColumn> columnsOf(const MoELayer &layer) {
    PoolOp pool = layer.pool;
    int64_t experts = pool.getNumEntries();
    SmallVector<MixedColumn> columns;
    for (int64_t c = 0; c < experts + count; ++c)
      columns.push_back({{c % experts, 1.0}});
    return columns;
  }

  /// Sums of weights leave out what gives nothing: a copy gives its token.
  void setNorm(MoELayer &layer) {
    if (kind == "copy" && layer.gate.getNorm() != Norm::None)
      layer.gate.setNorm(Norm::Nonzero);
    else if (layer.gate.getNorm() == Norm::Selected)
      layer.gate.setNorm(Norm::Real);
  }
};
} // namespace
