#include "runtime/Device/CubinCache.h"

#include "runtime/Core/Sha256.h"

#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>

namespace moe::rt {
namespace {

// Of the file's layout: the cubin, then the digest of it and this word.
constexpr std::string_view layout = "moe-opt cubin 1";

Sha256::Digest seal(std::string_view cubin) {
  Sha256 hash;
  hash.update(layout);
  hash.update(cubin);
  return hash.finish();
}

/// The folder and those above it, as far as they are missing.
bool makeFolders(const std::string &folder) {
  for (size_t end = 1; end != folder.npos;) {
    end = folder.find('/', end + 1);
    // One that is there and cannot be made anew (EROFS) shows in what follows.
    mkdir(folder.substr(0, end).c_str(), 0700);
  }
  struct stat info;
  return stat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

} // namespace

std::string cubinCacheFolder() {
  const char *wanted = std::getenv("MOE_CACHE");
  if (wanted && std::strcmp(wanted, "0") == 0)
    return "";
  // As the XDG base directory specification says, relative ones do not count.
  const char *cache = std::getenv("XDG_CACHE_HOME");
  if (cache && cache[0] == '/')
    return std::string(cache) + "/moe-opt";
  const char *home = std::getenv("HOME");
  return home && home[0] == '/' ? std::string(home) + "/.cache/moe-opt" : "";
}

std::string cubinCachePath(std::initializer_list<std::string_view> parts) {
  std::string folder = cubinCacheFolder();
  if (folder.empty())
    return "";
  Sha256 hash;
  hash.update(layout);
  for (std::string_view part : parts) {
    hash.update(std::to_string(part.size()) + ":");
    hash.update(part);
  }
  std::string path = folder + "/";
  for (uint8_t byte : hash.finish()) {
    path += "0123456789abcdef"[byte >> 4];
    path += "0123456789abcdef"[byte & 15];
  }
  return path + ".cubin";
}

Buffer loadCubin(const std::string &path, uint64_t &size) {
  size = 0;
  struct stat info;
  // A pipe of that name would wait for ever.
  if (path.empty() || stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
    return {};
  auto file = readFile(path);
  Sha256::Digest digest;
  if (!file || file->size() <= digest.size())
    return {};
  uint64_t cubinSize = file->size() - digest.size();
  digest = seal(file->view().substr(0, cubinSize));
  if (std::memcmp(file->data() + cubinSize, digest.data(), digest.size()) != 0)
    return {};
  size = cubinSize;
  return std::move(*file);
}

void storeCubin(const std::string &path, std::string_view cubin) {
  if (path.empty() || !makeFolders(path.substr(0, path.rfind('/'))))
    return;
  auto file = OutputFile::create(path);
  if (!file)
    return;
  Sha256::Digest digest = seal(cubin);
  (*file)->write(cubin);
  (*file)->write(digest.data(), digest.size());
  static_cast<void>((*file)->commit());
}

} // namespace moe::rt
