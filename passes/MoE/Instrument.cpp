#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "passes/Analysis/Residual.h"
#include "passes/MoE/Passes.h"

namespace moe {
#define GEN_PASS_DEF_INSTRUMENTPASS
#include "passes/MoE/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
constexpr remark::RemarkOpts instrument =
    remark::RemarkOpts::name("instrument").category("moe-instrument");

struct InstrumentPass : moe::impl::InstrumentPassBase<InstrumentPass> {
  using InstrumentPassBase::InstrumentPassBase;

  void runOnOperation() override {
    SmallVector<ApplyOp> layers;
    getOperation().walk([&](ApplyOp apply) { layers.push_back(apply); });
    if (layers.empty())
      getOperation().emitWarning("has no MoE layer to observe");
    SymbolTableCollection symbols;
    for (ApplyOp apply : layers)
      observe(apply, symbols);
  }

  /// Right behind the last of `values`, so that memory may be reused after it.
  static void add(Operation *after, Measure measure, StringRef name,
                  FlatSymbolRefAttr pool, std::optional<Score> score,
                  ValueRange values) {
    OpBuilder builder(after->getContext());
    builder.setInsertionPointAfter(after);
    ObserveOp::create(
        builder, after->getLoc(), measure, builder.getStringAttr(name), pool,
        score ? ScoreAttr::get(builder.getContext(), *score) : ScoreAttr(),
        values);
  }

  void observe(ApplyOp apply, SymbolTableCollection &symbols) {
    auto missed = [&](const Twine &what) {
      remark::missed(apply.getLoc(), instrument)
          << (what + " of " + apply.getLayer().value_or("a layer") +
              " cannot be observed")
                 .str();
    };
    auto gate = apply.getWeights().empty()
                    ? GateOp()
                    : apply.getWeights()[0].getDefiningOp<GateOp>();
    if (apply.getWeights().size() != 1 || apply.getTokens().size() != 1 ||
        apply.getOuts().size() != 1 || !gate)
      return missed("a layer of several gates, inputs or results, or the gate");
    // The name under which the gate is counted.
    StringRef name = gate.getLayer().value_or("moe");
    FlatSymbolRefAttr pool = apply.getPoolAttr();
    PoolOp entries = PoolOp::lookup(apply, pool, symbols);
    if (gate.getSubset() || !entries ||
        gate.getNumColumns() != entries.getNumEntries())
      return missed("logits of a part of the pool");
    bool mixes = gate.getSparseMixer().has_value();
    Operation *router = gate.getLogits().getDefiningOp();
    add(router ? router : gate, Measure::Logits, name, {},
        mixes ? Score::Softmax : gate.getScore(), gate.getLogits());
    Value x = apply.getTokens()[0];
    if (gram)
      add(gate, Measure::InputGram, name, {}, {}, x);
    if (Value ids = gate.getIds()) {
      add(gate, Measure::Inputs, name, pool, {}, {x, ids});
      add(gate, Measure::Choice, name, pool, {}, {ids, gate.getWeights()});
    } else {
      missed("the choice of a dense gate");
    }
    add(apply, Measure::Outputs, name, {}, {}, apply.getResult(0));
    std::optional<ResidualBlock> place = findResidual(apply);
    if (!place)
      return missed("the residual stream");
    add(place->add, Measure::SublayerCosine, name, {}, {},
        {place->before, place->after});
    if (place->branchAdd)
      add(place->add, Measure::BlockCosine, name, {}, {},
          {place->blockBefore, place->after});
    else
      missed("the block");
  }
};
} // namespace
