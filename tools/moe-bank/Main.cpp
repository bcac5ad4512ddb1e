// moe-bank: looks into files of weights and arrays.
#include "runtime/Bank/Safetensors.h"
#include "runtime/Bundle/Bundle.h"
#include "runtime/Bundle/Manifest.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Npz.h"
#include "runtime/Runner/Program.h"
#include "tools/moe-bank/Manifests.h"
#include "tools/moe-bank/Profiles.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

using namespace moe::rt;

namespace {

constexpr const char *usage =
    "usage: moe-bank ls FILE                  list what is in it\n"
    "       moe-bank cat FILE NAME [-o F.npy] print a tensor, or write it\n"
    "       moe-bank verify FILE              check everything, hashes too\n"
    "       moe-bank merge -o OUT FILE FILE.. add expert profiles up\n"
    "\n"
    "FILE: .safetensors, .npz, .npy, a bundle (.moe), library or executable\n"
    "made by moe-opt, or an expert profile (.moeprof) made by --profile\n";

/// One thing inside a file.
struct Entry {
  std::string name;
  std::string type;
  std::string shape;
  uint64_t size;
  moe_tensor tensor; // dtype 0 where it cannot be shown as numbers
};

/// A file of any kind; tensors point into `mapped` or `arrays`.
struct Archive {
  std::string kind;
  std::string_view mapped;
  std::string_view manifest; // of compiled models
  std::vector<Array> arrays;
  std::vector<BundleSection> sections;
  Profile profile;
  std::vector<Entry> entries;
};

bool endsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() &&
         text.substr(text.size() - end.size()) == end;
}

void addArrays(Archive &archive) {
  for (const Array &array : archive.arrays)
    archive.entries.push_back({array.name, dtypeName(array.tensor.dtype),
                               shapeText(array.tensor.shape, array.tensor.rank),
                               static_cast<uint64_t>(*byteSize(array.tensor)),
                               array.tensor});
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
  for (const ArchiveTensor &tensor : file->tensors) {
    Entry entry = {tensor.name,
                   tensor.dtype,
                   shapeText(tensor.shape.data(),
                             static_cast<int32_t>(tensor.shape.size())),
                   tensor.size,
                   {}};
    if (tensor.shape.size() <= MOE_MAX_RANK) {
      entry.tensor.dtype = safetensorsType(tensor.dtype);
      entry.tensor.rank = static_cast<int32_t>(tensor.shape.size());
      std::copy(tensor.shape.begin(), tensor.shape.end(), entry.tensor.shape);
      entry.tensor.data =
          const_cast<char *>(archive.mapped.data() + tensor.offset);
    }
    archive.entries.push_back(entry);
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
        {section.kind,
         "section",
         section.target.empty() ? "any target" : section.target,
         section.size,
         {}});
  return {};
}

