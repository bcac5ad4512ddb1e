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
};
} // namespace
