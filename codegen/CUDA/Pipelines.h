#ifndef MOE_CODEGEN_CUDA_PIPELINES_H
#define MOE_CODEGEN_CUDA_PIPELINES_H

namespace mlir {
class DialectRegistry;
class OpPassManager;
} // namespace mlir

namespace moe::cuda {
/// What the pipelines and the translation to LLVM IR need.
void registerInterfaces(mlir::DialectRegistry &registry);

/// `moegpu` kernels to LLVM's dialect: with NVVM for the GPU, or with calls for
/// the emulator.
void buildGpuPipeline(mlir::OpPassManager &pm);
void buildEmulatorPipeline(mlir::OpPassManager &pm);
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_PIPELINES_H
