#ifndef MOE_PASSES_RAISE_EVALUATION_H
#define MOE_PASSES_RAISE_EVALUATION_H

// The evaluator's insides: one evaluation of one node, and index arithmetic.

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "passes/Raise/Evaluate.h"
#include <optional>

namespace moe::evaluation {
using Shape = llvm::SmallVector<int64_t, 4>;

inline int64_t product(llvm::ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

inline Shape stridesOf(llvm::ArrayRef<int64_t> shape) {
  Shape strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0; stride *= shape[d])
    strides[d] = stride;
  return strides;
}

/// Counts through a shape, row-major.
struct Odometer {
  llvm::ArrayRef<int64_t> shape;
  Shape index;
  explicit Odometer(llvm::ArrayRef<int64_t> shape)
      : shape(shape), index(shape.size(), 0) {}
  void step() {
    for (size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d])
        return;
      index[d] = 0;
    }
  }
};

inline bool broadcastShape(llvm::ArrayRef<int64_t> a, llvm::ArrayRef<int64_t> b,
                           Shape &out) {
  size_t rank = std::max(a.size(), b.size());
  out.assign(rank, 1);
  for (size_t i = 0; i < rank; ++i) {
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      return false;
    out[rank - 1 - i] = x == 1 ? y : x;
  }
  return true;
}

/// Strides of `shape` seen as the larger `out`: 0 where it is broadcast.
inline Shape broadcastStrides(llvm::ArrayRef<int64_t> shape,
                              llvm::ArrayRef<int64_t> out) {
  Shape own = stridesOf(shape), strides(out.size(), 0);
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1)
      strides[out.size() - shape.size() + i] = own[i];
  return strides;
}

inline int64_t offsetOf(llvm::ArrayRef<int64_t> index,
                        llvm::ArrayRef<int64_t> strides) {
  int64_t offset = 0;
  for (size_t d = 0; d < index.size(); ++d)
    offset += index[d] * strides[d];
  return offset;
}

inline HostTensor expand(const HostTensor &in, llvm::ArrayRef<int64_t> shape) {
  HostTensor out(shape, 0.0, in.isInteger);
  Shape strides = broadcastStrides(in.shape, shape);
  Odometer at(shape);
  for (double &value : out.data) {
    value = in.data[offsetOf(at.index, strides)];
    at.step();
  }
  return out;
}

/// Sizes before, along and after an axis.
struct Around {
  int64_t outer = 1, along, inner = 1;
  Around(llvm::ArrayRef<int64_t> shape, int64_t axis) : along(shape[axis]) {
    for (int64_t d = 0; d < axis; ++d)
      outer *= shape[d];
    for (size_t d = axis + 1; d < shape.size(); ++d)
      inner *= shape[d];
  }
  int64_t at(int64_t o, int64_t a, int64_t i) const {
    return (o * along + a) * inner + i;
  }
};

/// One evaluation of one node.
struct Evaluation {
  onnx::NodeOp node;
  llvm::ArrayRef<const HostTensor *> in;
  llvm::SmallVectorImpl<HostTensor> &out;
  std::string &error;

  bool fail(const llvm::Twine &what) {
    error = (node.getOpType() + ": " + what).str();
    return false;
  }
  const HostTensor *input(unsigned i) const {
    return i < in.size() ? in[i] : nullptr;
  }
  bool give(HostTensor tensor) {
    out.push_back(std::move(tensor));
    return true;
  }
  int64_t axis(int64_t otherwise, int64_t rank) {
    int64_t axis = node.intAttribute("axis", otherwise);
    return axis < 0 ? axis + rank : axis;
  }
  /// Integers of an attribute, or of input `i` in newer versions.
  std::optional<Shape> ints(llvm::StringRef name, unsigned i) {
    if (node.attribute(name)) {
      llvm::SmallVector<int64_t> values = node.intsAttribute(name);
      return Shape(values.begin(), values.end());
    }
    if (const HostTensor *tensor = input(i)) {
      Shape values;
      for (double value : tensor->data)
        values.push_back(value > 9e18    ? std::numeric_limits<int64_t>::max()
                         : value < -9e18 ? std::numeric_limits<int64_t>::min()
                                         : static_cast<int64_t>(value));
      return values;
    }
    return std::nullopt;
  }

  bool run();
  bool unary(llvm::StringRef name);
  bool binary(llvm::StringRef name);
  bool where();
  bool softmax();
  bool topK();
  bool argMax();
  bool reduce(llvm::StringRef name);
  bool matMul();
  bool gemm();
  bool gather();
  bool gatherElements();
  bool gatherND();
  bool scatterElements();
  bool scatterND();
  bool oneHot();
  bool nonZero();
  bool split();
  bool slice();
  bool concat();
  bool transpose();
  bool reshapes(llvm::StringRef name);
  bool cumSum();
  bool tile();
  bool range();
};

/// The numbers of an elements attribute; false where it hides them.
bool readElements(mlir::ElementsAttr attribute, HostTensor &tensor);
} // namespace moe::evaluation

#endif // MOE_PASSES_RAISE_EVALUATION_H
