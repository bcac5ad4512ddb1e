#ifndef MOE_PASSES_RAISE_SYMBOLICSHAPES_H
#define MOE_PASSES_RAISE_SYMBOLICSHAPES_H

#include "dialects/Onnx/OnnxOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/StringMap.h"
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

namespace moe {
/// A size: a polynomial in symbols (open sizes of the graph) with integer
/// coefficients, in normal form, so that equal sizes compare equal.
class DimExpr {
public:
  DimExpr() = default;
  static DimExpr constant(int64_t value);
  static DimExpr symbol(unsigned id);

  std::optional<int64_t> asConstant() const;
  bool isConstant(int64_t value) const { return asConstant() == value; }
  bool operator==(const DimExpr &other) const { return terms == other.terms; }
  bool operator!=(const DimExpr &other) const { return terms != other.terms; }
  DimExpr operator+(const DimExpr &other) const;
  DimExpr operator-(const DimExpr &other) const;
  DimExpr operator*(const DimExpr &other) const;
  /// The quotient, where the division leaves nothing for all sizes.
  std::optional<DimExpr> dividedBy(const DimExpr &other) const;
  /// True where no sizes make it negative.
  bool isNonNegative() const;
  int64_t evaluate(llvm::ArrayRef<int64_t> values) const;
  /// Nothing where a symbol has no value.
  std::optional<int64_t>
  evaluate(llvm::ArrayRef<std::optional<int64_t>> values) const;

  /// Coefficients by product of symbols (sorted ids, repeated for powers).
  using Terms = std::map<llvm::SmallVector<unsigned, 2>, int64_t>;
  const Terms &getTerms() const { return terms; }

private:
  void add(llvm::ArrayRef<unsigned> product, int64_t coefficient);
  Terms terms;
};

using SymbolicShape = llvm::SmallVector<DimExpr, 4>;

/// The sizes of all values of a function in terms of open sizes: dimensions of
/// arguments (`moe.dims` says which are the same) and what no rule explains.
/// Follows small integer tensors too, so that shapes which the graph computes
/// are known. Values may be replaced while it lives, but not erased.
class SymbolicShapes {
public:
  explicit SymbolicShapes(mlir::FunctionOpInterface function);

  /// Null where the rank is unknown.
  const SymbolicShape *shape(mlir::Value value);
  /// The elements of an integer tensor of at most eight, null if not known.
  const SymbolicShape *elements(mlir::Value value);
  /// True where both are known and the same.
  bool sameShape(mlir::Value a, mlir::Value b);
  /// Values of the symbols in `value`'s shape that make it `sizes`; `first` is
  /// what a product of two leaves to the first. Empty where there are none.
  std::vector<std::optional<int64_t>>
  solve(mlir::Value value, llvm::ArrayRef<int64_t> sizes, int64_t first);
  unsigned symbolCount() const { return static_cast<unsigned>(origins.size()); }
  /// A size as an index: symbols are dimensions of values.
  mlir::Value materialize(mlir::OpBuilder &builder, mlir::Location loc,
                          const DimExpr &size);

private:
  using Known = std::optional<SymbolicShape>;
  DimExpr fresh(mlir::Value value, int64_t dim);
  DimExpr broadcast(const DimExpr &a, const DimExpr &b, mlir::Value result,
                    int64_t dim);
  Known infer(mlir::OpResult result);
  Known inferNode(onnx::NodeOp node, mlir::OpResult result);
  Known inferBroadcast(onnx::NodeOp node, mlir::OpResult result,
                       unsigned first);
  Known inferReshape(onnx::NodeOp node, mlir::OpResult result);
  Known inferMatMul(onnx::NodeOp node, mlir::OpResult result);
  Known inferSlice(onnx::NodeOp node);
  Known compute(mlir::OpResult result);
  Known computeNode(onnx::NodeOp node);
  Known computeArithmetic(onnx::NodeOp node);

  /// By value; addresses of what they hold do not change.
  std::unordered_map<const void *, Known> shapes, numbers;
  llvm::SmallVector<std::pair<mlir::Value, int64_t>> origins;
  llvm::StringMap<unsigned> names;
};
} // namespace moe

#endif // MOE_PASSES_RAISE_SYMBOLICSHAPES_H
