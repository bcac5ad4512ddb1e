#ifndef MOE_PASSES_ANALYSIS_RECIPE_H
#define MOE_PASSES_ANALYSIS_RECIPE_H

#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/MatrixRows.h"
#include "passes/Analysis/Quantization.h"

namespace moe {
class BankOp;
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

/// Makes the bytes of a derived bank: any recipe but panels and plain numbers.
/// Fails with a diagnostic on the bank.
mlir::LogicalResult makeBank(BankOp bank, WeightSource &source,
                             std::string &bytes);

} // namespace moe

#endif // MOE_PASSES_ANALYSIS_RECIPE_H
