#include "tools/moe-bank/Archive.h"

#include "runtime/Bank/Checkpoint.h"
#include "runtime/Bundle/Manifest.h"
#include "runtime/Core/Sha256.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <sys/stat.h>

using namespace moe::rt;
using moe::Archive;
using moe::Entry;

namespace {

bool endsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() &&
         text.substr(text.size() - end.size()) == end;
}

void addArrays(Archive &archive) {
  for (const Array &array : archive.arrays)
    archive.entries.push_back({array.name, dtypeName(array.tensor.dtype),
                               shapeText(array.tensor.shape, array.tensor.rank),
                               static_cast<uint64_t>(*byteSize(array.tensor)),
                               static_cast<const char *>(array.tensor.data),
                               array.tensor});
}

void addTensors(Archive &archive, std::string_view bytes,
                const Safetensors &file) {
  for (const ArchiveTensor &tensor : file.tensors) {
    Entry entry = {tensor.name, tensor.dtype,
                   shapeText(tensor.shape.data(),
                             static_cast<int32_t>(tensor.shape.size())),
                   tensor.size, bytes.data() + tensor.offset};
    if (tensor.shape.size() <= MOE_MAX_RANK) {
      entry.tensor.dtype = safetensorsType(tensor.dtype);
      entry.tensor.rank = static_cast<int32_t>(tensor.shape.size());
      std::copy(tensor.shape.begin(), tensor.shape.end(), entry.tensor.shape);
      entry.tensor.data = const_cast<char *>(entry.data);
    }
    archive.entries.push_back(entry);
  }
}

Status addSafetensors(Archive &archive, const std::string &path) {
  auto file = parseSafetensors(archive.mapped, path);
  if (!file)
    return file.error();
  if (endsWith(path, ".moeprof") || file->metadata["format"] == "moe-profile") {
    auto profile = parseProfile(archive.mapped, path);
    if (!profile)
      return profile.error();
    archive.kind = "expert profile";
    archive.profile = std::move(*profile);
  }
  if (auto own = file->metadata.find("moe_opt"); own != file->metadata.end())
    archive.ledger = parseJson(own->second);
  addTensors(archive, archive.mapped, *file);
  return {};
}

Status addCheckpoint(Archive &archive, const std::string &path) {
  auto checkpoint = openCheckpoint(path);
  if (!checkpoint)
    return checkpoint.error();
  for (const CheckpointFile &file : checkpoint->files)
    addTensors(archive, file.bytes, file.header);
  const Json *own =
      checkpoint->config ? checkpoint->config->find("moe_opt") : nullptr;
  if (!own)
    return {};
  archive.ledger = *own;
  const Json *files = own->find("files");
  for (const CheckpointFile &file : checkpoint->files) {
    const Json *entry = files ? files->find(file.name) : nullptr;
    const Json *size = entry ? entry->find("bytes") : nullptr;
    const Json *hash = entry ? entry->find("sha256") : nullptr;
    if (!size || !size->asUnsigned() || !hash || !hash->isString())
      return {Code::InvalidFile, quote(checkpoint->configPath()) +
                                     ": its 'moe_opt' has no hash of " +
                                     quote(file.name)};
    archive.hashes.push_back(
        {file.path, file.bytes, *size->asUnsigned(), hash->text});
  }
  return {};
}

Status addBundle(Archive &archive, const std::string &path) {
  auto info = parseBundle(archive.mapped, path);
  if (!info)
    return info.error();
  archive.sections = info->sections;
  // Code for other machines, or of older compilers, may hide it.
  if (auto manifest = findManifest(archive.mapped, path))
    archive.manifest = *manifest;
  for (const BundleSection &section : info->sections)
    archive.entries.push_back(
        {section.kind, "section",
         section.target.empty() ? "any target" : section.target, section.size,
         nullptr});
  return {};
}

} // namespace

Result<Archive> moe::openArchive(const std::string &path) {
  Archive archive;
  // A file of weights alone may be any safetensors file.
  if (isCheckpoint(path) && !endsWith(path, ".safetensors")) {
    archive.kind = "checkpoint";
    if (Status status = addCheckpoint(archive, path); !status.ok())
      return status;
    return archive;
  }
  auto mapped = mapFile(path);
  if (!mapped)
    return mapped.error();
  archive.mapped = *mapped;
  Status status;
  if (mapped->substr(0, bundleMagic.size()) == bundleMagic) {
    archive.kind = "bundle";
    status = addBundle(archive, path);
  } else if (mapped->substr(0, elfMagic.size()) == elfMagic) {
    archive.kind = "compiled model";
    auto manifest = findManifest(*mapped, path);
    if (!manifest)
      return manifest.error();
    archive.manifest = *manifest;
  } else if (endsWith(path, ".npz")) {
    archive.kind = "npz";
    auto arrays = parseNpz(*mapped, path);
    if (!arrays)
      return arrays.error();
    archive.arrays = std::move(*arrays);
    addArrays(archive);
  } else if (endsWith(path, ".npy")) {
    archive.kind = "npy";
    auto array = parseNpy(*mapped, path);
    if (!array)
      return array.error();
    archive.arrays.push_back(std::move(*array));
    addArrays(archive);
  } else {
    archive.kind = "safetensors";
    status = addSafetensors(archive, path);
  }
  if (!status.ok())
    return status;
  return archive;
}

static std::string hex(const Sha256::Digest &digest) {
  std::string text;
  for (uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

Status moe::verifyArchive(const Archive &archive, const std::string &path) {
  if (archive.kind == "compiled model")
    return Status(Code::Unsupported,
                  quote(path) + " carries no hashes to verify; bundles (.moe) "
                                "and checkpoints that moe-opt wrote do");
  for (const BundleSection &section : archive.sections)
    if (Status status = verifySection(archive.mapped, section, path);
        !status.ok())
      return status;
  for (const FileHash &file : archive.hashes) {
    if (file.bytes.size() != file.size)
      return Status(Code::InvalidFile,
                    text(quote(file.name), " has ", file.bytes.size(),
                         " bytes, but was written with ", file.size));
    if (hex(Sha256::of(file.bytes)) != file.sha256)
      return Status(Code::InvalidFile,
                    quote(file.name) + " has changed since it was written: its "
                                       "SHA-256 is not that in config.json");
  }
  return {};
}
