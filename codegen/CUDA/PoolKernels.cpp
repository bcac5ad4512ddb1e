// All kernels of the pools of a model.
#include "codegen/CUDA/DeviceCode.h"
#include "codegen/CUDA/LayerKernels.h"
#include "dialects/MoEGPU/MoEGPUOps.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

OwningOpRef<ModuleOp>
moe::cuda::poolKernels(MLIRContext *context, ArrayRef<Pool> pools,
                       std::vector<std::vector<KernelFacts>> &facts) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(context));
  for (auto [number, pool] : llvm::enumerate(pools)) {
    const LayerShape &shape = pool.shape;
    std::string prefix = "moe_" + std::to_string(number) + "_";
    std::vector<KernelFacts> &own = facts.emplace_back();
    auto add = [&](const char *suffix, auto emit) {
      std::string name = prefix + suffix;
      emit(name);
      own.push_back(factsOf(module->lookupSymbol<moegpu::KernelOp>(name)));
    };
    auto plain = [&](auto emit) {
      return [&shape, &module, emit](StringRef name) {
        emit(*module, name, shape);
      };
    };
    auto ofExperts = [&](const char *suffix, auto emit) {
      if (pool.isMatrix)
        own.emplace_back();
      else
        add(suffix, emit);
    };
    ofExperts("sort", [&](StringRef name) {
      emitSort(*module, name, shape, pool.entries);
    });
    add("round", plain(emitRound));
    ofExperts("decode_up", plain(emitDecodeUp));
    add("decode_down", plain(emitDecodeDown));
    ofExperts("grouped_up", plain(emitGroupedUp));
    add("grouped_down", plain(emitGroupedDown));
    ofExperts("combine", plain(emitCombine));
    if (pool.isMatrix)
      add("finish", plain(emitFinish));
    else
      own.emplace_back();
  }
  return module;
}
