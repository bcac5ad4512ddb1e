#include "tools/moe-opt/BaseModel.h"

#include "codegen/Compile.h"
#include "frontends/HuggingFace/Importer.h"
#include "passes/Analysis/WeightSource.h"
#include "tools/moe-opt/Options.h"
#include "tools/moe-opt/ReadModel.h"

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
  if (isCheckpoint(path)) {
    auto model = hf::importCheckpoint(path, context);
    if (failed(model))
      return createStringError("");
    module = std::move(model->module);
    for (const rt::CheckpointFile &file : model->source.files)
      weights.bind(file.name, file.path);
  } else {
    std::vector<std::string> files;
    auto model = readModel(path, sources, context, weights, files);
    if (!model)
      return model.takeError();
    module = std::move(*model);
  }
  if (Error error = bindBanks(banks, weights))
    return error;
  CompileOptions options;
  options.progress = [](StringRef) {};
  if (failed(raiseExperts(*module, options)))
    return createStringError("");
  auto norms = RouterNorms::of(*module, weights, path);
  if (failed(norms))
    return createStringError("");
  return std::move(*norms);
}
