#ifndef MOE_CODEGEN_CUDA_LAUNCHCHOICE_H
#define MOE_CODEGEN_CUDA_LAUNCHCHOICE_H

#include "codegen/CUDA/DeviceTables.h"
#include "codegen/CUDA/OpKernels.h"
#include "llvm/ADT/MapVector.h"

namespace moe::cuda {
/// What is launched in place of an op: a layer, or a kernel of its own.
struct Launch {
  std::optional<int64_t> layer;
  std::optional<OpKernel> kernel;
};
using Launches = llvm::MapVector<mlir::Operation *, Launch>;

/// The ops of a block that run on the device: those of `moert` that have
/// kernels, and loops over what these touch. A cache is on one side, and so is
/// all that touches it.
Launches chooseLaunches(mlir::Block &block, DeviceTables &tables);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_LAUNCHCHOICE_H
