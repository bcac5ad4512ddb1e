#ifndef MOE_PASSES_RAISE_EVALUATE_H
#define MOE_PASSES_RAISE_EVALUATE_H

#include "dialects/Onnx/OnnxOps.h"
#include "passes/Raise/SymbolicShapes.h"
#include "llvm/ADT/DenseMap.h"
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace moe {
/// A tensor of the evaluation: all numbers as f64 (integers and booleans are
/// exact in it), row-major.
struct HostTensor {
  llvm::SmallVector<int64_t, 4> shape;
  std::vector<double> data;
  bool isInteger = false;

  HostTensor() = default;
  HostTensor(llvm::ArrayRef<int64_t> shape, double fill = 0.0,
             bool isInteger = false);
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t size() const { return static_cast<int64_t>(data.size()); }
};

/// Indices of `values` in the order of TopK: ties keep theirs, NaN is last.
std::vector<int64_t> sortedIndices(llvm::ArrayRef<double> values,
                                   bool largestFirst);

/// Evaluates one node without subgraphs, in f64 and without rounding to the
/// types of the graph. `inputs` holds null for absent ones. False with a
/// reason where an operator is not known or its inputs do not fit.
bool evaluateNode(onnx::NodeOp node, llvm::ArrayRef<const HostTensor *> inputs,
                  llvm::SmallVectorImpl<HostTensor> &outputs,
                  std::string &error);

/// The numbers of a constant; false where it has none that can be read here.
bool readConstant(mlir::Value value, HostTensor &tensor, std::string &error);

/// Evaluates values of a graph on demand, from values that are bound and
/// constants. Nothing else is looked at, so a graph can be evaluated between
/// any cuts. Not thread-safe; cheap to make, one per set of bindings.
class GraphEvaluator {
public:
  using Rule = std::function<bool(GraphEvaluator &, HostTensor &)>;

  void bind(mlir::Value value, HostTensor tensor) {
    values[value.getAsOpaquePointer()] = std::move(tensor);
  }
  /// `value` is computed by `rule` instead of the node that defines it.
  void replace(mlir::Value value, Rule rule) { rules[value] = std::move(rule); }
  /// Says the shapes of arguments of the graph, where only those are read.
  void setArgumentShapes(
      std::function<bool(mlir::BlockArgument, HostTensor &)> shapes) {
    argumentShapes = std::move(shapes);
  }
  /// Sizes of the graph are those of `shapes` with these values of its
  /// symbols; what the graph computes from them is not evaluated then.
  void setSizes(SymbolicShapes &shapes, llvm::ArrayRef<int64_t> values) {
    symbolic = &shapes;
    symbols.assign(values.begin(), values.end());
  }
  /// Values of some symbols of `shapes`: a Shape whose sizes they say needs
  /// nothing of its input, which may come from elsewhere in the graph.
  void setKnownSizes(SymbolicShapes &shapes,
                     std::vector<std::optional<int64_t>> values) {
    known = &shapes;
    knownSymbols = std::move(values);
  }
  /// The tensor, or null with a reason in `getError`.
  const HostTensor *get(mlir::Value value);
  llvm::StringRef getError() const { return error; }
  bool fail(const llvm::Twine &what) {
    if (error.empty())
      error = what.str();
    return false;
  }

private:
  bool compute(mlir::Value value);
  bool knowsShape(onnx::NodeOp shape, HostTensor &tensor);

  /// By value; the addresses of its tensors do not change.
  std::unordered_map<const void *, HostTensor> values;
  llvm::DenseMap<mlir::Value, Rule> rules;
  std::function<bool(mlir::BlockArgument, HostTensor &)> argumentShapes;
  SymbolicShapes *symbolic = nullptr;
  std::vector<int64_t> symbols;
  SymbolicShapes *known = nullptr;
  std::vector<std::optional<int64_t>> knownSymbols;
  std::string error;
};
} // namespace moe

#endif // MOE_PASSES_RAISE_EVALUATE_H
