#ifndef MOE_TOOLS_MOEOPT_COMPRESSION_H
#define MOE_TOOLS_MOEOPT_COMPRESSION_H

#include "codegen/Compile.h"
#include "passes/Compress/AutoRequest.h"
#include "passes/Compress/Compress.h"
#include "passes/Compress/Profile.h"
#include "passes/Compress/RouterNorms.h"

namespace moe {

/// `--compress`, as the driver runs it.
class Compression {
public:
  std::unique_ptr<Profile> profile; ///< may be null
  std::optional<RouterNorms> base;  ///< of `--base`
  std::vector<std::string> texts;   ///< of `--eval`
  std::string modelName;            ///< for messages
  bool isCheckpoint = false;        ///< weights without a graph
  /// Of the model before compression, where profiles make it needed; set by
  /// `run`.
  std::string fingerprint;

  llvm::Error parse(llvm::StringRef text);
  /// Whether a search chooses the steps; it ranks them by the profile.
  bool isSearch() const { return request.has_value(); }

  /// Raises the layers of an imported module, compresses it, prints what that
  /// cost and saved, and puts it into the facts. An error without text has been
  /// reported as a diagnostic.
  llvm::Error run(mlir::ModuleOp module, WeightSource &weights,
                  const CompileOptions &options, llvm::json::Object &facts);

private:
  llvm::Error search(mlir::ModuleOp module, WeightSource &weights,
                     const CompileOptions &options, llvm::json::Object &facts);

  std::optional<AutoRequest> request;
  std::vector<CompressStep> steps;
  /// Bits per byte, once they are known; of the result also where the search
  /// has measured it.
  std::optional<double> originalBits, resultBits;
};

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_COMPRESSION_H
