#ifndef MOE_PASSES_COMPRESS_AUTOSEARCH_H
#define MOE_PASSES_COMPRESS_AUTOSEARCH_H

#include "passes/Compress/AutoRequest.h"
#include "runtime/Bank/LedgerTable.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/JSON.h"
#include <functional>
#include <vector>

namespace moe {

/// A recipe that was tried. The model that it makes is not kept: the steps make
/// it again, the same to the bit.
struct Candidate {
  std::string steps;
  int64_t bytes = 0;
  double predicted = 0;       ///< output error on the profile's sample
  std::optional<double> loss; ///< measured, in bits per byte
};

/// Of recipes that do the same, the one to take: a step may change nothing,
/// because numbers of experts are whole.
bool isSimpler(const Candidate &a, const Candidate &b);

/// What a search has seen.
struct AutoTrials {
  int64_t originalBytes = 0;
  std::vector<Candidate> tried;         ///< by predicted error
  std::vector<rt::RefusedLine> refused; ///< not possible, or not measured
  std::string chosen; ///< steps; empty where none keeps to the request

  double shareOf(const Candidate &candidate) const;
  /// Is no other smaller or better in prediction, and in the other as good?
  /// Of equals only the simplest is.
  bool isOnFront(const Candidate &candidate) const;
  /// All that were tried, the front and the chosen one marked; then what was
  /// refused, and why.
  void print(llvm::raw_ostream &os) const;
  llvm::json::Array toJSON() const;
  llvm::json::Array refusedJSON() const;
};

/// How recipes are judged.
struct AutoTools {
  /// Compresses a copy of the model: by steps that change numbers, then by
  /// those that store them; one may be empty. Gives all of a candidate but its
  /// name. All that share a shape come one after the other, it alone first.
  std::function<llvm::Expected<Candidate>(llvm::StringRef shape,
                                          llvm::StringRef storage)>
      apply;
  /// The bits per byte that the model loses by the steps; may be null.
  std::function<llvm::Expected<double>(llvm::StringRef steps)> measure;
  std::function<void(llvm::StringRef)> progress;
};

/// Both parts of a recipe as one list of steps.
std::string joinSteps(llvm::StringRef shape, llvm::StringRef storage);

/// Chooses the recipe that loses least within the request. Recipes are looked
/// at by their predicted error; where there is a way to measure, the best of
/// each kind of step and of those that fit are. One that fails is refused, and
/// the search goes on. Fails where none keeps to the request; `trials`, whose
/// `originalBytes` must be set, then holds what has been seen.
llvm::Error searchRecipe(const AutoRequest &request, const AutoTools &tools,
                         AutoTrials &trials);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_AUTOSEARCH_H
