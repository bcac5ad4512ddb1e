#ifndef MOE_PASSES_COMPRESS_MATRICES_H
#define MOE_PASSES_COMPRESS_MATRICES_H

#include "passes/Compress/Calibration.h"

namespace moe {

/// The names of an expert's matrices that are there, of `gate`, `up`, `down`.
llvm::SmallVector<llvm::StringRef> matrixNames(ExpertOp expert);

/// Rows and columns of a matrix that is a slice, as `[out, in]`; vectors have
/// one column. Fails with an error on the expert.
mlir::FailureOr<std::pair<int64_t, int64_t>>
shapeOf(ExpertOp expert, llvm::StringRef matrix,
        const mlir::SymbolTable &symbols);

/// The element type that the numbers of a slice have when they are plain: the
/// bank's, or f32 where it is quantised.
mlir::FloatType plainType(SliceAttr slice, const mlir::SymbolTable &symbols);

/// Replaces a matrix or vector of the expert by what `recipe` makes of shape
/// `shape`, stored like the old one.
void replaceMatrix(const MoELayer &layer, ExpertOp expert,
                   llvm::StringRef matrix, mlir::Attribute recipe,
                   llvm::ArrayRef<int64_t> shape, mlir::SymbolTable &symbols);

/// Mean squares of what the matrices of entry `e` read: of the layer's inputs
/// (those routed to the expert, where the profile knows them) for `gate` and
/// `up`, of its hidden numbers on the sample for `down`.
struct Moments {
  std::vector<double> input, hidden;
};
mlir::FailureOr<Moments> momentsOf(const MoELayer &layer, int64_t e,
                                   const Calibration &calibration,
                                   const Profile &profile,
                                   WeightSource &weights);

/// A bank of f32 numbers, for recipes.
BankOp addNumbers(const MoELayer &layer, mlir::SymbolTable &symbols,
                  const llvm::Twine &name, llvm::ArrayRef<double> numbers);

} // namespace moe

#endif // MOE_PASSES_COMPRESS_MATRICES_H
