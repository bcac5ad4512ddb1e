#ifndef MOE_PASSES_COMPRESS_SCORES_H
#define MOE_PASSES_COMPRESS_SCORES_H

#include "passes/Compress/Calibration.h"

namespace moe {

/// How experts are ranked; greater is worth more. An expert that aliases name
/// is scored by all columns that it serves, and they like it.
///
/// - `frequency`: share of a layer's selections (arXiv 2310.01334, section 3.2)
/// - `probability`: mean probability over tokens (arXiv 2406.02500)
/// - `saliency`: mean of weight times norm of output, over the tokens that
///   chose the expert (REAP, arXiv 2510.13999)
/// - `magnitude`: norm of all its weights; needs no profile
std::optional<mlir::FailureOr<std::vector<double>>>
scoreExperts(const MoELayer &layer, llvm::StringRef score,
             const Profile *profile, WeightSource &weights, int64_t rows);

/// What dropping experts does to a layer's output on a sample (arXiv
/// 2402.14800, section 3.1): `|Z - Z'|`, where the gate chooses again among
/// those that stay, or (`asNull`) gets nothing for those that are gone. Outputs
/// of all experts are computed once; a subset costs a few products of their
/// inner products.
class Reconstruction {
public:
  static mlir::FailureOr<Reconstruction> of(const Calibration &calibration,
                                            int64_t experts,
                                            WeightSource &weights,
                                            bool asNull = false);
  double loss(llvm::ArrayRef<int64_t> kept) const;
  /// Groups of the gate that must stay equally large, 0 where there are none.
  int64_t getGroups() const { return asNull ? 0 : calibration->getGroups(); }

private:
  const Calibration *calibration = nullptr;
  int64_t experts = 0;
  bool asNull = false;
  Numbers weights;
  std::vector<double> gram; ///< `[rows, experts, experts]`
};

/// The `keep` experts of least loss: all subsets (`width` 0), or the best
/// `width` ones, one expert fewer at a time (1: greedy). Groups, of which
/// `keep` must be a multiple, lose equally many: in turn, where it is one at a
/// time.
std::vector<int64_t> searchSubset(const Reconstruction &reconstruction,
                                  int64_t experts, int64_t keep, int64_t width);

/// The number of subsets of `keep` among `experts`; saturates.
int64_t countSubsets(int64_t experts, int64_t keep);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_SCORES_H
