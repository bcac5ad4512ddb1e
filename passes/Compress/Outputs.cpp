#include "passes/Compress/Outputs.h"

#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/Compress/Layers.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace moe;

void moe::eraseDeadCode(ModuleOp module) {
  // Users stand behind what they use, so one walk backwards is enough.
  for (auto function : module.getOps<func::FuncOp>())
    function.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
      if (isOpTriviallyDead(op))
        op->erase();
    });
  llvm::DenseSet<StringAttr> used;
  module.walk([&](Operation *op) {
    op->getAttrDictionary().walk([&](FlatSymbolRefAttr reference) {
      used.insert(reference.getRootReference());
    });
  });
  for (PoolOp pool : llvm::make_early_inc_range(module.getOps<PoolOp>()))
    if (!used.contains(pool.getSymNameAttr()))
      pool.erase();
  eraseUnusedBanks(module);
}

void moe::eraseOutputs(func::FuncOp function, const llvm::BitVector &results) {
  Operation *end = function.getBody().front().getTerminator();
  llvm::BitVector unread(function.getNumArguments());
  for (BlockArgument argument : function.getArguments())
    if (argument.use_empty())
      unread.set(argument.getArgNumber());
  end->eraseOperands(results);
  (void)function.eraseResults(results);
  eraseDeadCode(function->getParentOfType<ModuleOp>());
  llvm::BitVector arguments(function.getNumArguments());
  for (BlockArgument argument : function.getArguments())
    if (argument.use_empty() && !unread.test(argument.getArgNumber()))
      arguments.set(argument.getArgNumber());
  (void)function.eraseArguments(arguments);
}
