#ifndef MOE_PASSES_ANALYSIS_RECIPE_H
#define MOE_PASSES_ANALYSIS_RECIPE_H

#include "mlir/IR/SymbolTable.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Quantization.h"

namespace moe {
class BankOp;
class SliceAttr;
class WeightSource;

/// What the last recipes made and others may want too: a matrix quantised for
/// its values is asked for its scales next.
struct RecipeMemo {
  mlir::Attribute quantizedOf; ///< the recipe without its part
  QuantizedMatrix quantized;
  struct Factors {
    mlir::Attribute of; ///< the recipe of the left one
    Numbers left, right;
  };
  std::vector<Factors> factored;
  /// What sums of products make: of those that lie in a bank, which all experts
  /// of a layer share, and of those that are made for one.
  struct Compensated {
    mlir::Attribute gram;
    Compensation compensation;
    std::vector<double> moments; ///< the diagonal
  } shared, own;
};

/// The numbers of a slice, of a matrix in factors, or that a recipe makes;
/// vectors are columns. `at` is where symbols are looked up and errors are
/// reported.
mlir::FailureOr<Numbers> evaluate(mlir::Operation *at, mlir::Attribute recipe,
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

/// Makes the bytes of a derived bank: any recipe but panels and plain numbers.
/// Fails with a diagnostic on the bank.
mlir::LogicalResult makeBank(BankOp bank, WeightSource &source,
                             std::string &bytes);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_RECIPE_H
