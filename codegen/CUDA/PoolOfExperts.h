#ifndef MOE_CODEGEN_CUDA_POOLOFEXPERTS_H
#define MOE_CODEGEN_CUDA_POOLOFEXPERTS_H

#include "codegen/CUDA/PoolAttributes.h"
#include "dialects/MoERT/MoERTOps.h"

namespace moe::cuda {
/// What kernels may round that they otherwise would not.
struct MayRound {
  /// See LayerShape.h.
  bool tf32 = false;
  /// Inputs and hidden values of fp8 matrices, to fp8 (RowCoding::F8ByF8).
  bool fp8Inputs = false;
};

/// The pool of a layer on memory whose kernels can compute it, or nothing with
/// the reason in `why`.
std::optional<Pool> poolOf(moert::ExpertFfnOp op, MayRound mayRound,
                           llvm::StringRef &why);

/// The same of one matrix, of whose rows the last dimension counts. `isExact`:
/// inputs are not rounded to the weights' type.
std::optional<Pool> poolOf(moert::GemmOp op, bool isExact, bool tf32,
                           llvm::StringRef &why);

/// The bank that a matrix or vector comes from; null where it is none.
moert::WeightRefOp bankOf(mlir::Value memory);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_POOLOFEXPERTS_H
