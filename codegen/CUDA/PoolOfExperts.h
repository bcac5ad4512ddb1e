#ifndef MOE_CODEGEN_CUDA_POOLOFEXPERTS_H
#define MOE_CODEGEN_CUDA_POOLOFEXPERTS_H

#include "codegen/CUDA/PoolAttributes.h"
#include "dialects/MoERT/MoERTOps.h"

namespace moe::cuda {
/// The pool of a layer on memory whose kernels can compute it, or nothing with
/// the reason in `why`. `tf32`: see LayerShape.h.
std::optional<Pool> poolOf(moert::ExpertFfnOp op, bool tf32,
                           llvm::StringRef &why);

/// The same of one matrix, of whose rows the last dimension counts. `isExact`:
/// inputs are not rounded to the weights' type.
std::optional<Pool> poolOf(moert::GemmOp op, bool isExact, bool tf32,
                           llvm::StringRef &why);

/// The bank that a matrix or vector comes from; null where it is none.
moert::WeightRefOp bankOf(mlir::Value memory);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_POOLOFEXPERTS_H
