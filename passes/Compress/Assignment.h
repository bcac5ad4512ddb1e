#ifndef MOE_PASSES_COMPRESS_ASSIGNMENT_H
#define MOE_PASSES_COMPRESS_ASSIGNMENT_H

#include "passes/Analysis/Numbers.h"
#include "llvm/ADT/ArrayRef.h"

namespace moe {

/// The permutation p with the greatest sum of `gain.at(i, p[i])`, for a square
/// matrix of finite numbers: the assignment problem, by shortest augmenting
/// paths (Jonker and Volgenant 1987), O(n^3).
std::vector<int64_t> assign(const Numbers &gain);

/// Kendall's tau of a permutation against the identity: the pairs that keep
/// their order minus those that do not, as a share of all (arXiv 2406.18219,
/// section 4). O(n log n).
double kendallTau(llvm::ArrayRef<int64_t> order);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_ASSIGNMENT_H
