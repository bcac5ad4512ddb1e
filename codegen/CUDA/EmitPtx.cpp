#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/Pipelines.h"
#include "codegen/LLVM/ObjectFile.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

extern "C" {
void LLVMInitializeNVPTXTargetInfo();
void LLVMInitializeNVPTXTarget();
void LLVMInitializeNVPTXTargetMC();
void LLVMInitializeNVPTXAsmPrinter();
}

using namespace mlir;
using namespace moe;

/// "sm_90a" is 90; 0 where the name is none.
static unsigned capability(StringRef arch) {
  unsigned number = 0;
  if (!arch.consume_front("sm_") || arch.consumeInteger(10, number))
    return 0;
  return number;
}

/// What the kernels need, and no more: the driver must know it. 7.4 has the
/// hints of streaming loads (CUDA 11.4), 8.0 what sm_90a has (CUDA 12.0), 8.4
/// products of E4M3 numbers by `mma` (CUDA 12.4), 8.6 what sm_100 has (CUDA
/// 12.7); after sm_101 the architectures ask for more themselves.
static const char *ptxFeature(StringRef arch, bool hasE4M3) {
  unsigned number = capability(arch);
  return number > 101   ? "+ptx88"
         : number > 90  ? "+ptx86"
         : hasE4M3      ? "+ptx84"
         : number == 90 ? "+ptx80"
         : number == 89 ? "+ptx78"
                        : "+ptx74";
}

static std::unique_ptr<llvm::TargetMachine> createMachine(StringRef arch,
                                                          bool hasE4M3) {
  static const bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  std::string error;
  llvm::Triple triple("nvptx64-nvidia-cuda");
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  std::unique_ptr<llvm::MCSubtargetInfo> known(
      target->createMCSubtargetInfo(triple, "", ""));
  if (!known || !known->isCPUStringValid(arch) || capability(arch) < 80)
    return nullptr;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, arch, ptxFeature(arch, hasE4M3), llvm::TargetOptions(),
      std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

static llvm::Error unknown(StringRef arch) {
  return llvm::createStringError("unknown GPU architecture '" + arch +
                                 "': known are sm_80 and later: sm_86, sm_89, "
                                 "sm_90, sm_90a, sm_100, ...");
}

llvm::Error moe::cuda::checkArchitecture(StringRef arch) {
  return createMachine(arch, /*hasE4M3=*/false) ? llvm::Error::success()
                                                : unknown(arch);
}

bool moe::cuda::multipliesE4M3(StringRef arch) {
  return capability(arch) >= 89;
}

static bool hasE4M3(ModuleOp kernels) {
  return kernels
      .walk([](moegpu::MmaOp op) {
        return op.getKind() == moegpu::MmaKind::E4M3 ? WalkResult::interrupt()
                                                     : WalkResult::advance();
      })
      .wasInterrupted();
}

/// Marks inline PTX that all lanes of a warp reach together, as the dialect
/// cannot: no pass may put it behind another condition.
static void markConvergent(llvm::Module &module) {
  for (llvm::Function &function : module)
    for (llvm::Instruction &instruction : llvm::instructions(function))
      if (auto *call = llvm::dyn_cast<llvm::CallInst>(&instruction))
        if (auto *text =
                llvm::dyn_cast<llvm::InlineAsm>(call->getCalledOperand());
            text && text->getAsmString().contains(".sync."))
          call->setConvergent();
}

/// Optimises `module` for a machine, and writes it.
static llvm::Expected<std::string> emit(llvm::Module &module,
                                        llvm::TargetMachine &machine) {
  module.setDataLayout(machine.createDataLayout());
  module.setTargetTriple(machine.getTargetTriple());
  optimizeModule(module, machine, 3);
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager passes;
  if (machine.addPassesToEmitFile(passes, stream, nullptr,
                                  llvm::CodeGenFileType::AssemblyFile))
    return llvm::createStringError("the target cannot emit PTX");
  passes.run(module);
  return std::string(text.data(), text.size());
}

llvm::Expected<std::string> moe::cuda::emitPtx(ModuleOp kernels,
                                               StringRef arch) {
  auto texts = emitPtx(kernels, ArrayRef(arch));
  if (!texts)
    return texts.takeError();
  return std::move(texts->front());
}

llvm::Expected<std::vector<std::string>>
moe::cuda::emitPtx(ModuleOp kernels, ArrayRef<StringRef> archs) {
  std::vector<std::unique_ptr<llvm::TargetMachine>> machines;
  for (StringRef arch : archs) {
    machines.push_back(createMachine(arch, hasE4M3(kernels)));
    if (!machines.back())
      return unknown(arch);
  }
  OwningOpRef<ModuleOp> copy = kernels.clone();
  PassManager pm(copy->getContext());
  buildGpuPipeline(pm);
  // Once, at the end: after every pass it takes as long as the passes.
  pm.enableVerifier(false);
  if (failed(pm.run(*copy)) || failed(verify(*copy)))
    return llvm::createStringError("kernels could not be lowered");
  llvm::LLVMContext context;
  auto module = translateModuleToLLVMIR(*copy, context, "kernels");
  if (!module)
    return llvm::createStringError("kernels could not be translated");
  markConvergent(*module);
  std::vector<std::string> texts;
  for (auto &machine : machines) {
    auto text = emit(*llvm::CloneModule(*module), *machine);
    if (!text)
      return text.takeError();
    texts.push_back(std::move(*text));
  }
  return texts;
}
