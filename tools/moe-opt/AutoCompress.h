#ifndef MOE_TOOLS_MOEOPT_AUTOCOMPRESS_H
#define MOE_TOOLS_MOEOPT_AUTOCOMPRESS_H

#include "passes/Compress/Compress.h"
#include <functional>

namespace moe {

/// What `--compress=auto{bytes=50%,max-loss=0.02}` asks for.
struct AutoRequest {
  double bytes = 1;   ///< share of the model's bytes
  double maxLoss = 0; ///< in bits per byte, or of the output error
};

/// The request, where `text` is one; nothing where it is a list of steps. Fails
/// where it is no good request.
llvm::Expected<std::optional<AutoRequest>> parseAuto(llvm::StringRef text);

/// A recipe that was tried.
struct Candidate {
  std::string steps;
  ModelCost cost;
  double predicted = 0;       ///< output error on the profile's sample
  std::optional<double> loss; ///< measured, in bits per byte
};

/// How recipes are judged: `apply` compresses a copy of the model and tells
/// cost and output error; `measure` (may be null) the bits per byte it loses.
struct AutoTools {
  /// Steps that change numbers, then those that store them; one may be empty.
  /// Gives all of a candidate but its name.
  std::function<llvm::Expected<Candidate>(llvm::StringRef shape,
                                          llvm::StringRef storage)>
      apply;
  std::function<llvm::Expected<double>(llvm::StringRef steps)> measure;
  std::function<void(llvm::StringRef)> progress;
};

/// Both parts of a candidate as one list of steps.
std::string joinSteps(llvm::StringRef shape, llvm::StringRef storage);

/// The recipe that loses least within the request, and all that were tried, in
/// `tried`. Recipes are looked at by their predicted error; the best of those
/// that fit, and of each kind of step, are measured. Fails where none keeps to
/// the request.
llvm::Expected<std::string> searchRecipe(const AutoRequest &request,
                                         const ModelCost &original,
                                         const AutoTools &tools,
                                         std::vector<Candidate> &tried);

/// All that were tried: the front, of which none is both smaller and better,
/// marked, and the one whose steps are `chosen`.
void printCandidates(llvm::raw_ostream &os, const ModelCost &original,
                     llvm::ArrayRef<Candidate> tried, llvm::StringRef chosen);
llvm::json::Array candidatesJSON(const ModelCost &original,
                                 llvm::ArrayRef<Candidate> tried,
                                 llvm::StringRef chosen);

} // namespace moe

#endif // MOE_TOOLS_MOEOPT_AUTOCOMPRESS_H
