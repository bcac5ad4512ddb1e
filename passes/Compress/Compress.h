#ifndef MOE_PASSES_COMPRESS_COMPRESS_H
#define MOE_PASSES_COMPRESS_COMPRESS_H

#include "passes/Compress/Ledger.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

namespace moe {
class OutputError;
class Profile;
class WeightSource;

/// A step of `--compress`.
struct CompressStep {
  std::string text;     ///< as the user wrote it
  std::string pipeline; ///< "moe-prune-experts{keep=6}"
  std::vector<std::pair<std::string, std::string>> options; ///< as in pipeline
};

/// Takes `prune-experts{keep=6},quantize{int4}` apart. In the braces stand
/// options of the pass, set apart by commas or spaces; a word alone is the
/// option that the step mostly needs (a type, a score, a method). Fails where
/// a step is not known or not well formed; what its pass takes is checked by
/// `checkOptions`.
llvm::Expected<std::vector<CompressStep>> parseSteps(llvm::StringRef text);

/// Runs the steps on a module whose MoE layers are raised, and enters each in
/// the ledger; `begin` is told each step's text. Output errors are against
/// `reference`, or the module as it came. Errors are diagnostics.
mlir::LogicalResult
compressModule(mlir::ModuleOp module, llvm::ArrayRef<CompressStep> steps,
               WeightSource &weights, const Profile *profile, Ledger &ledger,
               llvm::function_ref<void(llvm::StringRef)> begin,
               const OutputError *reference = nullptr);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_COMPRESS_H
