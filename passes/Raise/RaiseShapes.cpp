#include "dialects/Onnx/OnnxOps.h"
#include "passes/Raise/Passes.h"
#include "passes/Raise/SymbolicShapes.h"

namespace moe {
#define GEN_PASS_DEF_RAISESHAPESPASS
#include "passes/Raise/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

/// True where the type of `value` is part of another op's contract.
static bool typeIsFixed(Value value) {
  return llvm::any_of(value.getUsers(), [](Operation *user) {
    return !isa<onnx::NodeOp>(user) || user->getNumRegions();
  });
}

namespace {
struct RaiseShapesPass : moe::impl::RaiseShapesPassBase<RaiseShapesPass> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<FunctionOpInterface>()) {
      if (function.isExternal())
        continue;
      SymbolicShapes shapes(function);
      for (auto node : function.front().getOps<onnx::NodeOp>())
        if (!node->getNumRegions())
          for (Value result : node.getResults())
            refine(result, shapes);
      for (auto node : function.front().getOps<onnx::NodeOp>())
        if (node.is("Reshape")) {
          sizesAreNoCopies(node, shapes);
          explainOpenSize(node, shapes);
        }
    }
  }

  static void refine(Value value, SymbolicShapes &shapes) {
    const SymbolicShape *known = shapes.shape(value);
    auto type = dyn_cast<TensorType>(value.getType());
    if (!known || !type || typeIsFixed(value))
      return;
    SmallVector<int64_t> sizes;
    for (const DimExpr &size : *known) {
      int64_t number = size.asConstant().value_or(-1);
      sizes.push_back(number >= 0 ? number : ShapedType::kDynamic);
    }
    value.setType(RankedTensorType::get(sizes, type.getElementType()));
  }

  static void set(onnx::NodeOp node, StringRef name, Attribute value) {
    NamedAttrList attributes(node.getOnnxAttributesAttr());
    attributes.set(name, value);
    node.setOnnxAttributesAttr(attributes.getDictionary(node.getContext()));
  }

  /// A size of some tensor that is 0 in a run means 0, not "copy the input's":
  /// only a 0 in the file does.
  static void sizesAreNoCopies(onnx::NodeOp node, SymbolicShapes &shapes) {
    const SymbolicShape *target = shapes.elements(node.input(1));
    if (target && llvm::none_of(*target, [](const DimExpr &size) {
          return size.isConstant(0);
        }))
      set(node, "allowzero", Builder(node.getContext()).getI64IntegerAttr(1));
  }

  /// Where the size that a -1 stands for depends on the run: notes dimensions
  /// of the input whose product it is. Numbers of elements do not tell it when
  /// the tensor is empty.
  static void explainOpenSize(onnx::NodeOp node, SymbolicShapes &shapes) {
    const SymbolicShape *in = shapes.shape(node.input(0));
    const SymbolicShape *target = shapes.elements(node.input(1));
    const SymbolicShape *out = shapes.shape(node.getResult(0));
    auto type = dyn_cast<RankedTensorType>(node.getResult(0).getType());
    if (!in || !target || !out || !type || in->size() > 8)
      return;
    const auto *open = llvm::find_if(
        *target, [](const DimExpr &size) { return size.isConstant(-1); });
    if (open == target->end() || !type.isDynamicDim(open - target->begin()))
      return;
    const DimExpr &size = (*out)[open - target->begin()];
    for (unsigned chosen = 0; chosen < 1u << in->size(); ++chosen) {
      DimExpr product = DimExpr::constant(1);
      SmallVector<int64_t> dims;
      for (unsigned d = 0; d < in->size(); ++d)
        if (chosen & 1u << d) {
          product = product * (*in)[d];
          dims.push_back(d);
        }
      if (product != size)
        continue;
      set(node, "moe.open_dims",
          DenseI64ArrayAttr::get(node.getContext(), dims));
      return;
    }
  }
};
} // namespace
