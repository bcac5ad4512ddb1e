#include "tools/moe-opt/BaseModel.h"

#include "codegen/Compile.h"
#include "frontends/ONNX/Importer.h"
#include "mlir/Parser/Parser.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace llvm;
using namespace moe;

Expected<RouterNorms> moe::readBase(StringRef path, ArrayRef<std::string> banks,
                                    const mlir::DialectRegistry &registry) {
  // Only numbers leave this function, so nothing of the model need last.
  mlir::MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  SourceMgr sources;
  mlir::SourceMgrDiagnosticHandler handler(sources, &context);
  WeightSource weights;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  StringRef suffix = sys::path::extension(path);
  if (suffix == ".mlir" || suffix == ".mlirbc") {
    auto buffer = MemoryBuffer::getFile(path);
    if (!buffer)
      return createStringError("cannot read '" + path +
                               "': " + buffer.getError().message());
    sources.AddNewSourceBuffer(std::move(*buffer), SMLoc());
    module = mlir::parseSourceFile<mlir::ModuleOp>(sources, &context);
  } else if (auto model = onnx::importModel(path, context); succeeded(model)) {
    module = std::move(model->module);
    for (auto &archive : model->archives)
      weights.bind(archive.first(), archive.second);
  }
  for (StringRef bank : banks) {
    auto [name, file] = bank.split('=');
    weights.bind(name, file);
  }
  CompileOptions options;
  options.progress = [](StringRef) {};
  if (!module || failed(raiseExperts(*module, options)))
    return createStringError("");
  auto norms = RouterNorms::of(*module, weights, path);
  if (failed(norms))
    return createStringError("");
  return std::move(*norms);
}
