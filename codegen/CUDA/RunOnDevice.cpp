#include "codegen/CUDA/DeviceBranch.h"
#include "codegen/CUDA/Passes.h"
#include "codegen/CUDA/SampleKernels.h"
#include "mlir/IR/Remarks.h"

namespace moe {
#define GEN_PASS_DEF_RUNONDEVICEPASS
#include "codegen/CUDA/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

static constexpr remark::RemarkOpts onDevice =
    remark::RemarkOpts::name("on device").category("moe-device");

/// Whether `main` may be a language model: something in it is ids of tokens.
static bool takesIds(func::FuncOp main) {
  return llvm::any_of(main.getArgumentTypes(), [](Type type) {
    auto memory = dyn_cast<MemRefType>(type);
    return memory && (memory.getElementType().isInteger(32) ||
                      memory.getElementType().isInteger(64));
  });
}

/// Logits stay on the device, and so does the choice of tokens.
static void addSampling(func::FuncOp main, DeviceTables &tables) {
  if (!takesIds(main))
    return;
  main.walk([&](moert::DevicePresentOp op) {
    auto type = cast<MemRefType>(op.getMemory().getType());
    Type element = type.getElementType();
    bool isCache = op.getMemory().getDefiningOp<moert::DeviceCacheOp>();
    if (isCache || type.getRank() == 0 ||
        !(element.isF32() || element.isBF16() || element.isF16()))
      return;
    auto [parts, choose] = sampleKernelNames(element);
    if (!tables.kernels().lookupSymbol(parts))
      emitSample(tables.kernels(), element);
    tables.kernelNumber(parts);
    tables.kernelNumber(choose);
  });
}

namespace {
struct RunOnDevicePass : moe::impl::RunOnDevicePassBase<RunOnDevicePass> {
  using RunOnDevicePassBase::RunOnDevicePassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    DeviceTables tables(module, {tf32, fp8Inputs});
    auto main = module.lookupSymbol<func::FuncOp>("main");
    explain(module);
    if (main)
      if (std::optional<BranchFacts> facts = addDeviceBranch(main, tables)) {
        addSampling(main, tables);
        remark::passed(main.getLoc(), onDevice)
            << remark::metric("launched", facts->onDevice)
            << remark::metric("left", facts->onProcessor);
      }
    // In loops, and in other functions.
    SmallVector<moert::ExpertFfnOp> others;
    module.walk([&](moert::ExpertFfnOp op) {
      if (branchOf(op) != BranchKind::Processor)
        others.push_back(op);
    });
    for (moert::ExpertFfnOp op : others) {
      StringRef why;
      offload(op, tables, why);
    }
    tables.write();
  }

  /// Why layers stay on the processor.
  void explain(ModuleOp module) {
    module.walk([&](moert::ExpertFfnOp op) {
      StringRef why;
      if (poolOf(op, {tf32, fp8Inputs}, why))
        return;
      remark::missed(op.getLoc(), onDevice) << remark::reason("{0}", why);
      op->setAttr(kNotOffloaded, StringAttr::get(&getContext(), why));
    });
  }
};
} // namespace
