#ifndef MOE_PASSES_RAISE_NODESUPPORT_H
#define MOE_PASSES_RAISE_NODESUPPORT_H

#include "dialects/Onnx/OnnxOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/Raise/SymbolicShapes.h"
#include "llvm/ADT/DenseSet.h"
#include <optional>

namespace moe {
/// A node of the default domain without attributes.
onnx::NodeOp createNode(mlir::OpBuilder &builder, mlir::Location loc,
                        llvm::StringRef name, int64_t version,
                        mlir::ValueRange inputs, mlir::Type result);

/// The list that is attribute `name` in old versions of an operator and input
/// `i` later; nothing where it is absent or not constant.
std::optional<llvm::SmallVector<int64_t>>
listOf(onnx::NodeOp node, llvm::StringRef name, unsigned i);

/// `axis` counted from the front; nothing where there is none such.
std::optional<size_t> axisOf(int64_t axis, size_t rank);

/// The type, where `value` is a ranked tensor of f32; else null.
mlir::RankedTensorType f32Type(mlir::Value value);

/// True for arguments of the graph; those of a Loop's body are none.
bool isGraphArgument(mlir::Value value);

/// Whether `value` depends on constants and weights alone, by few nodes.
bool isConstant(mlir::Value value, unsigned depth = 6);

/// The stored weight behind `value`: the weight itself, or what a Cast to f32
/// widens. Null where it is none or has no element type that kernels read.
mlir::Value storedWeight(mlir::Value value);

/// An uninitialised tensor of `element` with the sizes of these dimensions.
mlir::Value
emptyLike(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type element,
          llvm::ArrayRef<std::pair<mlir::Value, int64_t>> dimensions);

/// `value` with its dimensions permuted, where `value` is no Transpose that
/// undoes it already.
mlir::Value transposed(mlir::OpBuilder &builder, mlir::Location loc,
                       mlir::Value value, llvm::ArrayRef<int64_t> perm);

/// A dimension of a tensor.
struct Dimension {
  mlir::Value tensor;
  int64_t index;
};
/// Ends the run with `message` where two sizes differ, unless they are known
/// not to; false where they are known to differ.
bool requireSame(mlir::OpBuilder &builder, mlir::Location loc,
                 SymbolicShapes &shapes, Dimension a, Dimension b,
                 llvm::StringRef message);

/// Replaces `old` by `value`, cast where the types are known differently.
void replaceValue(mlir::OpBuilder &builder, mlir::Value old, mlir::Value value);

/// Adds to `dead` what only computed `value`, which nothing reads any more. So
/// a pass need not erase what it may come across later.
void markDead(mlir::Value value, llvm::DenseSet<mlir::Operation *> &dead);

/// Erases what nothing reads any more.
void eraseDead(mlir::FunctionOpInterface function);
} // namespace moe

#endif // MOE_PASSES_RAISE_NODESUPPORT_H
