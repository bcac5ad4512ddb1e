#include "frontends/ONNX/ExternalData.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moe::onnx;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

const ExternalFiles::File *
ExternalFiles::find(StringRef location,
                    function_ref<InFlightDiagnostic()> emitError) {
  if (auto it = known.find(location); it != known.end())
    return &it->second;
  auto fail = [&](const llvm::Twine &why) {
    emitError() << "external data '" << location << "' " << why;
    return nullptr;
  };
  if (location.empty())
    return fail("has no location");
  if (location.contains("_ORT_MEM_ADDR_"))
    return fail("is an address in another process (ONNX Runtime's "
                "_ORT_MEM_ADDR_ marker): save the model with its data");
  if (location.contains('\0'))
    return fail("has a zero byte in its location");
  if (path::is_absolute(location))
    return fail("has an absolute path; it must lie in the model's folder");
  for (StringRef part :
       llvm::make_range(path::begin(location), path::end(location)))
    if (part == "..")
      return fail("leaves the model's folder; it must lie in it");

  SmallString<256> full(folder.empty() ? "." : folder), real, realFolder;
  if (fs::real_path(full, realFolder))
    return fail("lies in a folder that cannot be read: " + folder);
  path::append(full, location);
  if (std::error_code error = fs::real_path(full, real))
    return fail("cannot be read: " + error.message());
  if (!real.str().starts_with(realFolder) ||
      (real.size() > realFolder.size() && realFolder != "/" &&
       real[realFolder.size()] != '/'))
    return fail("is a link out of the model's folder; it must lie in it");
  fs::file_status status;
  if (std::error_code error = fs::status(real, status))
    return fail("cannot be read: " + error.message());
  if (status.type() == fs::file_type::directory_file)
    return fail("is a directory, not a file");
  if (status.type() != fs::file_type::regular_file)
    return fail("is not a regular file");
  File file{real.str().str(), status.getSize()};
  return &known.try_emplace(location, std::move(file)).first->second;
}
