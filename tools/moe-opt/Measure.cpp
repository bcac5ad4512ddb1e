#include "tools/moe-opt/Measure.h"

#include "runtime/Core/File.h"
#include "runtime/Runner/Load.h"
#include "runtime/Runner/Program.h"
#include "tools/moe-opt/FirstError.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <deque>
#include <optional>

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

  /// The text of an error: names of folders are made up, their place is not.
  std::string withoutName(Error error) const {
    std::string why = toString(std::move(error)), name = std::string(path);
    StringRef parent = sys::path::parent_path(path);
    for (size_t at = 0; (at = why.find(name, at)) != std::string::npos;)
      why.replace(at, name.size(), parent.str());
    return why;
  }

private:
  SmallString<128> path;
  std::deque<rt::RemoveOnInterrupt> pending;
};
} // namespace

Expected<double> moe::measureBits(mlir::OwningOpRef<mlir::ModuleOp> module,
                                  WeightSource &weights,
                                  const CompileOptions &options,
                                  ArrayRef<std::string> texts, bool isQuiet) {
  TemporaryFolder folder;
  if (std::error_code error = folder.make())
    return createStringError(error, "cannot create a temporary folder: " +
                                        error.message());
  CompileOptions own = options;
  own.name = "measured";
  own.instrument = false;
  own.profiles.clear();
  own.cubin = Cubin::Never; // it changes nothing but how long loading takes
  own.progress = nullptr;
  own.progressWithin = nullptr;
  std::string library = folder.file("measured.so");
  json::Object facts;
  std::optional<FirstError> first;
  if (isQuiet)
    first.emplace(module->getContext());
  if (failed(compileTo(*module, library, Emit::Library, weights, own, facts))) {
    std::string why = "the model could not be compiled for --eval";
    return createStringError(first ? folder.withoutName(first->take(why))
                                   : why);
  }
  module = nullptr; // what follows takes memory of its own
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
