#include "codegen/CUDA/Passes.h"
#include "codegen/CUDA/Pipelines.h"
#include "codegen/LLVM/Passes.h"
#include "codegen/LLVM/Pipelines.h"
#include "dialects/RegisterDialects.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Profile.h"
#include "passes/RegisterPasses.h"
#include "tools/moe-opt/BaseModel.h"
#include "tools/moe-opt/Driver.h"
#include "tools/moe-opt/ReadModel.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"

namespace cl = llvm::cl;

namespace {
/// What passes that compress look at, made when the context has the dialect.
struct PassInputs {
  moe::WeightSource weights;
  std::unique_ptr<moe::Profile> profile;
  std::optional<moe::RouterNorms> base;
};
} // namespace

/// False after a message, which may have been a diagnostic.
static bool said(llvm::Error error) {
  std::string why = toString(std::move(error));
  if (!why.empty())
    llvm::errs() << "moe-opt: error: " << why << "\n";
  return false;
}

/// Fails after a message.
static bool readInputs(llvm::ArrayRef<std::string> banks,
                       llvm::StringRef profileFile, llvm::StringRef baseFile,
                       const mlir::DialectRegistry &registry,
                       PassInputs &inputs) {
  if (llvm::Error error = moe::bindBanks(banks, inputs.weights))
    return said(std::move(error));
  if (!baseFile.empty()) {
    auto base = moe::readBase(baseFile, banks, registry);
    if (!base)
      return said(base.takeError());
    inputs.base = std::move(*base);
  }
  if (profileFile.empty())
    return true;
  auto profile = moe::Profile::load(profileFile);
  if (!profile)
    return said(profile.takeError());
  inputs.profile = std::move(*profile);
  return true;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  moe::registerCodegenInterfaces(registry);
  moe::cuda::registerInterfaces(registry);
  if (moe::wantsProduct(argc, argv))
    return moe::runProductDriver(argc, argv, registry);
  moe::registerAllPasses();
  moe::registerLLVMCodegenPasses();
  moe::registerCUDACodegenPasses();
  mlir::registerTransformsPasses();
  cl::list<std::string> banks(
      "bank", cl::value_desc("name=path"),
      cl::desc("File of a weight archive that the module names"));
  cl::opt<std::string> profile("profile", cl::value_desc("file.moeprof"),
                               cl::desc("Profile of the uncompressed model"));
  cl::opt<std::string> base(
      "base", cl::value_desc("model"),
      cl::desc("The model before fine-tuning (ONNX, text or a checkpoint), "
               "for scores"));
  auto [input, output] = mlir::registerAndParseCLIOptions(
      argc, argv, "moe-opt: compile Mixture-of-Experts models", registry);
  PassInputs inputs;
  if (!readInputs(banks, profile, base, registry, inputs))
    return 1;
  moe::CompressInputs::preset(registry, &inputs.weights, inputs.profile.get(),
                              inputs.base ? &*inputs.base : nullptr);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, input, output, registry));
}
