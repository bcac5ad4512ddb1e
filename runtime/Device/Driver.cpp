#include "runtime/Device/Driver.h"

#include "runtime/Core/Text.h"

#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <mutex>

namespace moe::rt {
namespace {

// Since CUDA 11 a driver serves programs of its whole major version.
constexpr int oldestVersion = 11000;
constexpr const char *systemLibrary = "libcuda.so.1";

struct Symbol {
  const char *name;
  void **slot;
};

/// Devices can be hidden by the environment, which people forget.
std::string visibilityHint() {
  const char *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible ? text(" (CUDA_VISIBLE_DEVICES is ", quote(visible), ")") : "";
}

} // namespace

std::string errorText(const Driver &driver, CuResult result) {
  const char *name = nullptr, *words = nullptr;
  if (driver.getErrorName(result, &name) != CuSuccess || !name)
    return text("CUDA error ", static_cast<int>(result));
  if (driver.getErrorString(result, &words) != CuSuccess || !words)
    return name;
  return text(words, " (", name, ")");
}

Status detail::initialise(Driver &driver) {
  if (CuResult result = driver.init(0)) {
    std::string hint =
        result == CuNoDevice ? visibilityHint()
        : result == CuStubLibrary
            ? " (a toolkit's stub was found instead; see LD_LIBRARY_PATH)"
            : "";
    return {Code::Unsupported, text("the NVIDIA driver does not start: ",
                                    errorText(driver, result), hint)};
  }
  if (CuResult result = driver.driverGetVersion(&driver.version))
    return {Code::Unsupported, text("the NVIDIA driver does not tell its "
                                    "version: ",
                                    errorText(driver, result))};
  if (driver.version < oldestVersion)
    return {Code::Unsupported,
            text("the NVIDIA driver is too old: it knows CUDA up to ",
                 driver.version / 1000, ".", driver.version % 1000 / 10,
                 ", 11.0 is needed")};
  int count = 0;
  if (CuResult result = driver.deviceGetCount(&count))
    return {Code::Unsupported, text("the NVIDIA driver does not count its "
                                    "devices: ",
                                    errorText(driver, result))};
  if (count == 0)
    return {Code::Unsupported,
            text("the NVIDIA driver finds no device", visibilityHint())};
  return {};
}

Result<Driver> detail::loadDriverFrom(const char *library) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  bool isSystem = std::string_view(library) == systemLibrary;
  if (!handle)
    return {Code::Unsupported,
            text(isSystem ? "no NVIDIA driver: " : "no driver to load: ",
                 dlerror())};
  Driver driver;
  if (!isSystem)
    driver.library = library;
#define MOE_CUDA_SYMBOL(member, symbol, parameters)                            \
  {#symbol, reinterpret_cast<void **>(&driver.member)},
  const Symbol required[] = {MOE_CUDA_REQUIRED(MOE_CUDA_SYMBOL)};
  const Symbol optional[] = {MOE_CUDA_OPTIONAL(MOE_CUDA_SYMBOL)};
#undef MOE_CUDA_SYMBOL
  for (const Symbol &symbol : required)
    if (!(*symbol.slot = dlsym(handle, symbol.name))) {
      // Not started yet, so it can go.
      dlclose(handle);
      return {Code::Unsupported, text("the NVIDIA driver is too old: ",
                                      quote(library), " lacks ", symbol.name)};
    }
  for (const Symbol &symbol : optional)
    *symbol.slot = dlsym(handle, symbol.name);
  if (Status status = initialise(driver); !status.ok())
    return status;
  return driver;
}

Result<const Driver *> loadDriverOf(const std::string &library) {
  static std::mutex mutex;
  // Kept to the end: devices may be closed late.
  static auto &loaded = *new std::map<std::string, Result<Driver>>;
  std::lock_guard<std::mutex> lock(mutex);
  auto found = loaded.find(library);
  if (found == loaded.end())
    found =
        loaded.emplace(library, detail::loadDriverFrom(library.c_str())).first;
  if (!found->second)
    return found->second.error();
  return &*found->second;
}

Result<const Driver *> loadDriver() { return loadDriverOf(systemLibrary); }

} // namespace moe::rt
