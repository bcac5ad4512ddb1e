#ifndef MOE_FRONTENDS_ONNX_TYPERULES_H
#define MOE_FRONTENDS_ONNX_TYPERULES_H

#include "frontends/ONNX/TypeInference.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"

namespace moe::onnx {

constexpr int64_t kDynamic = mlir::ShapedType::kDynamic;
using Types = mlir::FailureOr<llvm::SmallVector<mlir::Type>>;
/// The types of one operator's outputs (see `inferTypes`).
using TypeRule = Types (*)(const NodeFacts &);

/// Rules by operator: "Add", "com.microsoft.MoE".
class TypeRules {
public:
  /// `names` are separated by spaces.
  void add(llvm::StringRef names, TypeRule rule) {
    for (llvm::StringRef name : llvm::split(names, ' '))
      rules[name] = rule;
  }
  TypeRule lookup(llvm::StringRef name) const { return rules.lookup(name); }

private:
  llvm::StringMap<TypeRule> rules;
};

// Every family adds its operators.
void addElementTypeRules(TypeRules &rules);
void addShapeTypeRules(TypeRules &rules);
void addIndexingTypeRules(TypeRules &rules);
void addMathTypeRules(TypeRules &rules);

mlir::Type tensor(llvm::ArrayRef<int64_t> shape, mlir::Type element);
mlir::Type unranked(mlir::Type element);
inline Types one(mlir::Type type) {
  return llvm::SmallVector<mlir::Type>{type};
}
/// `type` with other elements.
mlir::Type withElement(mlir::Type type, mlir::Type element);
/// "[2, ?]" in messages.
std::string spell(mlir::Type type);

/// An axis of a tensor of rank `rank`, counted from the front.
mlir::FailureOr<int64_t> axisOf(const NodeFacts &node, int64_t axis,
                                int64_t rank);

/// Axes given as an attribute (old versions) or as an input; nothing where
/// they are not given, failure where they are not known.
struct Axes {
  bool given = false, known = true;
  llvm::SmallVector<int64_t> axes;
};
Axes axesOf(const NodeFacts &node, unsigned input);

/// Numpy broadcasting of two shapes.
mlir::FailureOr<llvm::SmallVector<int64_t>>
broadcast(const NodeFacts &node, llvm::ArrayRef<int64_t> a,
          llvm::ArrayRef<int64_t> b);
/// Broadcasting of all inputs from `first` on.
Types broadcastAll(const NodeFacts &node, unsigned first, mlir::Type element);
/// Fails unless all inputs from `first` on have the same elements.
mlir::LogicalResult sameElements(const NodeFacts &node, unsigned first);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_TYPERULES_H
