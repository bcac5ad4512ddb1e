#include "tools/moe-opt/Measure.h"

#include "runtime/Core/File.h"
#include "runtime/Runner/Load.h"
#include "runtime/Runner/Program.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <deque>

using namespace llvm;
using namespace moe;

namespace {
/// A folder that goes when we do, by an interrupt too.
class TemporaryFolder {
public:
  ~TemporaryFolder() {
    if (!path.empty())
      sys::fs::remove_directories(path);
  }
  std::error_code make() {
    std::error_code error = sys::fs::createUniqueDirectory("moe-opt", path);
    if (error)
      return error;
    pending.emplace_back(std::string(path));
    for (StringRef name : {"measured.so", "measured.h"})
      pending.emplace_back(file(name));
    return error;
  }
  std::string file(StringRef name) const {
    SmallString<128> whole(path);
    sys::path::append(whole, name);
    return std::string(whole);
  }

private:
  SmallString<128> path;
  std::deque<rt::RemoveOnInterrupt> pending;
};
} // namespace

Expected<double> moe::measureBits(mlir::ModuleOp module, WeightSource &weights,
                                  const CompileOptions &options,
                                  ArrayRef<std::string> texts) {
  TemporaryFolder folder;
  if (std::error_code error = folder.make())
    return createStringError(error, "cannot create a temporary folder: " +
                                        error.message());
  CompileOptions own = options;
  own.name = "measured";
  own.instrument = false;
  own.profiles.clear();
  own.progress = nullptr;
  own.progressWithin = nullptr;
  std::string library = folder.file("measured.so");
  mlir::OwningOpRef<mlir::ModuleOp> copy = module.clone();
  json::Object facts;
  if (failed(compileTo(*copy, library, Emit::Library, weights, own, facts)))
    return createStringError("the model could not be compiled for --eval");
  auto api = rt::loadModel(library);
  if (!api)
    return createStringError(api.error().message);
  rt::Program program;
  program.api = *api;
  program.options.evalFiles.assign(texts.begin(), texts.end());
  program.options.roles = options.roles;
  rt::Status status =
      program.check((*api)->session_create(nullptr, &program.session));
  if (!status.ok())
    return createStringError(status.message);
  auto mean = rt::evalTexts(program, nullptr);
  if (!mean)
    return createStringError(mean.error().message);
  return *mean;
}
