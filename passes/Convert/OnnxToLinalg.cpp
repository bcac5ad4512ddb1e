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

/// Tensors of signless integers.
Type storageOf(Type type) {
  if (auto tensor = dyn_cast<TensorType>(type))
    return tensor.clone(NodeLowering::storageType(tensor.getElementType()));
  return type;
}

/// A value under the type that its uses expect.
Value castTo(OpBuilder &builder, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  return tensor::CastOp::create(builder, loc, type, value);
}

LogicalResult convertBlock(Block &block);

/// If: both branches become regions of one scf.if.
LogicalResult convertIf(onnx::NodeOp node, OpBuilder &builder,
                        SmallVectorImpl<Value> &results) {
  Location loc = node.getLoc();
  SmallVector<Type> types;
  for (Type type : node.getResultTypes())
    types.push_back(storageOf(type));
  Value condition = node.getInputs()[0];
  auto type = dyn_cast<RankedTensorType>(condition.getType());
  if (!type || type.getRank() > 1)
    return node.emitError("needs a condition of one element, not ")
           << condition.getType();
  SmallVector<Value> at;
  if (type.getRank() == 1)
    at.push_back(arith::ConstantIndexOp::create(builder, loc, 0));
  Value flag = tensor::ExtractOp::create(builder, loc, condition, at);
  auto branch = scf::IfOp::create(builder, loc, types, flag, true, true);
  for (auto [from, to] : llvm::zip(
           node.getBodies(), SmallVector<Region *>{&branch.getThenRegion(),
                                                   &branch.getElseRegion()})) {
    Block &body = from.front();
    if (failed(convertBlock(body)))
      return failure();
    auto yield = cast<onnx::YieldOp>(body.getTerminator());
    Block &target = to->front();
    target.getOperations().splice(target.begin(), body.getOperations());
    OpBuilder end(yield);
    SmallVector<Value> values;
    for (auto [value, wanted] : llvm::zip(yield.getValues(), types))
      values.push_back(castTo(end, loc, value, wanted));
    scf::YieldOp::create(end, loc, values);
    yield.erase();
    // scf.if was made with terminators only where it has no results.
    for (Operation &op : llvm::make_early_inc_range(target))
      if (isa<scf::YieldOp>(op) && &op != &target.back())
        op.erase();
  }
  results.append(branch.getResults().begin(), branch.getResults().end());
  return success();
}

LogicalResult convertNode(onnx::NodeOp node, OpBuilder &builder,
                          SmallVectorImpl<Value> &results) {
  if (node.is("If"))
    return convertIf(node, builder, results);
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
