#include "tools/moe-opt/BaseModel.h"

#include "codegen/Compile.h"
#include "passes/Analysis/WeightSource.h"
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
  auto module = readModel(path, sources, context, weights);
  if (!module)
    return module.takeError();
  for (StringRef bank : banks) {
    auto [name, file] = bank.split('=');
    weights.bind(name, file);
  }
  CompileOptions options;
  options.progress = [](StringRef) {};
  if (failed(raiseExperts(**module, options)))
    return createStringError("");
  auto norms = RouterNorms::of(**module, weights, path);
  if (failed(norms))
    return createStringError("");
  return std::move(*norms);
}
