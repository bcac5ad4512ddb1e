#include "codegen/CUDA/MemoryUses.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

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

static bool isMemory(Value value) { return isa<MemRefType>(value.getType()); }

/// Whether `op` only asks for shapes and strides, or ends a life.
static bool touchesNothing(Operation *op) {
  return isa<memref::DimOp, memref::DeallocOp,
             memref::ExtractStridedMetadataOp>(op) ||
         viewedBy(op);
}

SmallVector<Value> moe::cuda::memoriesOf(Operation *op) {
  SmallVector<Value> memories;
  // What a reshape reads is the shape.
  if (auto reshape = dyn_cast<memref::ReshapeOp>(op))
    return {reshape.getShape()};
  if (touchesNothing(op))
    return memories;
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (isMemory(operand) &&
          !op->isProperAncestor(operand.getParentBlock()->getParentOp()) &&
          operand.getParentBlock()->getParentOp() != op)
        memories.push_back(operand);
  });
  return memories;
}

bool moe::cuda::writes(Operation *op, Value memory) {
  if (isa<memref::LoadOp, memref::ReshapeOp, scf::YieldOp, moert::WeightRefOp>(
          op))
    return false;
  if (auto copy = dyn_cast<memref::CopyOp>(op))
    return copy.getTarget() == memory;
  if (auto target = dyn_cast<DestinationStyleOpInterface>(op))
    return llvm::is_contained(target.getDpsInits(), memory);
  return true;
}

bool moe::cuda::overwrites(Operation *op, Value memory) {
  auto target = dyn_cast<DestinationStyleOpInterface>(op);
  if (!target || !llvm::is_contained(target.getDpsInits(), memory) ||
      !isWhole(memory))
    return false;
  if (llvm::count_if(memoriesOf(op), [&](Value other) {
        return rootOf(other) == rootOf(memory);
      }) != 1)
    return false;
  auto loop = dyn_cast<linalg::LinalgOp>(op);
  if (!loop)
    return op->getName().getDialectNamespace() == "moert";
  OpOperand *init = nullptr;
  for (OpOperand &operand : loop.getDpsInitsMutable())
    if (operand.get() == memory)
      init = &operand;
  return loop.getNumParallelLoops() == loop.getNumLoops() &&
         loop.getMatchingIndexingMap(init).isPermutation() &&
         !loop.payloadUsesValueFromOperand(init);
}