Result<Archive> openArchive(const std::string &path) {
  auto mapped = mapFile(path);
  if (!mapped)
    return mapped.error();
  Archive archive;
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

Result<int> list(const Archive &archive, const std::string &path) {
  uint64_t total = 0;
  bool isElf = archive.kind == "compiled model";
  for (const Entry &entry : archive.entries) {
    total += entry.size;
    std::printf("%-48s %-9s %-20s %s\n", printable(entry.name).c_str(),
                printable(entry.type).c_str(), printable(entry.shape).c_str(),
                bytesText(static_cast<double>(entry.size)).c_str());
  }
  if (!isElf)
    std::printf("%zu entries, %s\n", archive.entries.size(),
                bytesText(static_cast<double>(total)).c_str());
  if (archive.manifest.empty())
    return ExitDone;
  Status status = moe::listManifest(archive.manifest, path);
  if (!status.ok())
    return status;
  return ExitDone;
}

/// Whole numbers to the last digit; floats so that reading gives them back.
std::string elementText(const moe_tensor &tensor, int64_t i) {
  if (tensor.dtype == MOE_I64)
    return std::to_string(static_cast<const int64_t *>(tensor.data)[i]);
  if (tensor.dtype == MOE_U64)
    return std::to_string(static_cast<const uint64_t *>(tensor.data)[i]);
  return number(elementAsDouble(tensor.data, tensor.dtype, i),
                tensor.dtype == MOE_F64 ? 17 : 9);
}

/// One line per innermost row.
void print(const moe_tensor &tensor) {
  int64_t count = *elementCount(tensor.shape, tensor.rank);
  int64_t row = tensor.rank ? tensor.shape[tensor.rank - 1] : 1;
  for (int64_t i = 0; i < count; ++i)
    std::printf("%s%c", elementText(tensor, i).c_str(),
                (i + 1) % row ? ' ' : '\n');
}

Result<int> show(const Archive &archive, const std::string &path,
                 const std::string &name, const std::string &output) {
  for (const Entry &entry : archive.entries) {
    if (entry.name != name)
      continue;
    if (!entry.tensor.dtype)
      return Status(Code::Unsupported, quote(name) + " is of type " +
                                           quote(entry.type) +
                                           ", which cannot be shown");
    if (output.empty()) {
      print(entry.tensor);
      return ExitDone;
    }
    Status status = writeNpy(output, entry.tensor);
    if (!status.ok())
      return status;
    return ExitDone;
  }
  return Status(Code::NotFound, quote(path) + " holds no " + quote(name) +
                                    "; `moe-bank ls` lists what it holds");
}

Result<int> verify(const Archive &archive, const std::string &path) {
  if (archive.kind == "compiled model")
    return Status(Code::Unsupported, quote(path) +
                                         " carries no hashes to verify; only "
                                         "bundles (.moe) do");
  for (const BundleSection &section : archive.sections) {
    Status status = verifySection(archive.mapped, section, path);
    if (!status.ok())
      return status;
  }
  std::printf("%s: %s with %zu entries, intact\n", printable(path).c_str(),
              archive.kind.c_str(), archive.entries.size());
  return ExitDone;
}

Result<int> runCommand(const std::string &command, const std::string &path,
                       const std::string &name, const std::string &output) {
  auto archive = openArchive(path);
  if (!archive)
    return archive.error();
  if (command == "ls" && archive->kind == "expert profile") {
    moe::listProfile(archive->profile);
    return ExitDone;
  }
  if (command == "ls")
    return list(*archive, path);
  if (command == "cat")
    return show(*archive, path, name, output);
  return verify(*archive, path);
}

} // namespace

int main(int argc, char **argv) {
  cleanUpOnInterrupt();
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (!arguments.empty() &&
      (arguments[0] == "--help" || arguments[0] == "-h")) {
    std::fputs(usage, stdout);
    return ExitDone;
  }
  size_t count = arguments.size();
  if (count >= 4 && arguments[0] == "merge" && arguments[1] == "-o") {
    Status status = moe::mergeProfiles(
        arguments[2], {arguments.begin() + 3, arguments.end()});
    if (status.ok())
      return ExitDone;
    std::fprintf(stderr, "moe-bank: error: %s\n", status.message.c_str());
    return ExitFailed;
  }
  bool isCat = count >= 1 && arguments[0] == "cat";
  bool valid =
      isCat ? count == 3 || (count == 5 && arguments[3] == "-o")
            : count == 2 && (arguments[0] == "ls" || arguments[0] == "verify");
  if (!valid) {
    std::fputs(usage, stderr);
    return ExitUsage;
  }
  Result<int> code =
      runCommand(arguments[0], arguments[1], isCat ? arguments[2] : "",
                 count == 5 ? arguments[4] : "");
  if (!code) {
    std::fprintf(stderr, "moe-bank: error: %s\n", code.error().message.c_str());
    return ExitFailed;
  }
  if (std::fflush(stdout) != 0) {
    std::fputs("moe-bank: error: cannot write standard output\n", stderr);
    return ExitFailed;
  }
  return *code;
}
