#include "passes/Compress/Inputs.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Order.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Similarity.h"

namespace moe {
#define GEN_PASS_DEF_ALIGNEXPERTSPASS
#include "passes/Compress/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct AlignExpertsPass : moe::impl::AlignExpertsPassBase<AlignExpertsPass> {
  using AlignExpertsPassBase::AlignExpertsPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    if (failed(enterStage(module, "align-experts", Stage::Merge)))
      return failure();
    auto found =
        collectLayers(module, "moe-compress",
                      SmallVector<int64_t>(layers.begin(), layers.end()));
    if (failed(found))
      return failure();
    CompressInputs &inputs = CompressInputs::of(&getContext());
    if (!inputs.weights)
      return emitError(module.getLoc(),
                       "align-experts: there are no weights to look at");
    SymbolTable symbols(module);
    for (MoELayer &layer : *found) {
      ExpertOp reference;
      for (ExpertOpInterface entry : layer.pool.getEntries()) {
        auto expert = dyn_cast<ExpertOp>(entry.getOperation());
        if (!expert)
          continue;
        if (!reference) {
          reference = expert;
          continue;
        }
        auto order = alignedOrder(reference, expert, *inputs.weights);
        if (failed(order) ||
            failed(permuteHidden(layer, expert, *order, symbols)))
          return failure();
      }
    }
    eraseUnusedBanks(module);
    return success();
  }

  LogicalResult permuteHidden(MoELayer &layer, ExpertOp expert,
                              ArrayRef<int64_t> order, SymbolTable &symbols) {
    if (llvm::is_sorted(order))
      return success();
    auto attribute = DenseI64ArrayAttr::get(&getContext(), order);
    SmallVector<StringRef> names = matrixNames(expert);
    for (StringRef name : {"gate_bias", "up_bias"})
      if (expert->getAttr(name))
        names.push_back(name);
    for (StringRef name : names) {
      auto shape = shapeOf(expert, name, symbols);
      if (failed(shape))
        return failure();
      SmallVector<int64_t> sizes{shape->first};
      if (!name.ends_with("bias"))
        sizes.push_back(shape->second);
      replaceMatrix(layer, expert, name,
                    PermuteAttr::get(&getContext(), expert->getAttr(name),
                                     name == "down", attribute),
                    sizes, symbols);
    }
    return success();
  }
};
} // namespace
