#ifndef MOE_FRONTENDS_ONNX_TYPEINFERENCE_H
#define MOE_FRONTENDS_ONNX_TYPEINFERENCE_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include <optional>

namespace moe::onnx {

/// What is known of an integer tensor of rank 0 or 1 while importing: one
/// entry per element, `ShapedType::kDynamic` where it depends on the input.
using PartialInts = llvm::SmallVector<int64_t, 4>;

/// A node as the type rules see it.
struct NodeFacts {
  mlir::MLIRContext *context;
  llvm::StringRef domain, op;
  int64_t version;
  /// Types of the inputs; NoneType where absent.
  llvm::SmallVector<mlir::Type, 4> inputs;
  /// Values of integer inputs, as far as they are known.
  llvm::SmallVector<std::optional<PartialInts>, 4> values;
  mlir::DictionaryAttr attributes;
  unsigned numOutputs;
  llvm::function_ref<mlir::InFlightDiagnostic()> emitError;

  bool has(unsigned i) const {
    return i < inputs.size() && !mlir::isa<mlir::NoneType>(inputs[i]);
  }
  /// Input `i` with its shape, or null where absent or of unknown rank.
  mlir::RankedTensorType ranked(unsigned i) const {
    return i < inputs.size() ? mlir::dyn_cast<mlir::RankedTensorType>(inputs[i])
                             : mlir::RankedTensorType();
  }
  /// The element type of input `i`, or null where absent.
  mlir::Type element(unsigned i) const {
    auto type = i < inputs.size() ? mlir::dyn_cast<mlir::TensorType>(inputs[i])
                                  : mlir::TensorType();
    return type ? type.getElementType() : mlir::Type();
  }
  std::optional<PartialInts> value(unsigned i) const {
    return i < values.size() ? values[i] : std::nullopt;
  }
  int64_t integer(llvm::StringRef name, int64_t otherwise) const;
  std::optional<llvm::SmallVector<int64_t>>
  integers(llvm::StringRef name) const;
  /// Integers that are an attribute in old versions, input `input` later.
  std::optional<PartialInts> integers(llvm::StringRef name,
                                      unsigned input) const {
    if (auto list = integers(name))
      return PartialInts(list->begin(), list->end());
    return value(input);
  }
  llvm::StringRef string(llvm::StringRef name, llvm::StringRef otherwise) const;
};

/// Types of the outputs, as exact as the inputs allow. Fails, with a
/// diagnostic that continues the node's name, when the inputs cannot go
/// together. Source: the operators' definitions in the ONNX specification.
mlir::FailureOr<llvm::SmallVector<mlir::Type>>
inferTypes(const NodeFacts &node);

/// The value of the first output, where it is an integer tensor of rank 0 or
/// 1 that is known in part: the arithmetic that computes shapes.
std::optional<PartialInts> inferInts(const NodeFacts &node, mlir::Type result);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_TYPEINFERENCE_H
