#include "dialects/RegisterDialects.h"
#include "frontends/ONNX/Importer.h"
#include "frontends/ONNX/OpRegistry.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "passes/RegisterPasses.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"

/// `moe-opt model.onnx`: prints the imported module.
static int importAndPrint(llvm::StringRef path,
                          mlir::DialectRegistry &registry) {
  mlir::MLIRContext context(registry);
  llvm::SourceMgr sources;
  mlir::SourceMgrDiagnosticHandler handler(sources, &context);
  auto model = moe::onnx::importModel(path, context);
  if (failed(model))
    return 1;
  model->module->print(llvm::outs());
  return 0;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  mlir::DialectRegistry registry;
  moe::registerAllDialects(registry);
  if (argc == 2 && llvm::StringRef(argv[1]) == "--list-ops") {
    moe::onnx::printOpRegistry(llvm::outs());
    return 0;
  }
  // The product driver will take over from here; so far it only imports.
  if (argc >= 2 && llvm::StringRef(argv[1]).ends_with(".onnx"))
    return importAndPrint(argv[1], registry);
  mlir::registerTransformsPasses();
  moe::registerAllPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "moe-opt: compile Mixture-of-Experts models", registry));
}
