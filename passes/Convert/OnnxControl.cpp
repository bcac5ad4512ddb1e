// If and Loop: subgraphs become regions of scf.if and scf.while.
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "passes/Convert/OnnxLowering.h"

using namespace mlir;
using namespace moe;

Type moe::storageOf(Type type) {
  if (auto tensor = dyn_cast<TensorType>(type))
    return tensor.clone(NodeLowering::storageType(tensor.getElementType()));
  return type;
}

Value moe::castTo(OpBuilder &builder, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  return tensor::CastOp::create(builder, loc, type, value);
}

/// The only element of a tensor, null where its type does not say that.
static Value onlyElement(OpBuilder &builder, Location loc, Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() > 1)
    return {};
  SmallVector<Value> at;
  if (type.getRank() == 1)
    at.push_back(arith::ConstantIndexOp::create(builder, loc, 0));
  return tensor::ExtractOp::create(builder, loc, value, at);
}

LogicalResult moe::convertIf(onnx::NodeOp node, OpBuilder &builder,
                             BlockConversion convert,
                             SmallVectorImpl<Value> &results) {
  Location loc = node.getLoc();
  SmallVector<Type> types;
  for (Type type : node.getResultTypes())
    types.push_back(storageOf(type));
  Value condition = node.getInputs()[0];
  Value flag = onlyElement(builder, loc, condition);
  if (!flag)
    return node.emitError("needs a condition of one element, not ")
           << condition.getType();
  auto branch = scf::IfOp::create(builder, loc, types, flag, true, true);
  for (auto [from, to] : llvm::zip(
           node.getBodies(), SmallVector<Region *>{&branch.getThenRegion(),
                                                   &branch.getElseRegion()})) {
    Block &body = from.front();
    if (failed(convert(body)))
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

namespace {
/// A Loop on its way to scf.while, which carries the iteration, whether to go
/// on, the carried values and the rows of scan outputs.
class LoopLowering {
public:
  LoopLowering(onnx::NodeOp node, OpBuilder &builder)
      : node(node), loc(node.getLoc()), builder(builder),
        lowering(builder, node, {}), carried(node.getInputs().size() - 2) {}

  LogicalResult run(BlockConversion convert, SmallVectorImpl<Value> &results);

private:
  /// The carried values at the start; the types of the body's arguments.
  LogicalResult readInputs();
  /// Rows for a scan output before the first iteration.
  Value startRows(RankedTensorType element);
  /// The rows with the one of iteration `i` added.
  Value addRow(OpBuilder &b, Value rows, Value row, Value i);
  /// True where all rows have their place before the first iteration.
  bool isPlaced(RankedTensorType element) {
    return limit && element.hasStaticShape();
  }
  LogicalResult convertBody(scf::WhileOp loop);

  onnx::NodeOp node;
  Location loc;
  OpBuilder &builder;
  NodeLowering lowering;
  size_t carried;
  /// Iterations at most (i64); null without a bound.
  Value trips;
  /// As many rows as there may be, an index; null where they are not known, or
  /// too many to be reserved for a loop that may end early.
  Value limit;
  bool endsEarly = false;
  SmallVector<Value> start;
};
} // namespace

/// Rows that are reserved for a loop that may not fill them.
static constexpr int64_t kReservedRows = 4096;

LogicalResult LoopLowering::readInputs() {
  Block &body = node.getBodies().front().front();
  Value condition = node.input(1);
  endsEarly = !onnx::conditionHolds(condition, body);
  Value goOn = condition ? onlyElement(builder, loc, condition)
                         : lowering.constant(builder, builder.getI1Type(), 1);
  if (!goOn)
    return node.emitError("needs a condition of one element, not ")
           << condition.getType();
  if (Value given = node.input(0)) {
    trips = onlyElement(builder, loc, given);
    if (!trips)
      return node.emitError("needs a trip count of one element, not ")
             << given.getType();
    DenseIntElementsAttr constant;
    if (!endsEarly ||
        (matchPattern(given, m_Constant(&constant)) &&
         (*constant.value_begin<APInt>()).getSExtValue() <= kReservedRows))
      limit = lowering.max(lowering.intAt(given, 0), lowering.index(0));
  }
  start = {lowering.index(0), goOn};
  for (size_t i = 2; i < carried + 2; ++i) {
    Value value = node.getInputs()[i];
    BlockArgument argument = body.getArgument(i);
    Type type = storageOf(argument.getType());
    if (isa<UnrankedTensorType>(type))
      if (auto known = dyn_cast<RankedTensorType>(value.getType()))
        type = RankedTensorType::get(
            SmallVector<int64_t>(known.getRank(), ShapedType::kDynamic),
            known.getElementType());
    if (!isa<RankedTensorType>(type) || !isa<RankedTensorType>(value.getType()))
      return node.emitError("carries value ")
             << i - 2 << " of unknown rank, which cannot be lowered";
    argument.setType(type);
    start.push_back(castTo(builder, loc, value, type));
  }
  return success();
}

Value LoopLowering::startRows(RankedTensorType element) {
  SmallVector<Value> sizes{isPlaced(element) ? limit : lowering.index(0)};
  for (int64_t size : element.getShape())
    sizes.push_back(lowering.index(ShapedType::isDynamic(size) ? 0 : size));
  Value rows = lowering.empty(element.getElementType(), sizes);
  SmallVector<int64_t> shape{ShapedType::kDynamic};
  llvm::append_range(shape, element.getShape());
  return castTo(builder, loc, rows,
                RankedTensorType::get(shape, element.getElementType()));
}

Value LoopLowering::addRow(OpBuilder &b, Value rows, Value row, Value i) {
  auto element = cast<RankedTensorType>(row.getType());
  Type type = rows.getType();
  NodeLowering inside(b, node, {});
  SmallVector<OpFoldResult> offsets(element.getRank() + 1, b.getIndexAttr(0)),
      strides(element.getRank() + 1, b.getIndexAttr(1)), sizes;
  if (!isPlaced(element)) {
    SmallVector<Value> whole{inside.add(i, inside.index(1))};
    Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, i,
                                        inside.index(0));
    for (int64_t d = 0; d < element.getRank(); ++d) {
      Value size = inside.dim(row, d);
      whole.push_back(size);
      if (!element.isDynamicDim(d))
        continue;
      Value same = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, size,
                                         inside.dim(rows, d + 1));
      inside.require(b, arith::OrIOp::create(b, loc, first, same),
                     "a scan output changes its shape");
    }
    Value longer = inside.empty(element.getElementType(), whole);
    sizes = tensor::getMixedSizes(b, loc, rows);
    rows = castTo(b, loc,
                  tensor::InsertSliceOp::create(b, loc, rows, longer, offsets,
                                                sizes, strides),
                  type);
  }
  offsets[0] = i;
  if (element.getRank() == 0)
    return tensor::InsertOp::create(
        b, loc, tensor::ExtractOp::create(b, loc, row, ValueRange()), rows, i);
  sizes = {b.getIndexAttr(1)};
  llvm::append_range(sizes, tensor::getMixedSizes(b, loc, row));
  return tensor::InsertSliceOp::create(b, loc, row, rows, offsets, sizes,
                                       strides);
}

