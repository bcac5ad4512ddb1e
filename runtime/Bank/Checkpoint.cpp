#include "runtime/Bank/Checkpoint.h"

#include "runtime/Core/File.h"
#include "runtime/Core/Text.h"

#include <sys/stat.h>

namespace moe::rt {
namespace {

constexpr std::string_view weightsEnd = ".safetensors";
constexpr std::string_view indexEnd = ".safetensors.index.json";
constexpr std::string_view configName = "config.json";

bool endsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() &&
         text.substr(text.size() - end.size()) == end;
}

bool exists(const std::string &path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

bool isFolder(const std::string &path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string nameOf(const std::string &path) {
  return path.substr(path.find_last_of('/') + 1); // npos + 1 is 0
}

/// A JSON object without a name that comes twice.
Result<Json> readObject(const std::string &path) {
  auto bytes = readFile(path);
  if (!bytes)
    return bytes.error();
  std::optional<Json> json = parseJson(bytes->view());
  if (!json || !json->isObject())
    return {Code::InvalidFile, quote(path) + ": no JSON object"};
  if (json->hasDuplicates())
    return {Code::InvalidFile, quote(path) + ": holds a name twice"};
  return std::move(*json);
}

Status addFile(Checkpoint &checkpoint, const std::string &name) {
  CheckpointFile file;
  file.name = name;
  file.path = checkpoint.folder + "/" + name;
  auto bytes = mapFile(file.path);
  if (!bytes)
    return bytes.error();
  file.bytes = *bytes;
  auto header = parseSafetensors(*bytes, file.path);
  if (!header)
    return header.error();
  file.header = std::move(*header);
  checkpoint.files.push_back(std::move(file));
  return {};
}

/// The files of an index, which must say what they hold.
Status addIndexed(Checkpoint &checkpoint, const std::string &index) {
  auto json = readObject(index);
  if (!json)
    return json.error();
  auto bad = [&](const std::string &why) {
    return Status(Code::InvalidFile, quote(index) + ": " + why);
  };
  const Json *map = json->find("weight_map");
  if (!map || !map->isObject() || map->members.empty())
    return bad("has no 'weight_map' from tensors to files");
  std::map<std::string, std::string> fileOf;
  std::map<std::string, bool> names; // of files, in order
  for (const auto &[tensor, file] : map->members) {
    if (!file.isString() || file.text.find('/') != std::string::npos ||
        !endsWith(file.text, weightsEnd))
      return bad("puts tensor " + quote(tensor) +
                 " into something that is no .safetensors file beside it");
    fileOf[tensor] = file.text;
    names[file.text] = true;
  }
  for (const auto &[name, used] : names)
    if (Status status = addFile(checkpoint, name); !status.ok())
      return status;
  for (const CheckpointFile &file : checkpoint.files)
    for (const ArchiveTensor &tensor : file.header.tensors) {
      auto found = fileOf.find(tensor.name);
      if (found == fileOf.end() || found->second != file.name)
        return bad(text("tensor ", quote(tensor.name), " lies in ",
                        quote(file.name), ", but the index puts it ",
                        found == fileOf.end()
                            ? std::string("nowhere")
                            : "into " + quote(found->second)));
      fileOf.erase(found);
    }
  if (!fileOf.empty())
    return bad(text("tensor ", quote(fileOf.begin()->first), " is not in ",
                    quote(fileOf.begin()->second)));
  checkpoint.isIndexed = true;
  return {};
}

} // namespace

bool isCheckpoint(const std::string &path) {
  return endsWith(path, weightsEnd) || endsWith(path, indexEnd) ||
         nameOf(path) == configName || isFolder(path);
}

Result<Checkpoint> openCheckpoint(const std::string &path) {
  Checkpoint checkpoint;
  std::string weights = nameOf(path);
  bool whole = isFolder(path) || weights == configName;
  checkpoint.folder = isFolder(path) ? path
                      : path.find('/') == std::string::npos
                          ? "."
                          : path.substr(0, path.size() - weights.size() - 1);
  while (checkpoint.folder.size() > 1 && checkpoint.folder.back() == '/')
    checkpoint.folder.pop_back();
  if (checkpoint.folder.empty())
    checkpoint.folder = "/";
  if (whole) {
    // The order in which transformers looks.
    weights = "model.safetensors";
    if (!exists(checkpoint.folder + "/" + weights))
      weights = "model.safetensors.index.json";
    if (!exists(checkpoint.folder + "/" + weights))
      return {Code::NotFound,
              quote(checkpoint.folder) +
                  ": holds neither model.safetensors nor "
                  "model.safetensors.index.json, so there are no weights"};
  }
  Status status =
      endsWith(weights, indexEnd)
          ? addIndexed(checkpoint, checkpoint.folder + "/" + weights)
          : addFile(checkpoint, weights);
  if (!status.ok())
    return status;
  if (exists(checkpoint.configPath()) || nameOf(path) == configName) {
    auto config = readObject(checkpoint.configPath());
    if (!config)
      return config.error();
    checkpoint.config = std::move(*config);
  }
  return checkpoint;
}

} // namespace moe::rt
