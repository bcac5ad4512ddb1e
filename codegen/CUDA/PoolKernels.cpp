// All kernels of the pools of a model.
#include "codegen/CUDA/DeviceCode.h"
#include "codegen/CUDA/LayerKernels.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "runtime/IRInterface.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

OwningOpRef<ModuleOp>
moe::cuda::poolKernels(MLIRContext *context, ArrayRef<Pool> pools,
                       StringRef architecture,
                       std::vector<std::vector<KernelFacts>> &facts) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(context));
  for (auto [number, pool] : llvm::enumerate(pools)) {
    const LayerShape &shape = pool.shape;
    std::string prefix = "moe_" + std::to_string(number) + "_";
    std::vector<KernelFacts> &own = facts.emplace_back();
    auto add = [&](const char *suffix, auto emit, int64_t mapRows = 0) {
      std::string name = prefix + suffix;
      emit(name);
      own.push_back(factsOf(module->lookupSymbol<moegpu::KernelOp>(name)));
      own.back().mapRows = static_cast<uint32_t>(mapRows);
    };
    auto plain = [&](auto emit) {
      return [&shape, &module, emit](StringRef name) {
        emit(*module, name, shape);
      };
    };
    auto ofExperts = [&](const char *suffix, auto emit, int64_t mapRows = 0) {
      if (pool.isMatrix)
        own.emplace_back();
      else
        add(suffix, emit, mapRows);
    };
    ofExperts("sort", [&](StringRef name) {
      emitSort(*module, name, shape, pool.entries);
    });
    add("round", plain(emitRound));
    ofExperts("decode_up", plain(emitDecodeUp));
    add("decode_down", plain(emitDecodeDown));
    bool hasUp = architecture == "sm_90a" && hasHopperUp(shape);
    bool hasDown = architecture == "sm_90a" && hasHopperDown(shape);
    if (hasUp)
      ofExperts("grouped_up", plain(emitHopperUp), kHopperBoxRows);
    else
      ofExperts("grouped_up", plain(emitGroupedUp));
    if (hasDown)
      add("grouped_down", plain(emitHopperDown), kHopperBoxRows);
    else
      add("grouped_down", plain(emitGroupedDown));
    ofExperts("combine", plain(emitCombine));
    // Others take those of many for some tokens, too.
    if (hasUp)
      ofExperts("some_up", plain(emitHopperSomeUp), kHopperBoxRows);
    else
      own.push_back(KernelFacts(own[MOERT_KERNEL_GROUPED_UP]));
    if (hasDown)
      add("some_down", plain(emitHopperSomeDown), kHopperBoxRows);
    else
      own.push_back(KernelFacts(own[MOERT_KERNEL_GROUPED_DOWN]));
    if (pool.isMatrix)
      add("finish", plain(emitFinish));
    else
      own.emplace_back();
  }
  return module;
}
