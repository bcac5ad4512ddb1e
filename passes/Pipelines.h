#ifndef MOE_PASSES_PIPELINES_H
#define MOE_PASSES_PIPELINES_H

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace moe {

struct PipelineOptions {
  /// Plain loops for moe and moert ops instead of generated kernels.
  bool oracle = false;
  /// Compute all floats in f64.
  bool widen = false;
  /// Replace ONNX ops by moe and moert ops where a match is proved.
  bool raise = true;
  /// Observe layers for the profile; with `gram` also all pairs of features.
  bool instrument = false, gram = false;
  /// The target has 512-bit vectors: panels are 32 columns wide, else 16.
  bool avx512 = true;
};

/// MoE layers of phase `imported` to moe ops; other nodes stay ONNX. What
/// compresses a model, or writes it back, goes on from here.
void buildRaiseExpertsPipeline(mlir::OpPassManager &pm,
                               const PipelineOptions &options);
/// From there to phase `raised`.
void buildRaisePipeline(mlir::OpPassManager &pm,
                        const PipelineOptions &options);
/// Phase `raised` to `optimized`.
void buildOptimizePipeline(mlir::OpPassManager &pm,
                           const PipelineOptions &options);
/// What is left of moe (and, on the oracle road, moert) to what bufferizes.
void buildLowerMoEPipeline(mlir::OpPassManager &pm,
                           const PipelineOptions &options);
/// After bufferization: moert ops on memrefs to calls of generated kernels.
void buildKernelsPipeline(mlir::OpPassManager &pm,
                          const PipelineOptions &options);
} // namespace moe

#endif // MOE_PASSES_PIPELINES_H
