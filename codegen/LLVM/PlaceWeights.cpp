#include "codegen/LLVM/Passes.h"
#include "dialects/MoE/MoEOps.h"
#include "dialects/MoERT/MoERTOps.h"
#include "llvm/Support/MathExtras.h"

namespace moe {
#define GEN_PASS_DEF_PLACEWEIGHTSPASS
#include "codegen/LLVM/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
struct PlaceWeightsPass : moe::impl::PlaceWeightsPassBase<PlaceWeightsPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    Builder builder(module.getContext());
    for (BankOp bank : module.getOps<BankOp>())
      bank->removeAttr("moe.place");
    uint64_t size = 0;
    WalkResult walked = module.walk([&](moert::WeightRefOp ref) {
      auto bank = symbols.lookup<BankOp>(ref.getBank());
      if (!bank) {
        ref.emitOpError("reads ")
            << ref.getBankAttr() << ", which is not a moe.bank";
        return WalkResult::interrupt();
      }
      if (bank->hasAttr("moe.place"))
        return WalkResult::advance();
      RankedTensorType type = bank.getTensorType();
      unsigned bits = type.getElementTypeBitWidth();
      // Booleans take a byte each.
      uint64_t bytes = bits == 1
                           ? type.getNumElements()
                           : llvm::divideCeil(type.getNumElements() * bits, 8);
      size = llvm::alignTo(size, bytes >= (64 << 10) ? 4096 : 64);
      bank->setAttr("moe.place", builder.getI64IntegerAttr(size));
      size += bytes;
      return WalkResult::advance();
    });
    if (walked.wasInterrupted())
      return signalPassFailure();
    module->setAttr("moe.weights_size",
                    builder.getI64IntegerAttr(llvm::alignTo(size, 64)));
  }
};
} // namespace
