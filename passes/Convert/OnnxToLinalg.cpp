#include "dialects/MoE/MoEOps.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Convert/OnnxLowering.h"
#include "passes/Convert/Passes.h"

namespace moe {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "passes/Convert/Passes.h.inc"
} // namespace moe

using namespace mlir;
using namespace moe;

namespace {
const LoweringTable &table() {
  static const LoweringTable lowerings = [] {
    LoweringTable table;
    addElementwiseLowerings(table);
    addShapeLowerings(table);
    addReshapeLowerings(table);
    addSliceLowerings(table);
    addGatherLowerings(table);
    addReduceLowerings(table);
    addNormalizeLowerings(table);
    addSelectLowerings(table);
    addQuantizeLowerings(table);
    addMatMulLowerings(table);
    addContribLowerings(table);
    return table;
  }();
  return lowerings;
}

LogicalResult convertBlock(Block &block);

LogicalResult convertNode(onnx::NodeOp node, OpBuilder &builder,
                          SmallVectorImpl<Value> &results) {
  if (node.is("If"))
    return convertIf(node, builder, convertBlock, results);
  if (node.is("Loop"))
    return convertLoop(node, builder, convertBlock, results);
  std::string key = node.getOpType().str();
  if (!node.getDomain().empty())
    key = (node.getDomain() + "." + node.getOpType()).str();
  auto rule = table().find(key);
  if (rule == table().end())
    return node.emitError("operator ")
           << key << " version " << static_cast<int64_t>(node.getVersion())
           << " has no lowering yet";
  SmallVector<Value> inputs;
  for (Value input : node.getInputs()) {
    if (isa<UnrankedTensorType>(input.getType()))
      return node.emitError("operator ")
             << key << " has an input of unknown rank, which cannot be lowered";
    inputs.push_back(isa<NoneType>(input.getType()) ? Value() : input);
  }
  NodeLowering lowering(builder, node, std::move(inputs));
  if (failed(rule->second(lowering)))
    return failure();
  for (auto [value, result] : llvm::zip(lowering.out, node.getResults())) {
    if (!value) {
      results.push_back({});
      continue;
    }
    Type wanted = storageOf(result.getType());
    // What the lowering knows better than the importer stays known.
    if (isa<UnrankedTensorType>(wanted))
      wanted = value.getType();
    results.push_back(castTo(builder, node.getLoc(), value, wanted));
  }
  return success();
}

/// Converts the ops of a block in order; uses see converted values.
LogicalResult convertBlock(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block)) {
    OpBuilder builder(&op);
    if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
      auto value = dyn_cast<DenseElementsAttr>(constant.getValue());
      if (!value)
        return constant.emitError("needs dense values");
      Type element = NodeLowering::storageType(value.getElementType());
      if (element != value.getElementType())
        value = value.bitcast(element);
      Value result = arith::ConstantOp::create(builder, op.getLoc(), value);
      constant.getResult().setType(cast<RankedTensorType>(result.getType()));
      constant.getResult().replaceAllUsesWith(result);
    } else if (auto node = dyn_cast<onnx::NodeOp>(op)) {
      SmallVector<Value> results;
      if (failed(convertNode(node, builder, results)))
        return failure();
      for (auto [value, result] : llvm::zip(results, node.getResults())) {
        if (!value)
          continue;
        result.setType(value.getType());
        result.replaceAllUsesWith(value);
      }
    }
  }
  return success();
}

struct ConvertOnnxToLinalgPass
    : moe::impl::ConvertOnnxToLinalgPassBase<ConvertOnnxToLinalgPass> {
  void runOnOperation() override {
    if (failed(unpackWeights(getOperation())))
      return signalPassFailure();
    rememberTypes();
    makeWeightsSignless();
    for (func::FuncOp function : getOperation().getOps<func::FuncOp>()) {
      if (function.isDeclaration())
        continue;
      if (failed(convert(function)))
        return signalPassFailure();
    }
  }

  /// Operands become signless one by one; nodes remember what they read.
  void rememberTypes() {
    auto isUnsigned = [](Type type) {
      auto tensor = dyn_cast<TensorType>(type);
      return tensor && tensor.getElementType().isUnsignedInteger();
    };
    getOperation().walk([&](onnx::NodeOp node) {
      if (llvm::none_of(node.getOperandTypes(), isUnsigned))
        return;
      SmallVector<Attribute> types;
      for (Type type : node.getOperandTypes())
        types.push_back(TypeAttr::get(type));
      node->setAttr("onnx_input_types", ArrayAttr::get(&getContext(), types));
    });
  }

  /// Banks of unsigned integers that code reads directly.
  void makeWeightsSignless() {
    SymbolTable symbols(getOperation());
    getOperation().walk([&](WeightOp weight) {
      Type type = weight.getType();
      if (type == storageOf(type))
        return;
      if (auto bank = symbols.lookup<BankOp>(weight.getBank()))
        bank.setType(cast<RankedTensorType>(storageOf(type)));
      weight.getResult().setType(cast<RankedTensorType>(storageOf(type)));
    });
  }

  LogicalResult convert(func::FuncOp function) {
    Block &body = function.front();
    for (BlockArgument argument : body.getArguments())
      argument.setType(storageOf(argument.getType()));
    if (failed(convertBlock(body)))
      return failure();
    // Last use first.
    SmallVector<Operation *> dead;
    function.walk([&](Operation *op) {
      if (isa<onnx::NodeOp, onnx::ConstantOp, onnx::NoneOp>(op))
        dead.push_back(op);
    });
    for (Operation *op : llvm::reverse(dead)) {
      if (!op->use_empty())
        return op->emitError("is still used after conversion");
      op->erase();
    }
    auto result = cast<func::ReturnOp>(body.getTerminator());
    SmallVector<Type> types;
    for (Value value : result.getOperands())
      types.push_back(value.getType());
    function.setType(
        FunctionType::get(&getContext(), body.getArgumentTypes(), types));
    return success();
  }
};
} // namespace
