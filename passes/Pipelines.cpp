#include "passes/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Convert/Passes.h"
#include "passes/MoE/Passes.h"
#include "passes/Raise/Passes.h"

using namespace mlir;

void moe::buildRaisePipeline(OpPassManager &pm,
                             const PipelineOptions &options) {
  pm.addPass(createCSEPass());
  if (options.raise) {
    pm.addPass(createRaiseExpertsPass());
    pm.addPass(createRaiseProjectionsPass());
  }
  pm.addPass(createConvertOnnxToLinalgPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void moe::buildOptimizePipeline(OpPassManager &pm,
                                const PipelineOptions &options) {
  pm.addPass(createCSEPass());
}

void moe::buildLowerMoEPipeline(OpPassManager &pm,
                                const PipelineOptions &options) {
  // No kernel reads quantised weights yet.
  pm.addPass(createDequantizeExpertsPass());
  pm.addPass(createConvertMoEToMoERTPass());
  // Both roads take the plain loops until kernels are generated.
  pm.addNestedPass<func::FuncOp>(createConvertMoERTToLinalgPass());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void moe::buildKernelsPipeline(OpPassManager &pm,
                               const PipelineOptions &options) {}
