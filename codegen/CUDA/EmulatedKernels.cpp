#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/Pipelines.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "runtime/Emulator/Emulator.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
namespace orc = llvm::orc;

namespace {
class Jitted : public EmulatedKernels {
public:
  explicit Jitted(std::unique_ptr<orc::LLJIT> jit) : jit(std::move(jit)) {}

  Entry find(StringRef name) override {
    auto address = jit->lookup(name);
    if (address)
      return address->toPtr<Entry>();
    llvm::consumeError(address.takeError());
    return nullptr;
  }

private:
  std::unique_ptr<orc::LLJIT> jit;
};
} // namespace

static llvm::Error defineEmulator(orc::LLJIT &jit) {
  orc::SymbolMap symbols;
  for (const rt::RuntimeSymbol *symbol = emu::emulatorSymbols(); symbol->name;
       ++symbol)
    symbols[jit.mangleAndIntern(symbol->name)] = {
        orc::ExecutorAddr::fromPtr(symbol->address),
        llvm::JITSymbolFlags::Exported | llvm::JITSymbolFlags::Callable};
  return jit.getMainJITDylib().define(orc::absoluteSymbols(std::move(symbols)));
}

llvm::Expected<std::unique_ptr<EmulatedKernels>>
EmulatedKernels::compile(ModuleOp kernels) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  OwningOpRef<ModuleOp> copy = kernels.clone();
  PassManager pm(copy->getContext());
  buildEmulatorPipeline(pm);
  // Once, at the end: after every pass it takes as long as the passes.
  pm.enableVerifier(false);
  if (failed(pm.run(*copy)) || failed(verify(*copy)))
    return llvm::createStringError("kernels could not be lowered");
  auto context = std::make_unique<llvm::LLVMContext>();
  auto module = translateModuleToLLVMIR(*copy, *context, "kernels");
  if (!module)
    return llvm::createStringError("kernels could not be translated");
  auto builder = orc::JITTargetMachineBuilder::detectHost();
  if (!builder)
    return builder.takeError();
  auto machine = builder->createTargetMachine();
  if (!machine)
    return machine.takeError();
  module->setDataLayout((*machine)->createDataLayout());
  module->setTargetTriple((*machine)->getTargetTriple());
  // What kernels call takes the time. To optimise them would take longer than
  // they run.
  builder->setCodeGenOptLevel(llvm::CodeGenOptLevel::None);
  auto jit = orc::LLJITBuilder()
                 .setJITTargetMachineBuilder(std::move(*builder))
                 .create();
  if (!jit)
    return jit.takeError();
  if (llvm::Error error = defineEmulator(**jit))
    return std::move(error);
  if (llvm::Error error = (*jit)->addIRModule(
          orc::ThreadSafeModule(std::move(module), std::move(context))))
    return std::move(error);
  return std::make_unique<Jitted>(std::move(*jit));
}
