#ifndef MOE_CODEGEN_LINK_PACKEDMATRIX_H
#define MOE_CODEGEN_LINK_PACKEDMATRIX_H

#include "dialects/MoE/MoEOps.h"
#include <memory>

namespace moe {
class WeightSource;

/// A matrix to be packed into panels, its bytes at hand.
struct PackedMatrix {
  virtual ~PackedMatrix() = default;
  /// Bytes of a panel.
  virtual int64_t bytes() const = 0;
  /// Writes panels `first` to `first + count` to `to`. Threads may do so at the
  /// same time.
  virtual void pack(int64_t first, int64_t count, char *to) const = 0;
};

/// Bytes that a matrix reads, and the bank they belong to.
struct UsedBytes {
  llvm::StringRef bytes;
  BankOp bank;
};

/// The matrix that `runs` of columns make, one of those of `recipe`, which is
/// `bank`'s; adds what it reads to `used`. Fails with a diagnostic on `bank`.
mlir::FailureOr<std::unique_ptr<PackedMatrix>>
openMatrix(BankOp bank, PanelsAttr recipe, mlir::ArrayAttr runs,
           WeightSource &source, llvm::SmallVectorImpl<UsedBytes> &used);
mlir::FailureOr<std::unique_ptr<PackedMatrix>>
openMatrix(BankOp bank, QuantPanelsAttr recipe, mlir::ArrayAttr runs,
           WeightSource &source, llvm::SmallVectorImpl<UsedBytes> &used);

} // namespace moe

#endif // MOE_CODEGEN_LINK_PACKEDMATRIX_H
