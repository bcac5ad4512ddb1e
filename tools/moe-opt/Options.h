#ifndef MOE_TOOLS_MOEOPT_OPTIONS_H
#define MOE_TOOLS_MOEOPT_OPTIONS_H

#include "codegen/Compile.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace moe {

/// The command line of the product driver, as it stands.
struct Request {
  std::string input, output, emit, target, stopAfter, road, report, onnxMoE,
      cubin, compress, profile, base, instrument, shardSize;
  std::vector<std::string> banks, runs, texts, roles;
  char optLevel;
  bool tf32, fp8Inputs;
  bool verbose, listOps, noRaise, externalData;
  /// Given at all: an empty list of steps is a mistake.
  bool hasCompress, hasShardSize;
  /// Given at all: without a GPU it means nothing.
  bool hasCubin;
};

/// Fills `request`; false after a message about wrong usage.
bool parseArguments(int argc, char **argv, Request &request);

/// Whether `path` is weights without a graph, in Hugging Face's layout.
bool isCheckpoint(llvm::StringRef path);
/// Whether the input is weights without a graph, in Hugging Face's layout.
bool readsCheckpoint(const Request &request);
/// The kind of output that `--emit` or the output's name asks for.
llvm::Expected<Emit> kindOf(const Request &request);
/// The bytes that "5GB", "20MB" or "4096" mean.
llvm::Expected<uint64_t> sizeOf(llvm::StringRef text);
llvm::Expected<Phase> phaseOf(llvm::StringRef name);
llvm::Expected<Road> roadOf(llvm::StringRef name);
llvm::Expected<Cubin> cubinOf(llvm::StringRef name);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_OPTIONS_H
