#include "passes/Analysis/ModelFingerprint.h"

#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/OperationSupport.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"

using namespace mlir;
using namespace moe;

FailureOr<std::string> moe::modelFingerprint(ModuleOp module,
                                             WeightSource &weights) {
  constexpr size_t prefix = 4096;
  llvm::SHA256 hash;
  // Every part with its length, so that parts cannot be moved into each other.
  auto add = [&](StringRef part) {
    hash.update(std::to_string(part.size()));
    hash.update(":");
    hash.update(part);
  };
  auto addText = [&](auto printable) {
    std::string text;
    llvm::raw_string_ostream(text) << printable;
    add(text);
  };
  for (BankOp bank : module.getOps<BankOp>()) {
    add(bank.getSymName());
    addText(bank.getTensorType());
    // Recipes are made of other banks; what cannot be read is refused where
    // something needs it.
    bool isMade = bank.getRecipe() && !isa<ElementsAttr>(*bank.getRecipe());
    if (isMade || (!bank.getRecipe() && !bank.getOffset())) {
      addText(bank->getAttrDictionary());
      continue;
    }
    auto bytes = weights.bytes(bank);
    if (failed(bytes))
      return failure();
    add(std::to_string(bytes->size()));
    add(bytes->take_front(prefix));
    weights.release(*bytes);
  }
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<PoolOp>(op)) {
      add(cast<PoolOp>(op).getSymName());
      return;
    }
    if (!isa<ExpertOpInterface>(op) && !isa<RouterOp, GateOp, ApplyOp>(op))
      return;
    add(op->getName().getStringRef());
    addText(op->getAttrDictionary());
    for (Value value : op->getOperands())
      addText(value.getType());
  });
  auto digest = hash.final();
  return llvm::toHex(ArrayRef<uint8_t>(digest), /*LowerCase=*/true);
}
