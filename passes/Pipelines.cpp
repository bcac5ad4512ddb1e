#include "passes/Pipelines.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Convert/Passes.h"
#include "passes/Kernels/Passes.h"
#include "passes/MoE/Passes.h"
#include "passes/Raise/Passes.h"

using namespace mlir;

void moe::buildRaiseExpertsPipeline(OpPassManager &pm,
                                    const PipelineOptions &options) {
  if (options.raise)
    pm.addPass(createUnrollLoopsPass());
  pm.addPass(createCSEPass());
  if (options.raise)
    pm.addPass(createRaiseExpertsPass());
}

void moe::buildRaisePipeline(OpPassManager &pm,
                             const PipelineOptions &options) {
  if (options.instrument) {
    InstrumentPassOptions measures;
    measures.gram = options.gram;
    pm.addPass(createInstrumentPass(measures));
  }
  if (options.raise) {
    pm.addPass(createRaiseShapesPass());
    pm.addPass(createRaiseNormsPass());
    pm.addPass(createRaiseRotaryPass());
    pm.addPass(createRaiseRowsPass());
    pm.addPass(createRaiseAttentionPass());
    pm.addPass(createRaiseProjectionsPass());
  }
  if (options.widen)
    pm.addPass(createWidenFloatsPass());
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
  ConvertMoEToMoERTPassOptions packing;
  packing.width = options.avx512 ? 32 : 16;
  DequantizeExpertsPassOptions plain;
  // Oracles know plain numbers alone.
  plain.keepCoded = options.oracle ? 0 : packing.width;
  pm.addPass(createExpandVariantsPass());
  pm.addPass(createDequantizeExpertsPass(plain));
  pm.addPass(createConvertMoEToMoERTPass(packing));
  ConvertMoERTToLinalgPassOptions loops;
  loops.keepKernels = !options.oracle;
  loops.avx512 = options.avx512;
  pm.addNestedPass<func::FuncOp>(createConvertMoERTToLinalgPass(loops));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void moe::buildKernelsPipeline(OpPassManager &pm,
                               const PipelineOptions &options) {
  ConvertMoERTToKernelsPassOptions kernels;
  kernels.avx512 = options.avx512;
  pm.addPass(createConvertMoERTToKernelsPass(kernels));
}
