#include "passes/Compress/Layers.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Passes.h"

namespace moe {
#define GEN_PASS_DEF_FOLDLORAPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct FoldLoRAPass : moe::impl::FoldLoRAPassBase<FoldLoRAPass> {
  using FoldLoRAPassBase::FoldLoRAPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    auto found = collectLayers(module, *layers);
    if (failed(found))
      return failure();
    SymbolTable symbols(module);
    Builder builder(&getContext());
    for (MoELayer &layer : *found)
      for (ExpertOpInterface entry : layer.pool.getEntries()) {
        auto expert = dyn_cast<ExpertOp>(entry.getOperation());
        if (!expert)
          continue;
        for (StringRef name : matrixNames(expert)) {
          auto factored = expert->getAttrOfType<FactoredAttr>(name);
          if (!factored || !factored.getBase())
            continue;
          auto recipe =
              MixAttr::get(&getContext(), builder.getArrayAttr(factored),
                           builder.getF64ArrayAttr(1.0));
          // The base says shape and type of the sum.
          expert->setAttr(name, factored.getBase());
          auto shape = shapeOf(layer, expert, name, symbols);
          if (failed(shape))
            return failure();
          replaceMatrix(layer, expert, name, recipe, *shape, symbols);
        }
      }
    eraseUnusedBanks(module);
    return success();
  }
};
} // namespace
