#ifndef MOE_CODEGEN_CUDA_FUNCTIONS_H
#define MOE_CODEGEN_CUDA_FUNCTIONS_H

#include "codegen/CUDA/CudaBuilder.h"

// Functions that GPUs have no instruction for, or one that is less exact: of
// f32 numbers, right to a few units in the last place. NaN gives NaN.

namespace moe::cuda {
Num exp(CudaBuilder &k, Num x); ///< denormal results are 0
Num log(CudaBuilder &k, Num x);
Num tanh(CudaBuilder &k, Num x);
Num erf(CudaBuilder &k, Num x); ///< to 1.5e-7
Num sigmoid(CudaBuilder &k, Num x);
/// Cosine and sine of an f64 angle below 2^50, to 1e-12; infinity gives NaN.
std::pair<Num, Num> cosineAndSine(CudaBuilder &k, Num angle);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_FUNCTIONS_H
