// Operators that read shapes, or make tensors of a given shape.
#include "dialects/Onnx/Indexing.h"
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;
using arith::CmpIPredicate;

namespace {
LogicalResult shape(NodeLowering &n) {
  SmallVector<Value> sizes;
  int64_t rank = n.rank(0);
  int64_t start = onnx::clampIndex(n.node.intAttribute("start", 0), rank);
  int64_t end = onnx::clampIndex(n.node.intAttribute("end", rank), rank);
  for (int64_t d = start; d < end; ++d)
    sizes.push_back(arith::IndexCastOp::create(
        n.builder, n.loc, n.builder.getI64Type(), n.dim(n.in[0], d)));
  auto type = RankedTensorType::get({static_cast<int64_t>(sizes.size())},
                                    n.builder.getI64Type());
  if (sizes.empty())
    n.out[0] = tensor::EmptyOp::create(n.builder, n.loc, type, ValueRange());
  else
    n.out[0] = tensor::FromElementsOp::create(n.builder, n.loc, type, sizes);
  return success();
}

LogicalResult size(NodeLowering &n) {
  Value count = arith::IndexCastOp::create(
      n.builder, n.loc, n.builder.getI64Type(), n.product(n.dims(n.in[0])));
  n.out[0] = tensor::FromElementsOp::create(
      n.builder, n.loc, RankedTensorType::get({}, n.builder.getI64Type()),
      count);
  return success();
}

LogicalResult constantOfShape(NodeLowering &n) {
  FailureOr<int64_t> rank = n.staticLength(n.in[0]);
  if (failed(rank))
    return failure();
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < *rank; ++i)
    sizes.push_back(n.max(n.intAt(n.in[0], i), n.index(0)));
  auto value = dyn_cast_or_null<DenseElementsAttr>(n.node.attribute("value"));
  n.out[0] = n.compute(
      n.resultElement(), sizes, [&](OpBuilder &b, ValueRange) -> Value {
        Type type = NodeLowering::computeType(n.resultElement());
        if (!value)
          return n.constant(b, type, 0);
        if (isa<FloatType>(type))
          return n.constant(
              b, type, (*value.getValues<APFloat>().begin()).convertToDouble());
        return arith::ConstantOp::create(
            b, n.loc,
            b.getIntegerAttr(type, *value.getValues<APInt>().begin()));
      });
  return success();
}

LogicalResult range(NodeLowering &n) {
  Type element = n.elementOf(0);
  // Scalars; files with lists of one element exist.
  auto scalar = [&](unsigned i) {
    SmallVector<Value> at(n.rank(i), n.index(0));
    return n.read(n.builder, n.in[i], at);
  };
  Value start = scalar(0), limit = scalar(1), delta = scalar(2);
  OpBuilder &b = n.builder;
  // ceil((limit - start) / delta) in f64, which is exact for indices.
  Type f64 = b.getF64Type();
  auto wide = [&](Value v) { return n.castElement(b, v, element, f64); };
  Value count = arith::DivFOp::create(
      b, n.loc, arith::SubFOp::create(b, n.loc, wide(limit), wide(start)),
      wide(delta));
  Value truncated = arith::FPToSIOp::create(b, n.loc, b.getI64Type(), count);
  Value back = arith::SIToFPOp::create(b, n.loc, f64, truncated);
  Value more =
      arith::CmpFOp::create(b, n.loc, arith::CmpFPredicate::OGT, count, back);
  Value extra = arith::ExtUIOp::create(b, n.loc, b.getI64Type(), more);
  Value total = arith::IndexCastOp::create(
      b, n.loc, b.getIndexType(),
      arith::AddIOp::create(b, n.loc, truncated, extra));
  total = n.max(total, n.index(0));
  n.out[0] =
      n.compute(element, total, [&](OpBuilder &b, ValueRange at) -> Value {
        Value i = arith::IndexCastOp::create(b, n.loc, b.getI64Type(), at[0]);
        if (isa<FloatType>(start.getType())) {
          Value f = arith::SIToFPOp::create(b, n.loc, start.getType(), i);
          return arith::AddFOp::create(
              b, n.loc, start, arith::MulFOp::create(b, n.loc, f, delta));
        }
        Value typed = n.castElement(b, i, b.getI64Type(), element);
        return arith::AddIOp::create(
            b, n.loc, start, arith::MulIOp::create(b, n.loc, typed, delta));
      });
  return success();
}

LogicalResult expand(NodeLowering &n) {
  FailureOr<int64_t> length = n.staticLength(n.in[1]);
  if (failed(length))
    return failure();
  int64_t own = n.rank(0), rank = std::max(own, *length);
  SmallVector<Value> sizes(rank, n.index(1));
  for (int64_t d = 0; d < *length; ++d)
    sizes[rank - *length + d] = n.intAt(n.in[1], d);
  for (int64_t d = 0; d < own; ++d) {
    Value &target = sizes[rank - own + d];
    Value size = n.dim(n.in[0], d);
    Value one = n.index(1);
    // The result's size is the one that is not 1; others must agree.
    Value wanted = target;
    target = n.selectEqual(size, one, wanted, size);
    Value fits = arith::OrIOp::create(
        n.builder, n.loc,
        arith::CmpIOp::create(n.builder, n.loc, CmpIPredicate::eq, target,
                              wanted),
        arith::CmpIOp::create(n.builder, n.loc, CmpIPredicate::eq, wanted,
                              one));
    n.require(n.builder, fits, "sizes cannot be broadcast");
  }
  n.out[0] =
      n.compute(n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) {
        return n.readBroadcast(b, n.in[0], at);
      });
  return success();
}

LogicalResult trilu(NodeLowering &n) {
  bool upper = n.node.intAttribute("upper", 1);
  Value k = n.has(1) ? n.intAt(n.in[1], 0) : n.index(0);
  int64_t rank = n.rank(0);
  n.out[0] =
      n.compute(n.resultElement(), n.dims(n.in[0]),
                [&](OpBuilder &b, ValueRange at) -> Value {
                  Value edge = arith::AddIOp::create(b, n.loc, at[rank - 2], k);
                  Value kept = arith::CmpIOp::create(
                      b, n.loc, upper ? CmpIPredicate::sge : CmpIPredicate::sle,
                      at[rank - 1], edge);
                  Value x = n.read(b, n.in[0], at);
                  return arith::SelectOp::create(b, n.loc, kept, x,
                                                 n.constant(b, x.getType(), 0));
                });
  return success();
}
} // namespace

void moe::addShapeLowerings(LoweringTable &table) {
  table["Shape"] = shape;
  table["Size"] = size;
  table["ConstantOfShape"] = constantOfShape;
  table["Range"] = range;
  table["Expand"] = expand;
  table["Trilu"] = trilu;
}
