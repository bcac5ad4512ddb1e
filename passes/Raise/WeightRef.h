#ifndef MOE_PASSES_RAISE_WEIGHTREF_H
#define MOE_PASSES_RAISE_WEIGHTREF_H

#include "dialects/MoE/MoEOps.h"
#include "dialects/Onnx/OnnxOps.h"

namespace moe {
/// A constant seen through reshapes, transposes and slices: element i of the
/// view is element `offset + sum i[d] * strides[d]` of `root`, which is an
/// `onnx.constant` or a `moe.weight`. So every element of a raised weight is
/// an element of the file.
struct WeightRef {
  mlir::Value root;
  int64_t offset = 0;
  llvm::SmallVector<int64_t, 4> shape, strides;

  explicit operator bool() const { return static_cast<bool>(root); }
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  /// The view with dimension `dim` fixed at `index`.
  WeightRef at(int64_t dim, int64_t index) const;
  /// The view `start`, `start + step`, ... (`count` of them) along `dim`.
  WeightRef range(int64_t dim, int64_t start, int64_t count,
                  int64_t step) const;
  mlir::RankedTensorType rootType() const {
    return mlir::cast<mlir::RankedTensorType>(root.getType());
  }
};

/// True where the view is its root as it is.
bool isWhole(const WeightRef &ref);

/// Looks through shape-only nodes, Gather, Slice and Split with constant
/// positions, and casts between float types, down to a constant. Null where
/// the value is not constant or is computed.
WeightRef resolveWeight(mlir::Value value);

/// Elements of a small integer constant (shapes, axes, indices), also behind
/// Identity, Cast and Unsqueeze. Nothing where the value is not constant.
std::optional<llvm::SmallVector<int64_t>> constantInts(mlir::Value value);

/// The float of a one-element constant.
std::optional<double> constantFloat(mlir::Value value);

/// Turns references to constants into banks and slices of them.
class BankNames {
public:
  explicit BankNames(mlir::ModuleOp module) : module(module), symbols(module) {}

  /// The bank of a root: that of the `moe.weight`, or a new bank that holds
  /// the numbers of the `onnx.constant`.
  mlir::FlatSymbolRefAttr bankOf(mlir::Value root);
  /// `ref` (rank 1 or 2, `[out, in]`) as a slice of its bank; null where no
  /// slice says it (dimensions merged or out of order).
  SliceAttr slice(const WeightRef &ref);
  /// The same, or the quantised matrix that it is made of.
  SliceAttr storedSlice(const WeightRef &ref);
  mlir::SymbolTable &getSymbols() { return symbols; }
  /// A new bank that `recipe` makes, named after `from`, as a value.
  mlir::Value derive(mlir::OpBuilder &builder, mlir::Location loc,
                     llvm::StringRef from, mlir::Attribute recipe,
                     mlir::RankedTensorType type);
  /// Removes the new banks that nothing names: those of layers that could not
  /// be raised in the end.
  void eraseUnused();

private:
  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  llvm::DenseMap<mlir::Value, mlir::FlatSymbolRefAttr> banks;
};
} // namespace moe

#endif // MOE_PASSES_RAISE_WEIGHTREF_H
