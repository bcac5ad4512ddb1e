#ifndef MOE_CODEGEN_CUDA_KERNELPARTS_H
#define MOE_CODEGEN_CUDA_KERNELPARTS_H

// What several kernels of a layer are made of.

#include "codegen/CUDA/CudaBuilder.h"
#include "codegen/CUDA/LayerShape.h"

namespace moe::cuda {
/// Element `index` of i32 numbers, as an index.
Num at32(CudaBuilder &k, Num base, Num index);

/// The activation of an expert, of f32.
Num activate(CudaBuilder &k, const LayerShape &shape, Num x);
/// The same of a gated one: of a value of the gate and one beside it.
Num activateGlu(CudaBuilder &k, const LayerShape &shape, Num gate, Num linear);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_KERNELPARTS_H
