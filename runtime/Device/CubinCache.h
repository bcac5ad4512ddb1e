// Keeps what the driver makes of PTX, for it takes the driver up to a second.
#ifndef MOE_RUNTIME_DEVICE_CUBINCACHE_H
#define MOE_RUNTIME_DEVICE_CUBINCACHE_H

#include "runtime/Core/File.h"

#include <string>
#include <string_view>

namespace moe::rt {

/// `$XDG_CACHE_HOME/moe-opt`, or `~/.cache/moe-opt`. Empty where neither is
/// known, and with MOE_CACHE=0: then nothing is kept.
std::string cubinCacheFolder();

/// The file for a cubin that depends on `parts` and nothing else; "" without a
/// folder.
std::string cubinCachePath(std::initializer_list<std::string_view> parts);

/// The cubin that storeCubin() put there; empty when there is none, or it is
/// damaged. Nothing here is an error: the cubin can be made again.
Buffer loadCubin(const std::string &path, uint64_t &size);
void storeCubin(const std::string &path, std::string_view cubin);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_CUBINCACHE_H
