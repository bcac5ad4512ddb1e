#include "codegen/LLVM/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace moe {
#define GEN_PASS_DEF_FREEBUFFERSPASS
#include "codegen/LLVM/Passes.h.inc"
} // namespace moe

using namespace mlir;

namespace {
/// The last op of `alloc`'s block that touches the buffer, or null when the
/// buffer leaves the block.
Operation *lastUse(memref::AllocOp alloc, BufferViewFlowAnalysis &views) {
  Block *block = alloc->getBlock();
  Operation *last = alloc;
  for (Value alias : views.resolve(alloc.getResult())) {
    // An alias made around the block (a loop's result) outlives it.
    if (alias.getParentBlock() != block &&
        !block->findAncestorOpInBlock(*alias.getParentBlock()->getParentOp()))
      return nullptr;
    for (Operation *user : alias.getUsers()) {
      Operation *here = block->findAncestorOpInBlock(*user);
      if (!here || here == block->getTerminator())
        return nullptr;
      if (last->isBeforeInBlock(here))
        last = here;
    }
  }
  return last;
}

struct FreeBuffersPass : moe::impl::FreeBuffersPassBase<FreeBuffersPass> {
  void runOnOperation() override {
    BufferViewFlowAnalysis views(getOperation());
    SmallVector<memref::AllocOp> allocs;
    getOperation().walk(
        [&](memref::AllocOp alloc) { allocs.push_back(alloc); });
    for (memref::AllocOp alloc : allocs)
      if (Operation *last = lastUse(alloc, views)) {
        OpBuilder builder(alloc.getContext());
        builder.setInsertionPointAfter(last);
        memref::DeallocOp::create(builder, alloc.getLoc(), alloc);
      }
  }
};
} // namespace
