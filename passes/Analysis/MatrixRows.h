#ifndef MOE_PASSES_ANALYSIS_MATRIXROWS_H
#define MOE_PASSES_ANALYSIS_MATRIXROWS_H

#include "mlir/IR/SymbolTable.h"
#include "passes/Analysis/Numbers.h"

namespace moe {
class SliceAttr;
class WeightSource;

/// The numbers of a slice, what quantisation made of them undone. Fails with an
/// error on `at`, where symbols are looked up.
mlir::FailureOr<Numbers> sliceNumbers(mlir::Operation *at, SliceAttr slice,
                                      WeightSource &source);

/// The matrix of `evaluate`, of which slices of plain numbers are read a few
/// rows at a time, by any thread.
class MatrixRows {
public:
  static mlir::FailureOr<MatrixRows>
  open(mlir::Operation *at, mlir::Attribute recipe, WeightSource &source);

  int64_t rows() const { return numRows; }
  int64_t columns() const { return numColumns; }
  /// A `RowReader`.
  const double *read(int64_t first, int64_t last, double *buffer) const;
  /// Gives back the pages that were read.
  void close(WeightSource &source);

  /// The elements of a slice as they are stored, scales aside.
  mlir::LogicalResult openSlice(mlir::Operation *at, SliceAttr slice,
                                WeightSource &source);
  mlir::Type elementType() const { return element; }

private:
  int64_t numRows = 0, numColumns = 0;
  Numbers numbers; ///< where they are in memory
  /// Else the bytes of a bank, and how the slice lies in it.
  llvm::StringRef bytes;
  mlir::Type element;
  int64_t offset = 0, strideRow = 0, strideColumn = 0;
  bool wasMade = false;
};

/// The sum of the squares of all numbers, on all processors.
mlir::FailureOr<double>
sumOfSquares(mlir::Operation *at, mlir::Attribute recipe, WeightSource &source);

/// The sizes of a slice in numbers: `[out, in]`, or `[n]` of a vector. Fails
/// with an error on `at`.
mlir::FailureOr<llvm::SmallVector<int64_t, 2>>
shapeOf(mlir::Operation *at, SliceAttr slice, const mlir::SymbolTable &symbols);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_MATRIXROWS_H
