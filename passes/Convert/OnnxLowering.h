#ifndef MOE_PASSES_CONVERT_ONNXLOWERING_H
#define MOE_PASSES_CONVERT_ONNXLOWERING_H

#include "dialects/Onnx/OnnxOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace moe {

/// One node on its way to linalg. Elements are computed one by one from the
/// result's indices (`compute`), which makes every rule of broadcasting and
/// indexing readable; matrix products have a form of their own. Arithmetic of
/// f16 and bf16 happens in f32 and is rounded once per node.
class NodeLowering {
public:
  using Body =
      llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::ValueRange)>;

  NodeLowering(mlir::OpBuilder &builder, onnx::NodeOp node,
               llvm::SmallVector<mlir::Value> inputs)
      : builder(builder), loc(node.getLoc()), node(node), in(std::move(inputs)),
        out(node.getNumResults()) {}

  mlir::OpBuilder &builder;
  mlir::Location loc;
  onnx::NodeOp node;
  llvm::SmallVector<mlir::Value> in; // null where absent
  llvm::SmallVector<mlir::Value> out;

  bool has(unsigned i) const { return i < in.size() && in[i]; }
  /// ONNX's type of input `i` (signedness and all).
  mlir::Type elementOf(unsigned i) {
    mlir::Type type = node.getInputs()[i].getType();
    if (auto types = node->getAttrOfType<mlir::ArrayAttr>("onnx_input_types"))
      type = mlir::cast<mlir::TypeAttr>(types[i]).getValue();
    return mlir::cast<mlir::TensorType>(type).getElementType();
  }
  mlir::Type resultElement(unsigned i = 0) {
    return mlir::cast<mlir::TensorType>(node.getOutputs()[i].getType())
        .getElementType();
  }
  int64_t rank(unsigned i) {
    return mlir::cast<mlir::RankedTensorType>(in[i].getType()).getRank();
  }

  // --- index arithmetic ---
  mlir::Value index(int64_t value);
  /// Size of dimension `d` of a tensor.
  mlir::Value dim(mlir::Value tensor, int64_t d);
  llvm::SmallVector<mlir::Value> dims(mlir::Value tensor);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value product(mlir::ValueRange values);
  /// `a == b ? x : y` on indices.
  mlir::Value selectEqual(mlir::Value a, mlir::Value b, mlir::Value x,
                          mlir::Value y);
  mlir::Value min(mlir::Value a, mlir::Value b);
  mlir::Value max(mlir::Value a, mlir::Value b);
  /// An index counted from the end where it is negative.
  mlir::Value fromEnd(mlir::OpBuilder &b, mlir::Value value, mlir::Value size);
  /// Element `i` of an integer tensor of rank 1 (or a scalar), as an index.
  mlir::Value intAt(mlir::Value tensor, int64_t i);
  /// Number of elements of a rank-1 tensor; failure where it is not static.
  mlir::FailureOr<int64_t> staticLength(mlir::Value tensor);
  /// The values of an integer input that is a constant.
  std::optional<llvm::SmallVector<int64_t>> constantInts(unsigned i);
  /// The axes of Squeeze, Unsqueeze and reductions: an attribute in old
  /// versions, a constant input later; empty where there are none.
  mlir::FailureOr<llvm::SmallVector<int64_t>> axes(unsigned input);
  /// Axis of a tensor of rank `rank`, counted from the front.
  int64_t axis(int64_t axis, int64_t rank) {
    return axis < 0 ? axis + rank : axis;
  }
  /// Ends the run unless `condition` holds; the message names the node.
  void require(mlir::OpBuilder &b, mlir::Value condition, llvm::StringRef what);

  // --- tensors ---
  /// A tensor of `element` (ONNX's type) whose element at indices is `body`'s.
  mlir::Value compute(mlir::Type element, mlir::ValueRange sizes, Body body);
  /// An element, widened to the type that arithmetic on it uses.
  mlir::Value read(mlir::OpBuilder &b, mlir::Value tensor,
                   mlir::ValueRange indices);
  /// Sizes of the broadcast of several tensors.
  llvm::SmallVector<mlir::Value> broadcastSizes(mlir::ValueRange tensors);
  /// An element of `tensor` at indices of a broadcast result.
  mlir::Value readBroadcast(mlir::OpBuilder &b, mlir::Value tensor,
                            mlir::ValueRange indices);
  mlir::Value empty(mlir::Type element, mlir::ValueRange sizes);
  /// The same elements, in order, under other sizes.
  mlir::Value reshape(mlir::Value tensor, mlir::ValueRange sizes);

  // --- scalars ---
  /// What elements of ONNX type `element` are computed in (f32 for f16).
  static mlir::Type computeType(mlir::Type element);
  /// MLIR's storage type: signless integers.
  static mlir::Type storageType(mlir::Type element);
  static bool isUnsigned(mlir::Type element) {
    return element.isUnsignedInteger() || element.isInteger(1);
  }
  mlir::Value constant(mlir::OpBuilder &b, mlir::Type type, double value);
  /// A loop over [0, size) that carries one value.
  mlir::Value fold(mlir::OpBuilder &b, mlir::Value size, mlir::Value init,
                   llvm::function_ref<mlir::Value(mlir::OpBuilder &,
                                                  mlir::Value, mlir::Value)>
                       step);
  /// From arithmetic to storage: rounds f32 to f16 and so on.
  mlir::Value narrow(mlir::OpBuilder &b, mlir::Value value, mlir::Type element);
  /// Between ONNX element types, as Cast does; both in computing form.
  mlir::Value castElement(mlir::OpBuilder &b, mlir::Value value,
                          mlir::Type from, mlir::Type to);
};

