#include "passes/Compress/Layers.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"

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
    }
    SymbolTable symbols(module);
    for (MoELayer &layer : *found) {
      int64_t experts = layer.pool.getNumEntries();
      SmallVector<MixedColumn> columns;
      for (int64_t c = 0; c < experts + count; ++c)
        columns.push_back({{c % experts, 1.0}});
      if (failed(mixColumns(layer, columns, symbols)))
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
      if (layer.gate.getNorm() == Norm::Selected)
        layer.gate.setNorm(Norm::Real);
      if (k != -1)
        setTopK(layer, k);
    }
    eraseUnusedBanks(module);
    return success();
  }
};
} // namespace
