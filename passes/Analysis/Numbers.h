#ifndef MOE_PASSES_ANALYSIS_NUMBERS_H
#define MOE_PASSES_ANALYSIS_NUMBERS_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <vector>

namespace moe {

/// A matrix in row-major order; a vector is a matrix of one column, as slices
/// of rank 1 are.
struct Numbers {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;

  Numbers() = default;
  Numbers(int64_t rows, int64_t columns)
      : rows(rows), columns(columns),
        values(static_cast<size_t>(rows * columns)) {}
  double &at(int64_t row, int64_t column) {
    return values[row * columns + column];
  }
  double at(int64_t row, int64_t column) const {
    return values[row * columns + column];
  }
};

/// Rows for columns.
Numbers transposed(const Numbers &numbers);

/// Is none of them infinite or no number?
bool areFinite(llvm::ArrayRef<double> numbers);

/// True for the types that weights may have: floats of whole bytes, integers
/// of 4 and 8 bits.
bool isNumberType(mlir::Type type);

/// `count` numbers of type `type` (`isNumberType`), the first at element
/// `index` of `bytes`, `stride` elements apart; 4-bit ones lie two to a byte,
/// the first in the low half.
void readNumbers(llvm::StringRef bytes, mlir::Type type, int64_t index,
                 int64_t stride, int64_t count, double *to);

/// The first of the floats in `bytes` that is infinite or no number.
std::optional<int64_t> firstNotFinite(llvm::StringRef bytes,
                                      mlir::FloatType type);

/// The bytes of `values` as floats of type `type`, each rounded once.
std::string writeNumbers(llvm::ArrayRef<double> values, mlir::FloatType type);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_NUMBERS_H
