#include "dialects/MoE/MoEOps.h"
#include "dialects/Onnx/OnnxOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/Convert/Passes.h"

namespace moe {
#define GEN_PASS_DEF_WIDENFLOATSPASS
#include "passes/Convert/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
/// f64 for every narrower float, alone or in a tensor or vector.
Type widened(Type type) {
  if (isa<TensorType, VectorType>(type)) {
    auto shaped = cast<ShapedType>(type);
    Type element = widened(shaped.getElementType());
    return element == shaped.getElementType() ? type : shaped.clone(element);
  }
  if (isa<FloatType>(type) && type.getIntOrFloatBitWidth() < 64)
    return Float64Type::get(type.getContext());
  return type;
}

/// The same numbers in f64.
TypedAttr widened(TypedAttr value) {
  auto toDouble = [](const APFloat &number) {
    APFloat wide = number;
    bool lossy;
    wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
    return wide;
  };
  Type type = widened(value.getType());
  if (type == value.getType())
    return value;
  if (auto number = dyn_cast<FloatAttr>(value))
    return FloatAttr::get(type, toDouble(number.getValue()));
  if (auto dense = dyn_cast<DenseFPElementsAttr>(value))
    return cast<TypedAttr>(
        dense.mapValues(getElementTypeOrSelf(type), [&](const APFloat &number) {
          return toDouble(number).bitcastToAPInt();
        }));
  return {};
}

/// A conversion of elements; nothing where the types are equal.
Value converted(OpBuilder &builder, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  return onnx::NodeOp::create(
             builder, loc, TypeRange(type), builder.getStringAttr("Cast"),
             builder.getStringAttr(""), builder.getI64IntegerAttr(13),
             ValueRange(value), DictionaryAttr(), 0)
      .getResult(0);
}

struct WidenFloatsPass : moe::impl::WidenFloatsPassBase<WidenFloatsPass> {
  void runOnOperation() override {
    for (func::FuncOp function : getOperation().getOps<func::FuncOp>())
      if (!function.isDeclaration() && failed(widen(function)))
        return signalPassFailure();
  }

  LogicalResult widen(func::FuncOp function) {
    SmallVector<Operation *> ops;
    function.getBody().walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : ops)
      if (failed(widen(op)))
        return failure();
    // The border, inwards.
    Block &entry = function.front();
    OpBuilder builder(&entry, entry.begin());
    for (BlockArgument argument : entry.getArguments())
      widenUses(builder, argument, [](Operation *) { return true; });
    return success();
  }

  LogicalResult widen(Operation *op) {
    OpBuilder builder(op);
    if (auto end = dyn_cast<func::ReturnOp>(op)) { // the border, outwards
      auto function = cast<func::FuncOp>(op->getParentOp());
      for (auto [operand, type] :
           llvm::zip(end->getOpOperands(), function.getResultTypes()))
        operand.set(converted(builder, op->getLoc(), operand.get(), type));
      return success();
    }
    if (auto weight = dyn_cast<WeightOp>(op)) {
      // Kernels read weights of any type, and widen each number themselves.
      builder.setInsertionPointAfter(op);
      widenUses(builder, weight.getResult(), [](Operation *user) {
        StringRef dialect = user->getName().getDialectNamespace();
        return dialect != "moe" && dialect != "moert";
      });
      return success();
    }
    if (isa<arith::ExtFOp, arith::TruncFOp>(op)) {
      op->getResult(0).replaceAllUsesWith(op->getOperand(0));
      op->erase();
      return success();
    }
    if (isa<arith::ConstantOp, onnx::ConstantOp>(op)) {
      TypedAttr wide = widened(op->getAttrOfType<TypedAttr>("value"));
      if (!wide)
        return op->emitOpError("holds numbers that cannot be widened to f64");
      op->setAttr("value", wide);
    }
    // Angles grow with positions, and so does what rounding them changes: the
    // model's own angles are f32.
    if (auto node = dyn_cast<onnx::NodeOp>(op);
        node && (node.is("Sin") || node.is("Cos"))) {
      Value wide = op->getOperand(0);
      Value angle =
          converted(builder, op->getLoc(), wide, op->getResult(0).getType());
      op->setOperand(
          0, converted(builder, op->getLoc(), angle, widened(angle.getType())));
    }
    for (Value result : op->getResults())
      result.setType(widened(result.getType()));
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (BlockArgument argument : block.getArguments())
          argument.setType(widened(argument.getType()));
    return success();
  }

  /// The users of `value` that `which` picks read it in f64. What is returned
  /// as it came keeps its type.
  void widenUses(OpBuilder &builder, Value value,
                 function_ref<bool(Operation *)> which) {
    auto reads = [&](Operation *user) {
      return !isa<func::ReturnOp>(user) && which(user);
    };
    Type type = widened(value.getType());
    if (type == value.getType() || llvm::none_of(value.getUsers(), reads))
      return;
    Value wide = converted(builder, value.getLoc(), value, type);
    value.replaceUsesWithIf(wide, [&](OpOperand &use) {
      return use.getOwner() != wide.getDefiningOp() && reads(use.getOwner());
    });
  }
};
} // namespace
