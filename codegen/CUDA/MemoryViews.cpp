#include "codegen/CUDA/MemoryViews.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace moe;

Value moe::cuda::viewedBy(Operation *op) {
  if (isa<memref::CastOp, memref::CollapseShapeOp, memref::ExpandShapeOp,
          memref::ReinterpretCastOp, memref::ReshapeOp, memref::SubViewOp,
          memref::ViewOp>(op))
    return op->getOperand(0);
  return Value();
}

Value moe::cuda::rootOf(Value memory) {
  while (Operation *op = memory.getDefiningOp()) {
    Value source = viewedBy(op);
    if (!source)
      break;
    memory = source;
  }
  return memory;
}

bool moe::cuda::isWhole(Value memory) {
  while (Operation *op = memory.getDefiningOp()) {
    if (!viewedBy(op))
      break;
    if (!isa<memref::CastOp, memref::CollapseShapeOp, memref::ExpandShapeOp,
             memref::ReshapeOp>(op))
      return false;
    memory = viewedBy(op);
  }
  return true;
}
