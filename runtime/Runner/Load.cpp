#include "runtime/Runner/Load.h"

#include "runtime/Core/Text.h"
#include "runtime/Runner/File.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <dlfcn.h>
#include <unistd.h>

namespace moe::rt {

Result<const moe_api *> loadModel(const std::string &path) {
  // dlopen searches the system's folders for names without a slash.
  std::string file = path.find('/') == path.npos ? "./" + path : path;
  if (access(file.c_str(), R_OK) != 0)
    return systemError("read", path, errno);
  void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    return {Code::InvalidFile, quoted(path) + " is not a model library: " +
                                   printable(reason ? reason : "?")};
  }
  auto modelApi = reinterpret_cast<const moe_api *(*)(uint32_t)>(
      dlsym(library, "moe_model_api"));
  if (!modelApi) {
    dlclose(library);
    return {Code::InvalidFile,
            quoted(path) + " is a library, but not one made by moe-opt: it "
                           "does not export moe_model_api"};
  }
  const moe_api *api = modelApi(MOE_API_MAJOR);
  if (!api || api->size < offsetof(moe_api, peak_memory) + sizeof(void *))
    return {Code::Unsupported, text(quoted(path),
                                    " speaks another version of the interface; "
                                    "this program knows ",
                                    MOE_API_MAJOR, ".", MOE_API_MINOR)};
  return api;
}

} // namespace moe::rt
