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
    auto add = [&](const std::string &suffix, auto emit, int64_t mapRows = 0) {
      std::string name = prefix + suffix;
      emit(name);
      own.push_back(factsOf(module->lookupSymbol<moegpu::KernelOp>(name)));
      own.back().mapRows = static_cast<uint32_t>(mapRows);
    };
    const LayerShape up = shape.upProduct(), down = shape.downProduct();
    auto of = [&](const LayerShape &shape, auto emit) {
      return [&shape, &module, emit](StringRef name) {
        emit(*module, name, shape);
      };
    };
    bool isHopper = architecture == "sm_90a";
    auto emitUp = [isHopper](ModuleOp module, StringRef name,
                             const LayerShape &shape) {
      if (isHopper && hasHopperUp(shape))
        emitHopperUp(module, name, shape);
      else
        emitGroupedUp(module, name, shape);
    };
    auto emitDown = [isHopper](ModuleOp module, StringRef name,
                               const LayerShape &shape) {
      if (isHopper && hasHopperDown(shape))
        emitHopperDown(module, name, shape);
      else
        emitGroupedDown(module, name, shape);
    };
    // Codes come without a tensor map.
    auto rowsIf = [isHopper](bool hasHopper, bool isCoded) {
      return isHopper && hasHopper && !isCoded ? kHopperBoxRows : 0;
    };
    auto ofExperts = [&](const char *suffix, auto emit, int64_t mapRows = 0) {
      if (pool.isMatrix)
        own.emplace_back();
      else
        add(suffix, emit, mapRows);
    };
    ofExperts("prepare", [&](StringRef name) {
      emitPrepare(*module, name, shape, pool.entries);
    });
    if (pool.isMatrix)
      add("round", of(shape, emitRound));
    else
      own.emplace_back();
    ofExperts("decode_up", of(up, emitDecodeUp));
    add("decode_down", of(down, emitDecodeDown));
    ofExperts("grouped_up", of(up, emitUp),
              rowsIf(hasHopperUp(up), up.upCoded.has_value()));
    add("grouped_down", of(down, emitDown),
        rowsIf(hasHopperDown(down), down.downCoded.has_value()));
    ofExperts("combine", of(shape, emitCombine));
    if (pool.isMatrix)
      add("finish", of(shape, emitFinish));
    else
      own.emplace_back();
    // The products with low factors are first products of shapes of their own.
    auto addLow = [&](const std::string &which, int64_t rank,
                      const LayerShape &low) {
      if (!rank) {
        own.resize(own.size() + 2);
        return;
      }
      add("decode_" + which, of(low, emitDecodeUp));
      add("grouped_" + which, of(low, emitUp),
          rowsIf(hasHopperUp(low), low.upCoded.has_value()));
    };
    addLow("up_low", shape.upRank, shape.upLow());
    addLow("down_low", shape.downRank, shape.downLow());
  }
  return module;
}
