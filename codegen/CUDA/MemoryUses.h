#ifndef MOE_CODEGEN_CUDA_MEMORYUSES_H
#define MOE_CODEGEN_CUDA_MEMORYUSES_H

#include "mlir/IR/Value.h"

namespace moe::cuda {
/// The memory that a view is of, or null where `op` makes no view.
mlir::Value viewedBy(mlir::Operation *op);
/// What `memory` is a view of, in the end.
mlir::Value rootOf(mlir::Value memory);
/// Whether it is a view of all of that.
bool isWhole(mlir::Value memory);

/// Memory that `op` touches, with what its regions capture.
llvm::SmallVector<mlir::Value> memoriesOf(mlir::Operation *op);
/// Whether `op` may write to `memory`.
bool writes(mlir::Operation *op, mlir::Value memory);
/// Whether `op` writes all of what `memory` is a view of, and reads nothing of
/// it.
bool overwrites(mlir::Operation *op, mlir::Value memory);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_MEMORYUSES_H
