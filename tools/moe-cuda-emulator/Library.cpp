// The CUDA driver of `moe-run --device emu`: kernels that moe-opt generated are
// generated once more, for this processor, and run in the emulator.
#include "codegen/CUDA/DeviceCode.h"
#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/Pipelines.h"
#include "dialects/MoEGPU/MoEGPUOps.h"
#include "dialects/RegisterDialects.h"
#include "mlir/Parser/Parser.h"
#include "runtime/FakeDriver/FakeDriver.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>

using namespace mlir;
using namespace moe;

namespace {
using Kernels = std::map<std::string, fakecuda::FakeKernel>;

/// Bytes of each parameter of a kernel.
std::vector<uint32_t> parametersOf(moegpu::KernelOp kernel) {
  std::vector<uint32_t> bytes;
  for (Type type : kernel.getBody().getArgumentTypes())
    if (auto pointer = dyn_cast<LLVM::LLVMPointerType>(type))
      bytes.push_back(pointer.getAddressSpace() == moegpu::kTensorMap
                          ? moegpu::kTensorMapBytes
                          : 8);
    else
      bytes.push_back(type.getIntOrFloatBitWidth() / 8);
  return bytes;
}

/// What the environment asks for.
uint64_t roughness() {
  const char *text = std::getenv("MOE_EMULATOR_ROUGHNESS");
  uint64_t number = 0;
  if (text && StringRef(text).getAsInteger(10, number)) {
    llvm::errs() << "emulated GPU: error: MOE_EMULATOR_ROUGHNESS is '" << text
                 << "': it takes a number from 0\n";
    std::exit(2);
  }
  return number;
}

class Emulation {
public:
  Emulation() {
    driver.devices[0].name = "emulated GPU";
    driver.devices[0].memory = uint64_t(64) << 30;
    // Blocks take turns, so more of them would only take more time.
    driver.multiprocessors = 2;
    driver.isTelling = true;
    driver.schedule.roughness = roughness();
    driver.compile = [this](const std::string &ptx) { return compile(ptx); };
    DialectRegistry registry;
    registerAllDialects(registry);
    cuda::registerInterfaces(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

private:
  /// What was written beside the PTX, as lines of comments; else the kernels
  /// that its last lines speak of.
  OwningOpRef<ModuleOp> moduleOf(StringRef ptx) {
    std::string text;
    for (auto [line, rest] = ptx.split('\n'); !line.empty() || !rest.empty();
         std::tie(line, rest) = rest.split('\n'))
      if (line.consume_front("//! "))
        text += (line + "\n").str();
    if (!text.empty())
      return parseSourceString<ModuleOp>(text, &context);
    return cuda::kernelsOfPtx(&context, ptx);
  }

  Kernels compile(const std::string &ptx) {
    Kernels found;
    OwningOpRef<ModuleOp> module = moduleOf(ptx);
    if (!module)
      return found;
    auto made = cuda::EmulatedKernels::compile(*module);
    if (!made) {
      llvm::errs() << "emulated GPU: " << llvm::toString(made.takeError())
                   << "\n";
      return found;
    }
    for (auto kernel : module->getOps<moegpu::KernelOp>())
      found[kernel.getSymName().str()] = {(*made)->find(kernel.getSymName()),
                                          parametersOf(kernel), 1024, 0, true};
    // As long as the driver, which is never unloaded.
    compiled.push_back(std::move(*made));
    return found;
  }

  fakecuda::FakeDriver driver;
  MLIRContext context;
  std::vector<std::unique_ptr<cuda::EmulatedKernels>> compiled;
};

// Lives to the end: devices are closed late.
Emulation *const emulation = new Emulation;
} // namespace
