#ifndef MOE_PASSES_COMPRESS_SIMILARITY_H
#define MOE_PASSES_COMPRESS_SIMILARITY_H

#include "passes/Compress/Calibration.h"

namespace moe {

/// How alike the entries of a layer are, `[experts, experts]`:
///
/// - `router-logits`: cosines of columns of logits (arXiv 2310.01334)
/// - `outputs`: linear CKA of outputs on the sample (arXiv 1905.00414)
/// - `weights`: cosines of all weights in a row
///
/// Fails with an error; nothing where there is no such similarity.
std::optional<mlir::FailureOr<Numbers>>
similarityOf(const MoELayer &layer, llvm::StringRef kind,
             const Profile *profile, WeightSource &weights, int64_t rows);

/// Linear CKA of two sets of features of the same rows.
double linearCKA(const Numbers &a, const Numbers &b);

using Groups = std::vector<std::vector<int64_t>>;

/// The `count` experts of most use lead groups; each other joins the leader
/// most similar to it, in order of use. Leaders stand first, groups in the
/// order of their lowest member.
Groups groupByLeaders(llvm::ArrayRef<double> use, const Numbers &similarity,
                      int64_t count);

/// Average linkage until `count` groups are left; ties to the lowest pair.
Groups groupByLinkage(const Numbers &similarity, int64_t count);

/// Groups per layer where `average` on average are spent on layers whose use is
/// spread most (arXiv 2310.01334, section 3.2): `use` are shares of each layer.
std::vector<int64_t> spendGroups(llvm::ArrayRef<std::vector<double>> use,
                                 int64_t average);

/// The order of each expert's hidden units that matches `reference` most; one
/// is found per processor. Fails with an error.
mlir::FailureOr<std::vector<std::vector<int64_t>>>
alignedOrders(const MoELayer &layer, ExpertOp reference,
              llvm::ArrayRef<ExpertOp> experts, WeightSource &weights);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_SIMILARITY_H
