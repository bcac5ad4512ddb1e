#include "passes/Compress/Layers.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"

namespace moe {
#define GEN_PASS_DEF_REDUCETOPKPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct ReduceTopKPass : moe::impl::ReduceTopKPassBase<ReduceTopKPass> {
  using ReduceTopKPassBase::ReduceTopKPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    if (k < 1)
      return emitError(module.getLoc(), "reduce-top-k: k is 1 or more, not ")
             << k.getValue();
    auto found = beginStep(module, "reduce-top-k", Stage::Trim, *layers);
    if (failed(found))
      return failure();
    for (MoELayer &layer : *found) {
      int64_t now = *layer.gate.getTopK();
      if (k > now)
        return emitLayerError(layer) << "chooses " << now
                                     << " experts, which reduce-top-k cannot "
                                        "make "
                                     << k.getValue();
      if (layer.gate.getK() || layer.gate.getSparseMixer())
        return emitLayerError(layer)
               << "its number of experts is not the gate's to change";
      if (failed(checkChoiceUnread(layer)))
        return failure();
    }
    for (MoELayer &layer : *found)
      setTopK(layer, k);
    return success();
  }
};
} // namespace