/// Moves the converted body into the loop; ends it with what is carried on.
LogicalResult LoopLowering::convertBody(scf::WhileOp loop) {
  Block &body = node.getBodies().front().front();
  Block *after = loop.getAfterBody();
  auto yield = cast<onnx::YieldOp>(body.getTerminator());
  OpBuilder b = OpBuilder::atBlockBegin(&body);
  Value i = after->getArgument(0);
  Value number = arith::IndexCastOp::create(b, loc, b.getI64Type(), i);
  Value holds = lowering.constant(b, b.getI1Type(), 1);
  for (auto [n, value] : llvm::enumerate(SmallVector<Value>{number, holds})) {
    BlockArgument argument = body.getArgument(n);
    argument.replaceAllUsesWith(tensor::FromElementsOp::create(
        b, loc, cast<RankedTensorType>(argument.getType()), value));
  }
  for (size_t c = 0; c < carried; ++c)
    body.getArgument(c + 2).replaceAllUsesWith(after->getArgument(c + 1));

  b.setInsertionPoint(yield);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value goOn = onlyElement(b, loc, yield.getValues()[0]);
  if (!goOn)
    return node.emitError("needs a condition of one element, not ")
           << yield.getValues()[0].getType();
  SmallVector<Value> next{arith::AddIOp::create(b, loc, i, one), goOn};
  for (size_t c = 0; c < carried; ++c) {
    Value before = after->getArgument(c + 1);
    Value value = castTo(b, loc, yield.getValues()[c + 1], before.getType());
    // In the place of the last one, so that memory does not grow.
    if (cast<RankedTensorType>(before.getType()).hasStaticShape())
      value = linalg::CopyOp::create(b, loc, value, before).getResult(0);
    next.push_back(value);
  }
  for (size_t s = carried; s + 1 < yield.getValues().size(); ++s)
    next.push_back(
        addRow(b, after->getArgument(s + 1), yield.getValues()[s + 1], i));
  scf::YieldOp::create(b, loc, next);
  yield.erase();
  after->getOperations().splice(after->end(), body.getOperations());
  return success();
}

