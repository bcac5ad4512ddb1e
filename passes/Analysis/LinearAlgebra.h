#ifndef MOE_PASSES_ANALYSIS_LINEARALGEBRA_H
#define MOE_PASSES_ANALYSIS_LINEARALGEBRA_H

#include "mlir/Support/LLVM.h"
#include "passes/Analysis/Numbers.h"
#include <optional>

namespace moe {

/// `a b^T`, in f64, on all processors: rows of `a` times a `[out, in]` matrix.
Numbers timesTransposed(const Numbers &a, const Numbers &b);

/// The best approximation of rank `rank`, each factor with the roots of the
/// singular values; `moments` (one per column, or empty) weigh the error.
/// False where the numbers are not finite.
bool factorize(const Numbers &numbers, int64_t rank,
               llvm::ArrayRef<double> moments, Numbers &left, Numbers &right);

/// How later numbers of a row make up for what rounding the earlier ones has
/// cost (GPTQ, arXiv 2210.17323, section 3).
struct Compensation {
  /// Columns as they are rounded, those with the greatest moments first.
  std::vector<int64_t> order;
  /// The upper Cholesky factor of the inverse of the Gram matrix, in that
  /// order.
  Numbers factor;
};

/// For inputs with the sums of products `gram`, to any scale; a tenth of the
/// diagonal's mean is added to it, so that inputs that were never seen, or few
/// rows, do no harm. Nothing where that is not positive definite.
std::optional<Compensation> compensationOf(const Numbers &gram);

/// Lets `round` replace each number, column after column, the rows on all
/// processors; what is lost in one column is spread over the later ones, to
/// the least change of the products with the inputs.
void roundInOrder(
    const Numbers &numbers, const Compensation &compensation,
    llvm::function_ref<double(int64_t row, int64_t column, double number)>
        round);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_LINEARALGEBRA_H
