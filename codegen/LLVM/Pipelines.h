#ifndef MOE_CODEGEN_LLVM_PIPELINES_H
#define MOE_CODEGEN_LLVM_PIPELINES_H

namespace mlir {
class DialectRegistry;
class OpPassManager;
} // namespace mlir

namespace moe {
/// Interface implementations that the pipelines below need.
void registerCodegenInterfaces(mlir::DialectRegistry &registry);

/// Phase `optimized` (lowered to linalg and moert on tensors) to `bufferized`:
/// memrefs, freed after their last use, weights placed.
void buildBufferizePipeline(mlir::OpPassManager &pm);

/// Phase `bufferized` (no moert op but weight_ref left) to `llvm`.
void buildLLVMPipeline(mlir::OpPassManager &pm);
} // namespace moe

#endif // MOE_CODEGEN_LLVM_PIPELINES_H
