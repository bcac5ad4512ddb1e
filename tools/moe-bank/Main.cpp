// moe-bank: looks into files of weights and arrays.
#include "runtime/Bank/Safetensors.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Npy.h"
#include "runtime/Runner/Program.h"
#include "tools/moe-bank/Archive.h"
#include "tools/moe-bank/Diff.h"
#include "tools/moe-bank/Manifests.h"
#include "tools/moe-bank/Profiles.h"

#include <algorithm>
#include <cstdio>

using namespace moe::rt;
using moe::Archive;
using moe::Entry;

namespace {

constexpr const char *usage =
    "usage: moe-bank ls FILE                  list what is in it\n"
    "       moe-bank cat FILE NAME [-o F.npy] print a tensor, or write it\n"
    "       moe-bank verify FILE              check everything, hashes too\n"
    "       moe-bank diff FILE FILE           what differs between the two\n"
    "       moe-bank merge -o OUT FILE FILE.. add expert profiles up\n"
    "\n"
    "FILE: .safetensors, a checkpoint's folder, .npz, .npy, a bundle (.moe),\n"
    "library or executable made by moe-opt, or an expert profile (.moeprof)\n"
    "made by --profile\n";

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
  if (archive.ledger)
    if (Status status = moe::listLedger(*archive.ledger, path); !status.ok())
      return status;
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
    if (!entry.tensor.dtype && safetensorsType(entry.type))
      return Status(Code::Unsupported,
                    text(quote(name), " has more than ", MOE_MAX_RANK,
                         " dimensions, so it cannot be shown"));
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
  Status status = moe::verifyArchive(archive, path);
  if (!status.ok())
    return status;
  bool unhashed = archive.hashes.empty() && archive.sections.empty();
  std::printf("%s: %s with %zu entries, intact%s\n", printable(path).c_str(),
              archive.kind.c_str(), archive.entries.size(),
              unhashed ? " (it has no hashes)" : "");
  return ExitDone;
}

Result<int> diff(const Archive &archive, const std::string &other) {
  auto second = moe::openArchive(other);
  if (!second)
    return second.error();
  for (const Archive *one : {&archive, static_cast<const Archive *>(&*second)})
    if (one->kind == "compiled model" || one->kind == "bundle")
      return Status(Code::Unsupported,
                    "a " + one->kind +
                        " has no tensors to compare; checkpoints, "
                        ".safetensors, .npz and .npy have");
  return moe::printDifferences(archive, *second) ? ExitDone : ExitDiffers;
}

Result<int> runCommand(const std::string &command, const std::string &path,
                       const std::string &name, const std::string &output) {
  auto archive = moe::openArchive(path);
  if (!archive)
    return archive.error();
  if (command == "ls" && archive->kind == "expert profile") {
    moe::listProfile(archive->profile);
    return ExitDone;
  }
  if (command == "ls")
    return list(*archive, path);
  if (command == "diff")
    return diff(*archive, name);
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
  bool isDiff = count >= 1 && arguments[0] == "diff";
  bool valid = isDiff  ? count == 3
               : isCat ? count == 3 || (count == 5 && arguments[3] == "-o")
                       : count == 2 &&
                             (arguments[0] == "ls" || arguments[0] == "verify");
  if (!valid) {
    std::fputs(usage, stderr);
    return ExitUsage;
  }
  Result<int> code = runCommand(arguments[0], arguments[1],
                                isCat || isDiff ? arguments[2] : "",
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
