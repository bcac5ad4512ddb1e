#include "codegen/CUDA/LaunchChoice.h"
#include "codegen/CUDA/MemoryUses.h"
#include "dialects/MoERT/MoERTOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
class Choice {
public:
  Choice(Block &block, DeviceTables &tables) : block(block), tables(tables) {}
  Launches make();

private:
  void choose(Operation *op);
  void chooseAroundKernels();
  void keepCachesWhole();

  Block &block;
  DeviceTables &tables;
  Launches launches;
};
} // namespace

/// The cache that `memory` is a view of, if it is one.
static Value cacheOf(Value memory) {
  Value root = rootOf(memory);
  return root.getDefiningOp<moert::CacheOp>() ? root : Value();
}

/// Memory that is all there is of it, and dense, so that it can be copied, or a
/// cache, which never is.
static bool isKnown(Value memory) {
  Value root = rootOf(memory);
  Operation *op = root.getDefiningOp();
  return cacheOf(memory) ||
         (cast<MemRefType>(root.getType()).getLayout().isIdentity() &&
          (!op ||
           isa<memref::AllocOp, memref::GetGlobalOp, moert::WeightRefOp>(op)));
}

void Choice::choose(Operation *op) {
  SmallVector<Value> memories = memoriesOf(op);
  if (!llvm::all_of(memories, isKnown))
    return;
  StringRef why;
  if (isa<moert::ExpertFfnOp, moert::GemmOp>(op)) {
    if (llvm::any_of(memories, cacheOf))
      return;
    std::optional<int64_t> layer;
    if (auto experts = dyn_cast<moert::ExpertFfnOp>(op))
      layer = tables.layerOf(experts, why);
    else
      layer = tables.layerOf(cast<moert::GemmOp>(op), why);
    if (layer)
      launches[op] = {layer, std::nullopt};
    return;
  }
  OpBuilder host(op);
  if (auto kernel = kernelOf(op, host, tables.kernels(), why))
    launches[op] = {std::nullopt, std::move(kernel)};
}

/// Loops over what kernels touch are kernels, too; others, over shapes and
/// positions, are not worth a launch.
void Choice::chooseAroundKernels() {
  DenseSet<Value> roots;
  auto add = [&](Operation *op) {
    for (Value memory : memoriesOf(op))
      roots.insert(rootOf(memory));
  };
  SmallVector<Operation *> loops;
  for (Operation &op : block)
    if (isa<linalg::LinalgOp, memref::CopyOp>(op))
      loops.push_back(&op);
    else if (launches.contains(&op))
      add(&op);
  bool changed = true;
  while (changed) {
    changed = false;
    for (Operation *&op : loops) {
      if (!op || llvm::none_of(memoriesOf(op), [&](Value memory) {
            return isa<FloatType>(
                       cast<MemRefType>(memory.getType()).getElementType()) &&
                   roots.contains(rootOf(memory));
          }))
        continue;
      choose(op);
      if (launches.contains(op)) {
        add(op);
        changed = true;
      }
      op = nullptr;
    }
  }
}

/// Whether `op` hands a cache out as it is.
static bool handsOut(Operation *op, Value memory) {
  auto cast = memory.getDefiningOp<memref::CastOp>();
  return op->hasTrait<OpTrait::IsTerminator>() && cast &&
         cast.getSource().getDefiningOp<moert::CacheOp>();
}

/// A cache that the processor touches, too, is the processor's, and so is all
/// that touches it.
void Choice::keepCachesWhole() {
  DenseSet<Value> onHost;
  bool changed = true;
  while (changed) {
    changed = false;
    for (Operation &op : block)
      for (Value memory : memoriesOf(&op)) {
        Value cache = cacheOf(memory);
        if (!cache || handsOut(&op, memory))
          continue;
        if (!launches.contains(&op))
          changed |= onHost.insert(cache).second;
        else if (onHost.contains(cache))
          changed |= launches.erase(&op) > 0;
      }
  }
}

Launches Choice::make() {
  SmallVector<Operation *> ops;
  for (Operation &op : block)
    if (op.getName().getDialectNamespace() == "moert" &&
        isa<DestinationStyleOpInterface>(op))
      ops.push_back(&op);
  for (Operation *op : ops)
    choose(op);
  chooseAroundKernels();
  keepCachesWhole();
  return std::move(launches);
}

Launches moe::cuda::chooseLaunches(Block &block, DeviceTables &tables) {
  return Choice(block, tables).make();
}
