#include "tools/moe-opt/ReadModel.h"

#include "frontends/ONNX/Importer.h"
#include "mlir/Parser/Parser.h"
#include "passes/Analysis/WeightSource.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace moe;

Expected<mlir::OwningOpRef<mlir::ModuleOp>>
moe::readModel(StringRef path, SourceMgr &sources, mlir::MLIRContext &context,
               WeightSource &weights, std::vector<std::string> &files) {
  StringRef suffix = sys::path::extension(path);
  if (suffix == ".mlir" || suffix == ".mlirbc" || path == "-") {
    auto buffer = MemoryBuffer::getFileOrSTDIN(path);
    if (!buffer)
      return createStringError("cannot read '" + path +
                               "': " + buffer.getError().message());
    sources.AddNewSourceBuffer(std::move(*buffer), SMLoc());
    auto module = mlir::parseSourceFile<mlir::ModuleOp>(sources, &context);
    if (!module)
      return createStringError("");
    return module;
  }
  auto model = onnx::importModel(path, context);
  if (failed(model))
    return createStringError("");
  for (auto &archive : model->archives) {
    weights.bind(archive.first(), archive.second);
    files.push_back(archive.second);
  }
  return std::move(model->module);
}

Error moe::bindBanks(ArrayRef<std::string> banks, WeightSource &weights) {
  for (StringRef bank : banks) {
    auto [name, path] = bank.split('=');
    if (name.empty() || path.empty())
      return createStringError("--bank takes name=path, not '" + bank + "'");
    weights.bind(name, path);
  }
  return Error::success();
}
