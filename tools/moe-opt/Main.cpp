#include "codegen/LLVM/Passes.h"
#include "codegen/LLVM/Pipelines.h"
#include "dialects/RegisterDialects.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Profile.h"
#include "passes/RegisterPasses.h"
#include "tools/moe-opt/Driver.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"

namespace cl = llvm::cl;

namespace {
/// What passes that compress look at, made when the context has the dialect.
struct PassInputs {
  moe::WeightSource weights;
  std::unique_ptr<moe::Profile> profile;
};
} // namespace

/// Fails after a message.
static bool readInputs(llvm::ArrayRef<std::string> banks,
                       llvm::StringRef profileFile, PassInputs &inputs) {
  for (llvm::StringRef file : banks) {
    auto [name, path] = file.split('=');
    inputs.weights.bind(name, path);
  }
  if (profileFile.empty())
    return true;
  auto profile = moe::Profile::load(profileFile);
  if (!profile) {
    llvm::errs() << "moe-opt: error: " << toString(profile.takeError()) << "\n";
    return false;
  }
  inputs.profile = std::move(*profile);
  return true;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  moe::registerCodegenInterfaces(registry);
  if (moe::wantsProduct(argc, argv))
    return moe::runProductDriver(argc, argv, registry);
  moe::registerAllPasses();
  moe::registerLLVMCodegenPasses();
  mlir::registerTransformsPasses();
  cl::list<std::string> banks(
      "bank", cl::value_desc("name=path"),
      cl::desc("File of a weight archive that the module names"));
  cl::opt<std::string> profile("profile", cl::value_desc("file.moeprof"),
                               cl::desc("Profile of the uncompressed model"));
  auto [input, output] = mlir::registerAndParseCLIOptions(
      argc, argv, "moe-opt: compile Mixture-of-Experts models", registry);
  PassInputs inputs;
  if (!readInputs(banks, profile, inputs))
    return 1;
  moe::CompressInputs::preset(registry, &inputs.weights, inputs.profile.get());
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, input, output, registry));
}
