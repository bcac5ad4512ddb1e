#ifndef MOE_CODEGEN_CUDA_DEVICEBRANCH_H
#define MOE_CODEGEN_CUDA_DEVICEBRANCH_H

#include "codegen/CUDA/DeviceTables.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace moe::cuda {
/// Where an op stands: in the body for runs with a device, in the other one, or
/// in code that both run.
enum class BranchKind { Device, Processor, Both };
BranchKind branchOf(mlir::Operation *op);

/// How many ops that compute run where.
struct BranchFacts {
  int64_t onDevice = 0, onProcessor = 0;
};

/// Gives `function`, of one block, a second body for runs with a device: what
/// has kernels is launched, on memory of the device, and only what the
/// processor reads or writes, too, is copied. Nothing where no layer has
/// kernels.
std::optional<BranchFacts> addDeviceBranch(mlir::func::FuncOp function,
                                           DeviceTables &tables);

/// Has a layer of experts inside a loop or branch tried on the device, with
/// copies around it; false where it has no kernels.
bool offload(moert::ExpertFfnOp op, DeviceTables &tables, llvm::StringRef &why);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_DEVICEBRANCH_H
