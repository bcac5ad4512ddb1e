#ifndef MOE_PASSES_ANALYSIS_LINEARALGEBRA_H
#define MOE_PASSES_ANALYSIS_LINEARALGEBRA_H

#include "passes/Analysis/Numbers.h"

namespace moe {

/// `a b^T`, in f64, on all processors: rows of `a` times a `[out, in]` matrix.
Numbers timesTransposed(const Numbers &a, const Numbers &b);

/// The best approximation of rank `rank`, each factor with the roots of the
/// singular values; `moments` (one per column, or empty) weigh the error.
/// False where the numbers are not finite.
bool factorize(const Numbers &numbers, int64_t rank,
               llvm::ArrayRef<double> moments, Numbers &left, Numbers &right);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_LINEARALGEBRA_H
