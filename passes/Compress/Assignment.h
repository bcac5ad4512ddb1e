#ifndef MOE_PASSES_COMPRESS_ASSIGNMENT_H
#define MOE_PASSES_COMPRESS_ASSIGNMENT_H

#include "passes/Analysis/Numbers.h"

namespace moe {

/// The permutation p with the greatest sum of `gain.at(i, p[i])`, for a square
/// matrix of finite numbers: the assignment problem, by shortest augmenting
/// paths (Jonker and Volgenant 1987), O(n^3).
std::vector<int64_t> assign(const Numbers &gain);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_ASSIGNMENT_H
