// Operators that fold along axes: sums, extrema, running sums.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

namespace {
enum class Kind { Sum, Mean, Max, Min, Prod, L2 };

Value step(OpBuilder &b, NodeLowering &n, Kind kind, Value x, Value acc,
           Type element) {
  bool isFloat = isa<FloatType>(x.getType());
  bool isUnsigned = NodeLowering::isUnsigned(element);
  switch (kind) {
  case Kind::L2:
    x = isFloat ? arith::MulFOp::create(b, n.loc, x, x).getResult()
                : arith::MulIOp::create(b, n.loc, x, x).getResult();
    [[fallthrough]];
  case Kind::Sum:
  case Kind::Mean:
    return isFloat ? arith::AddFOp::create(b, n.loc, acc, x).getResult()
                   : arith::AddIOp::create(b, n.loc, acc, x).getResult();
  case Kind::Prod:
    return isFloat ? arith::MulFOp::create(b, n.loc, acc, x).getResult()
                   : arith::MulIOp::create(b, n.loc, acc, x).getResult();
  case Kind::Max:
    if (isFloat)
      return arith::MaximumFOp::create(b, n.loc, acc, x);
    return isUnsigned ? arith::MaxUIOp::create(b, n.loc, acc, x).getResult()
                      : arith::MaxSIOp::create(b, n.loc, acc, x).getResult();
  case Kind::Min:
    if (isFloat)
      return arith::MinimumFOp::create(b, n.loc, acc, x);
    return isUnsigned ? arith::MinUIOp::create(b, n.loc, acc, x).getResult()
                      : arith::MinSIOp::create(b, n.loc, acc, x).getResult();
  }
  llvm_unreachable("all kinds are handled");
}

/// What a fold over nothing gives.
Value neutral(OpBuilder &b, NodeLowering &n, Kind kind, Type type,
              Type element) {
  if (kind == Kind::Prod)
    return n.constant(b, type, 1);
  if (kind != Kind::Max && kind != Kind::Min)
    return n.constant(b, type, 0);
  double sign = kind == Kind::Max ? -1 : 1;
  if (isa<FloatType>(type))
    return n.constant(b, type, sign * INFINITY);
  unsigned bits = type.getIntOrFloatBitWidth();
  bool isUnsigned = NodeLowering::isUnsigned(element);
  APInt value =
      kind == Kind::Max
          ? (isUnsigned ? APInt::getZero(bits) : APInt::getSignedMinValue(bits))
          : (isUnsigned ? APInt::getAllOnes(bits)
                        : APInt::getSignedMaxValue(bits));
  return arith::ConstantOp::create(b, n.loc, b.getIntegerAttr(type, value));
}

template <Kind kind>
LogicalResult reduce(NodeLowering &n) {
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  FailureOr<SmallVector<int64_t>> found = n.axes(1);
  if (failed(found))
    return failure();
  SmallVector<int64_t> axes = *found;
  if (axes.empty()) {
    if (n.node.intAttribute("noop_with_empty_axes", 0)) {
      n.out[0] = x;
      return success();
    }
    for (int64_t d = 0; d < rank; ++d)
      axes.push_back(d);
  }
  for (int64_t &a : axes)
    a = n.axis(a, rank);
  llvm::sort(axes);
  bool keep = n.node.intAttribute("keepdims", 1);
  SmallVector<Value> sizes, reduced;
  SmallVector<int64_t> kept; // result dimension -> input dimension, -1 for 1
  for (int64_t d = 0; d < rank; ++d) {
    if (llvm::is_contained(axes, d)) {
      reduced.push_back(n.dim(x, d));
      if (!keep)
        continue;
      sizes.push_back(n.index(1));
      kept.push_back(-1);
    } else {
      sizes.push_back(n.dim(x, d));
      kept.push_back(d);
    }
  }
  Value count = n.product(reduced);
  Type element = n.elementOf(0);
  n.out[0] = n.compute(
      n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) -> Value {
        Type type = NodeLowering::computeType(element);
        SmallVector<Value> from(rank);
        for (auto [i, d] : llvm::enumerate(kept))
          if (d >= 0)
            from[d] = at[i];
        Value acc =
            foldAxes(b, n, x, axes, from, neutral(b, n, kind, type, element),
                     [&](OpBuilder &b, Value value, Value acc) {
                       return step(b, n, kind, value, acc, element);
                     });
        if (kind == Kind::L2)
          return math::SqrtOp::create(b, n.loc, acc);
        if (kind != Kind::Mean)
          return acc;
        Value i = arith::IndexCastOp::create(b, n.loc, b.getI64Type(), count);
        Value size = n.castElement(b, i, b.getI64Type(), type);
        return isa<FloatType>(type)
                   ? arith::DivFOp::create(b, n.loc, acc, size).getResult()
                   : arith::DivSIOp::create(b, n.loc, acc, size).getResult();
      });
  return success();
}

LogicalResult cumSum(NodeLowering &n) {
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  auto constant = n.constantInts(1);
  if (!constant)
    return n.node.emitError("needs a constant axis");
  int64_t axis = n.axis((*constant)[0], rank);
  bool exclusive = n.node.intAttribute("exclusive", 0);
  bool reverse = n.node.intAttribute("reverse", 0);
  Type element = n.elementOf(0);
  n.out[0] =
      n.compute(n.resultElement(), n.dims(x), [&](OpBuilder &b, ValueRange at) {
        // Sums its own prefix: quadratic, and obviously right.
        Value one = arith::ConstantIndexOp::create(b, n.loc, 1);
        Value size = tensor::DimOp::create(b, n.loc, x, axis), count = at[axis];
        if (reverse)
          count = arith::SubIOp::create(
              b, n.loc, arith::SubIOp::create(b, n.loc, size, one), count);
        if (!exclusive)
          count = arith::AddIOp::create(b, n.loc, count, one);
        Type type = NodeLowering::computeType(element);
        return n.fold(
            b, count, n.constant(b, type, 0),
            [&](OpBuilder &b, Value i, Value acc) {
              SmallVector<Value> from(at);
              from[axis] = i;
              if (reverse) {
                Value last = arith::SubIOp::create(b, n.loc, size, one);
                from[axis] = arith::SubIOp::create(b, n.loc, last, i);
              }
              return step(b, n, Kind::Sum, n.read(b, x, from), acc, element);
            });
      });
  return success();
}
} // namespace

Value moe::foldAxes(OpBuilder &b, NodeLowering &n, Value tensor,
                    ArrayRef<int64_t> axes, SmallVector<Value> at, Value acc,
                    function_ref<Value(OpBuilder &, Value, Value)> body) {
  if (axes.empty())
    return body(b, n.read(b, tensor, at), acc);
  Value size = tensor::DimOp::create(b, n.loc, tensor, axes.front());
  return n.fold(b, size, acc, [&](OpBuilder &inner, Value i, Value carried) {
    SmallVector<Value> deeper(at);
    deeper[axes.front()] = i;
    return foldAxes(inner, n, tensor, axes.drop_front(), deeper, carried, body);
  });
}

void moe::addReduceLowerings(LoweringTable &table) {
  table["ReduceSum"] = reduce<Kind::Sum>;
  table["ReduceMean"] = reduce<Kind::Mean>;
  table["ReduceMax"] = reduce<Kind::Max>;
  table["ReduceMin"] = reduce<Kind::Min>;
  table["ReduceProd"] = reduce<Kind::Prod>;
  table["ReduceL2"] = reduce<Kind::L2>;
  table["CumSum"] = cumSum;
}
