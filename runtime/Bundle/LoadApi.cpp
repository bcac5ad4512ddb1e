// moe_load of moe_runtime.h.
#include "runtime/Runner/Load.h"

#include <algorithm>
#include <cstring>

extern "C" __attribute__((visibility("default"))) const moe_api *
moe_load(const char *path, char *message, uint64_t size) {
  auto api = moe::rt::loadModel(path);
  if (api)
    return *api;
  if (message && size) {
    const std::string &text = api.error().message;
    size_t kept = std::min<size_t>(text.size(), size - 1);
    std::memcpy(message, text.data(), kept);
    message[kept] = '\0';
  }
  return nullptr;
}