/// Folds over those dimensions of `tensor` that are in `axes`, the first
/// outermost; `at` says where in the others.
mlir::Value foldAxes(
    mlir::OpBuilder &b, NodeLowering &n, mlir::Value tensor,
    llvm::ArrayRef<int64_t> axes, llvm::SmallVector<mlir::Value> at,
    mlir::Value acc,
    llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Value, mlir::Value)>
        body);

/// Gives code that reads packed weights one element per byte.
mlir::LogicalResult unpackWeights(mlir::ModuleOp module);

/// Tensors of signless integers.
mlir::Type storageOf(mlir::Type type);
/// A value under the type that its uses expect.
mlir::Value castTo(mlir::OpBuilder &builder, mlir::Location loc,
                   mlir::Value value, mlir::Type type);

/// Operators with subgraphs, whose blocks `convert` converts in place; results
/// may be null where the node has none.
using BlockConversion = llvm::function_ref<mlir::LogicalResult(mlir::Block &)>;
mlir::LogicalResult convertIf(onnx::NodeOp node, mlir::OpBuilder &builder,
                              BlockConversion convert,
                              llvm::SmallVectorImpl<mlir::Value> &results);
mlir::LogicalResult convertLoop(onnx::NodeOp node, mlir::OpBuilder &builder,
                                BlockConversion convert,
                                llvm::SmallVectorImpl<mlir::Value> &results);

using LoweringRule = mlir::LogicalResult (*)(NodeLowering &);
using LoweringTable = llvm::StringMap<LoweringRule>;

// Every family adds its operators: "Add", "com.microsoft.Gelu".
void addElementwiseLowerings(LoweringTable &table);
void addShapeLowerings(LoweringTable &table);
void addReshapeLowerings(LoweringTable &table);
void addSliceLowerings(LoweringTable &table);
void addGatherLowerings(LoweringTable &table);
void addReduceLowerings(LoweringTable &table);
void addNormalizeLowerings(LoweringTable &table);
void addSelectLowerings(LoweringTable &table);
void addQuantizeLowerings(LoweringTable &table);
void addMatMulLowerings(LoweringTable &table);
void addContribLowerings(LoweringTable &table);

} // namespace moe

#endif // MOE_PASSES_CONVERT_ONNXLOWERING_H
