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
/// its values is asked for its scales next, and all experts of a layer read
/// inputs with the same sums of products.
struct RecipeMemo {
  mlir::Attribute quantizedOf; ///< the recipe without its part
  QuantizedMatrix quantized;
  mlir::Attribute factoredOf;
  Numbers left, right;
  mlir::Attribute compensationOf; ///< the sums of products
  Compensation compensation;
  std::vector<double> moments; ///< their diagonal
};

/// The numbers of a slice, of a matrix in factors, or that a recipe makes;
/// vectors are columns. `at` is where symbols are looked up and errors are
/// reported.
mlir::FailureOr<Numbers> evaluate(mlir::Operation *at, mlir::Attribute recipe,
                                  WeightSource &source);

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
