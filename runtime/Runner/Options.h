// The command line of moe-run and of every executable that moe-opt makes.
#ifndef MOE_RUNTIME_RUNNER_OPTIONS_H
#define MOE_RUNTIME_RUNNER_OPTIONS_H

#include "runtime/Core/Status.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace moe::rt {

using Assignment = std::pair<std::string, std::string>; // name=value

struct Options {
  std::string model; // moe-run only
  bool help = false, version = false, licenses = false;

  std::vector<Assignment> inputs; // name=file.npy
  std::vector<std::string> inputArchives;
  std::vector<Assignment> outputs; // name=file.npy
  std::string outputArchive;
  std::string expect;
  double rtol = 1e-3, atol = 1e-5;

  int64_t threads = 0;
  std::string device = "auto"; ///< or "emu"
  bool verbose = false;
  int64_t expertsPerToken = 0; // 0: not given
  bool bench = false;
  int64_t benchRuns = 0;        // 0: as many as fill two seconds
  std::vector<Assignment> dims; // symbol=size
  std::string profile, trace;
  uint64_t profileSeed = 0;
  std::vector<Assignment> roles; // input=role

  std::vector<std::string> evalFiles;
  int64_t evalBatch = 0; // 0: chosen by us

  bool generate = false;
  std::string prompt;
  int64_t tokens = 200;
  double temperature = 0;
  int64_t topK = 0; // 0: all
  uint64_t seed = 0;

  /// What --dim says of a symbol, or -1.
  int64_t sizeOf(const std::string &symbol) const;
};

/// Parses argv[1..]. Errors are wrong usage: exit code 2. A model's path is
/// accepted only `withModel`, and then required.
Result<Options> parseOptions(int argc, const char *const *argv, bool withModel);

/// The part of --help that lists the flags.
std::string optionsHelp();

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_OPTIONS_H
