#ifndef MOE_CODEGEN_CUDA_MEMORYVIEWS_H
#define MOE_CODEGEN_CUDA_MEMORYVIEWS_H

#include "mlir/IR/Value.h"

namespace moe::cuda {
/// The memory that a view is of, or null where `op` makes no view.
mlir::Value viewedBy(mlir::Operation *op);
/// What `memory` is a view of, in the end.
mlir::Value rootOf(mlir::Value memory);
/// Whether it is a view of all of that.
bool isWhole(mlir::Value memory);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_MEMORYVIEWS_H
