#include "runtime/Runner/Load.h"

#include "runtime/Bundle/Bundle.h"
#include "runtime/Core/CpuFeatures.h"
#include "runtime/Core/Text.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace moe::rt {
namespace {

/// `file` is what dlopen gets, `path` what the user said.
Result<const moe_api *> openLibrary(const std::string &file,
                                    const std::string &path) {
  void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    return {Code::InvalidFile, quote(path) + " is not a model library: " +
                                   printable(reason ? reason : "?")};
  }
  auto modelApi = reinterpret_cast<const moe_api *(*)(uint32_t)>(
      dlsym(library, "moe_model_api"));
  if (!modelApi) {
    dlclose(library);
    return {Code::InvalidFile,
            quote(path) + " is a library, but not one made by moe-opt: it "
                          "does not export moe_model_api"};
  }
  const moe_api *api = modelApi(MOE_API_MAJOR);
  if (!api || api->size < offsetof(moe_api, peak_memory) + sizeof(void *))
    return {Code::Unsupported, text(quote(path),
                                    " speaks another version of the interface; "
                                    "this program knows ",
                                    MOE_API_MAJOR, ".", MOE_API_MINOR)};
  return api;
}

Status writeAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t put = write(file, bytes.data(), bytes.size());
    if (put < 0 && errno != EINTR)
      return systemError("write", "memory file", errno);
    bytes.remove_prefix(put > 0 ? static_cast<size_t>(put) : 0);
  }
  return {};
}

Result<const moe_api *> openBundle(std::string_view bytes,
                                   const std::string &path) {
  auto info = parseBundle(bytes, path);
  if (!info)
    return info.error();
  std::string missing = missingCpuFeatures(info->cpuFeatures);
  if (!missing.empty())
    return {Code::Unsupported, quote(path) +
                                   " was compiled for a processor with " +
                                   missing + ", which this one lacks"};
  const BundleSection *code = info->find("code");
  if (!code)
    return {Code::InvalidFile, quote(path) + " is a bundle without code"};
  Status status = verifySection(bytes, *code, path);
  if (!status.ok())
    return status;
  // Nobody else can reach or change what we load.
  int file = memfd_create("moe-model", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0)
    return systemError("create", "memory file", errno);
  status = writeAll(file, bytes.substr(code->offset, code->size));
  if (!status.ok()) {
    close(file);
    return status;
  }
  fcntl(file, F_ADD_SEALS,
        F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  // The descriptor stays open: dlopen takes a path it has seen for the same
  // library, and a number that is used again would make it one.
  auto api = openLibrary(text("/proc/self/fd/", file), path);
  const BundleSection *weights = info->find("weights");
  if (!api || !weights)
    return api;
  if ((*api)->set_weights(bytes.data() + weights->offset, weights->size) !=
      MOE_OK)
    return {Code::InvalidFile, quote(path) + ": " + (*api)->error()};
  return api;
}

} // namespace

Result<const moe_api *> loadModel(const std::string &path) {
  auto bytes = mapFile(path);
  if (!bytes)
    return bytes.error();
  if (bytes->substr(0, bundleMagic.size()) == bundleMagic)
    return openBundle(*bytes, path);
  munmap(const_cast<char *>(bytes->data()), bytes->size());
  // dlopen searches the system's folders for names without a slash.
  return openLibrary(path.find('/') == path.npos ? "./" + path : path, path);
}

} // namespace moe::rt