LogicalResult LoopLowering::run(BlockConversion convert,
                                SmallVectorImpl<Value> &results) {
  Block &body = node.getBodies().front().front();
  if (failed(readInputs()) || failed(convert(body)))
    return failure();
  auto yield = cast<onnx::YieldOp>(body.getTerminator());
  for (auto [i, value] : llvm::enumerate(yield.getValues().drop_front())) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type)
      return node.emitError("gives output ")
             << i << " of unknown rank, which cannot be lowered";
    if (i >= carried)
      start.push_back(startRows(type));
    else if (type.getRank() !=
             cast<RankedTensorType>(start[i + 2].getType()).getRank())
      return node.emitError("carries value ")
             << i << " whose rank changes, which cannot be lowered";
  }

  SmallVector<Type> types;
  for (Value value : start)
    types.push_back(value.getType());
  SmallVector<Type> passed(types);
  passed.erase(passed.begin() + 1); // whether to go on
  auto loop = scf::WhileOp::create(builder, loc, passed, start);
  SmallVector<Location> places(types.size(), loc);
  Block *before = builder.createBlock(&loop.getBefore(), {}, types, places);
  Value goOn = before->getArgument(1);
  if (trips) {
    Value i = arith::IndexCastOp::create(builder, loc, builder.getI64Type(),
                                         before->getArgument(0));
    Value within = arith::CmpIOp::create(builder, loc,
                                         arith::CmpIPredicate::slt, i, trips);
    goOn = arith::AndIOp::create(builder, loc, goOn, within);
  }
  SmallVector<Value> values(before->getArguments());
  values.erase(values.begin() + 1);
  scf::ConditionOp::create(builder, loc, goOn, values);
  builder.createBlock(&loop.getAfter(), {}, passed,
                      ArrayRef(places).drop_front());
  builder.setInsertionPointAfter(loop);
  if (failed(convertBody(loop)))
    return failure();

  for (size_t i = 0; i < node.getNumResults(); ++i) {
    Type wanted = storageOf(node.getResult(i).getType());
    Value value = loop.getResult(i + 1);
    if (isa<NoneType>(wanted)) {
      results.push_back({});
      continue;
    }
    auto type = cast<RankedTensorType>(value.getType());
    if (i >= carried && endsEarly && limit) {
      // Rows that were reserved and not reached.
      SmallVector<OpFoldResult> offsets(type.getRank(),
                                        builder.getIndexAttr(0)),
          strides(type.getRank(), builder.getIndexAttr(1)),
          sizes = tensor::getMixedSizes(builder, loc, value);
      sizes[0] = loop.getResult(0);
      value = tensor::ExtractSliceOp::create(builder, loc, value, offsets,
                                             sizes, strides);
    }
    if (isa<UnrankedTensorType>(wanted))
      wanted = value.getType();
    results.push_back(castTo(builder, loc, value, wanted));
  }
  return success();
}

LogicalResult moe::convertLoop(onnx::NodeOp node, OpBuilder &builder,
                               BlockConversion convert,
                               SmallVectorImpl<Value> &results) {
  size_t inputs = node.getInputs().size();
  if (node.getBodies().size() != 1 || inputs < 2 ||
      node.getBodies().front().getNumArguments() != inputs ||
      node.getBodies().front().front().getTerminator()->getNumOperands() !=
          node.getNumResults() + 1 ||
      node.getNumResults() + 2 < inputs)
    return node.emitError(
        "needs a body that takes the iteration, the condition and the carried "
        "values, and gives the condition and all outputs");
  return LoopLowering(node, builder).run(convert, results);
}
