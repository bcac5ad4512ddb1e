#include "codegen/LLVM/Passes.h"
#include "codegen/LLVM/Pipelines.h"
#include "dialects/RegisterDialects.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "passes/RegisterPasses.h"
#include "tools/moe-opt/Driver.h"
#include "llvm/Support/InitLLVM.h"

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
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "moe-opt: compile Mixture-of-Experts models", registry));
}
