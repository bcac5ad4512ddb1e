// Operators that fold along axes: sums, norms, softmax, order statistics.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

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

/// Folds over the dimensions in `axes`, the first outermost.
Value foldAxes(OpBuilder &b, NodeLowering &n, Value tensor,
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

template <bool largest>
LogicalResult argReduce(NodeLowering &n) {
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  int64_t axis = n.axis(n.node.intAttribute("axis", 0), rank);
  bool keep = n.node.intAttribute("keepdims", 1);
  bool lastWins = n.node.intAttribute("select_last_index", 0);
  Type element = n.elementOf(0);
  SmallVector<Value> sizes = n.dims(x);
  if (keep)
    sizes[axis] = n.index(1);
  else
    sizes.erase(sizes.begin() + axis);
  n.out[0] = n.compute(
      n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> from(at);
        if (!keep)
          from.insert(from.begin() + axis, Value());
        Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value size = tensor::DimOp::create(b, n.loc, x, axis);
        Value best = n.fold(
            b, size, zero, [&](OpBuilder &b, Value i, Value best) -> Value {
              SmallVector<Value> here(from), there(from);
              here[axis] = i, there[axis] = best;
              Value p = n.read(b, x, here), q = n.read(b, x, there);
              Value better;
              if (isa<FloatType>(p.getType())) {
                auto predicate =
                    largest
                        ? (lastWins ? CmpFPredicate::OGE : CmpFPredicate::OGT)
                        : (lastWins ? CmpFPredicate::OLE : CmpFPredicate::OLT);
                better = arith::CmpFOp::create(b, n.loc, predicate, p, q);
              } else {
                bool u = NodeLowering::isUnsigned(element);
                auto predicate =
                    largest
                        ? (lastWins
                               ? (u ? CmpIPredicate::uge : CmpIPredicate::sge)
                               : (u ? CmpIPredicate::ugt : CmpIPredicate::sgt))
                        : (lastWins
                               ? (u ? CmpIPredicate::ule : CmpIPredicate::sle)
                               : (u ? CmpIPredicate::ult : CmpIPredicate::slt));
                better = arith::CmpIOp::create(b, n.loc, predicate, p, q);
              }
              return arith::SelectOp::create(b, n.loc, better, i, best);
            });
        return arith::IndexCastOp::create(b, n.loc, b.getI64Type(), best);
      });
  return success();
}

/// Max, then sum of exponentials, along `axis`, as tensors of the other sizes.
template <bool logarithm>
LogicalResult softmax(NodeLowering &n) {
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  bool old = n.node.getVersion() < 13; // all dimensions from the axis on
  int64_t axis = n.axis(n.node.intAttribute("axis", old ? 1 : -1), rank);
  SmallVector<int64_t> axes{axis};
  if (old)
    for (int64_t d = axis + 1; d < rank; ++d)
      axes.push_back(d);
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < rank; ++d)
    sizes.push_back(llvm::is_contained(axes, d) ? n.index(1) : n.dim(x, d));
  Type type = NodeLowering::computeType(n.elementOf(0));
  auto along =
      [&](Value init,
          function_ref<Value(OpBuilder &, Value, Value, ValueRange)> body) {
        return n.compute(type, sizes, [&](OpBuilder &b, ValueRange at) {
          Value start = n.constant(b, type, init ? 0 : -INFINITY);
          return foldAxes(b, n, x, axes, SmallVector<Value>(at), start,
                          [&](OpBuilder &b, Value value, Value acc) {
                            return body(b, value, acc, at);
                          });
        });
      };
  Value maximum = along(
      Value(), [&](OpBuilder &b, Value v, Value acc, ValueRange) -> Value {
        return arith::MaximumFOp::create(b, n.loc, acc, v);
      });
  Value sum = along(
      maximum, [&](OpBuilder &b, Value v, Value acc, ValueRange at) -> Value {
        Value m = n.read(b, maximum, at);
        Value e = math::ExpOp::create(b, n.loc,
                                      arith::SubFOp::create(b, n.loc, v, m));
        return arith::AddFOp::create(b, n.loc, acc, e);
      });
  n.out[0] = n.compute(
      n.resultElement(), n.dims(x), [&](OpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> row(at);
        for (int64_t a : axes)
          row[a] = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value shifted = arith::SubFOp::create(b, n.loc, n.read(b, x, at),
                                              n.read(b, maximum, row));
        Value total = n.read(b, sum, row);
        if (logarithm)
          return arith::SubFOp::create(b, n.loc, shifted,
                                       math::LogOp::create(b, n.loc, total));
        return arith::DivFOp::create(
            b, n.loc, math::ExpOp::create(b, n.loc, shifted), total);
      });
  return success();
}

/// y = (x - mean) / sqrt(var + epsilon) * scale (+ bias), over all dimensions
/// from the axis on; without the mean for RMS norms.
Value normalize(NodeLowering &n, Value x, Value scale, Value bias, int64_t axis,
                double epsilon, bool centered, Type element) {
  int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
  SmallVector<int64_t> axes;
  SmallVector<Value> sizes = n.dims(x), folded;
  SmallVector<Value> rows(sizes);
  for (int64_t d = axis; d < rank; ++d) {
    axes.push_back(d);
    folded.push_back(sizes[d]);
    rows[d] = n.index(1);
  }
  Type type = NodeLowering::computeType(element);
  Value count = n.product(folded);
  auto mean = [&](function_ref<Value(OpBuilder &, Value, ValueRange)> of) {
    return n.compute(type, rows, [&](OpBuilder &b, ValueRange at) -> Value {
      Value sum = foldAxes(
          b, n, x, axes, SmallVector<Value>(at), n.constant(b, type, 0),
          [&](OpBuilder &b, Value v, Value acc) -> Value {
            return arith::AddFOp::create(b, n.loc, acc, of(b, v, at));
          });
      Value i = arith::IndexCastOp::create(b, n.loc, b.getI64Type(), count);
      Value size = arith::SIToFPOp::create(b, n.loc, type, i);
      return arith::DivFOp::create(b, n.loc, sum, size);
    });
  };
  Value center;
  if (centered)
    center = mean([&](OpBuilder &, Value v, ValueRange) { return v; });
  Value variance = mean([&](OpBuilder &b, Value v, ValueRange at) -> Value {
    if (centered)
      v = arith::SubFOp::create(b, n.loc, v, n.read(b, center, at));
    return arith::MulFOp::create(b, n.loc, v, v);
  });
  return n.compute(element, sizes, [&](OpBuilder &b, ValueRange at) -> Value {
    SmallVector<Value> row(at);
    for (int64_t a : axes)
      row[a] = arith::ConstantIndexOp::create(b, n.loc, 0);
    Value v = n.read(b, x, at);
    if (centered)
      v = arith::SubFOp::create(b, n.loc, v, n.read(b, center, row));
    Value eps = n.constant(b, type, epsilon);
    Value root = math::SqrtOp::create(
        b, n.loc,
        arith::AddFOp::create(b, n.loc, n.read(b, variance, row), eps));
    v = arith::DivFOp::create(b, n.loc, v, root);
    v = arith::MulFOp::create(b, n.loc, v, n.readBroadcast(b, scale, at));
    if (bias)
      v = arith::AddFOp::create(b, n.loc, v, n.readBroadcast(b, bias, at));
    return v;
  });
}

/// Further outputs (statistics for training) are refused where they are read.
LogicalResult refuseStatistics(NodeLowering &n, unsigned first) {
  for (unsigned i = first; i < n.node.getNumResults(); ++i)
    if (!n.node.getResult(i).use_empty())
      return n.node.emitError("output ") << i << " is not supported";
  return success();
}

template <bool centered>
LogicalResult normalization(NodeLowering &n) {
  int64_t axis = n.axis(n.node.intAttribute("axis", -1), n.rank(0));
  n.out[0] = normalize(n, n.in[0], n.in[1], n.has(2) ? n.in[2] : Value(), axis,
                       n.node.floatAttribute("epsilon", 1e-5), centered,
                       n.resultElement());
  return refuseStatistics(n, 1);
}

/// com.microsoft.SkipSimplifiedLayerNormalization: output 3 is the sum.
LogicalResult skipNormalization(NodeLowering &n) {
  Type element = n.resultElement();
  Value sum = n.compute(
      element, n.dims(n.in[0]), [&](OpBuilder &b, ValueRange at) -> Value {
        Value s = arith::AddFOp::create(b, n.loc, n.read(b, n.in[0], at),
                                        n.readBroadcast(b, n.in[1], at));
        if (n.has(3))
          s = arith::AddFOp::create(b, n.loc, s,
                                    n.readBroadcast(b, n.in[3], at));
        return s;
      });
  n.out[0] = normalize(n, sum, n.in[2], {}, n.rank(0) - 1,
                       n.node.floatAttribute("epsilon", 1e-12), false, element);
  if (n.out.size() > 3)
    n.out[3] = sum;
  for (unsigned i : {1u, 2u})
    if (i < n.node.getNumResults() && !n.node.getResult(i).use_empty())
      return n.node.emitError("output ") << i << " is not supported";
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

/// Selection by rank: element j goes to the place that counts how many come
/// before it. Ties keep their order, so the lower index wins. The result is
/// always sorted, which `sorted = 0` allows.
LogicalResult topK(NodeLowering &n) {
  OpBuilder &builder = n.builder;
  Value x = n.in[0];
  int64_t rank = n.rank(0);
  int64_t axis = n.axis(n.node.intAttribute("axis", -1), rank);
  bool largest = n.node.intAttribute("largest", 1);
  Value k =
      n.has(1) ? n.intAt(n.in[1], 0) : n.index(n.node.intAttribute("k", 1));
  Value size = n.dim(x, axis);
  Value fits =
      arith::CmpIOp::create(builder, n.loc, CmpIPredicate::sle, k, size);
  n.require(builder, fits, "k is larger than the dimension");
  k = n.max(n.min(k, size), n.index(0));
  Type element = n.elementOf(0);
  bool u = NodeLowering::isUnsigned(element);
  // places[..., j]: where element j of the row belongs.
  Value places = n.compute(
      builder.getIndexType(), n.dims(x), [&](OpBuilder &b, ValueRange at) {
        Value mine = n.read(b, x, at);
        Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value length = tensor::DimOp::create(b, n.loc, x, axis);
        return n.fold(
            b, length, zero, [&](OpBuilder &b, Value i, Value before) -> Value {
              SmallVector<Value> there(at);
              there[axis] = i;
              Value other = n.read(b, x, there);
              Value ahead, equal;
              if (isa<FloatType>(mine.getType())) {
                ahead = arith::CmpFOp::create(
                    b, n.loc, largest ? CmpFPredicate::OGT : CmpFPredicate::OLT,
                    other, mine);
                // NaN has no order: it counts as equal, so places stay
                // distinct.
                Value behind = arith::CmpFOp::create(
                    b, n.loc, largest ? CmpFPredicate::OLT : CmpFPredicate::OGT,
                    other, mine);
                Value one = n.constant(b, b.getI1Type(), 1);
                equal = arith::XOrIOp::create(
                    b, n.loc, arith::OrIOp::create(b, n.loc, ahead, behind),
                    one);
              } else {
                auto predicate =
                    largest ? (u ? CmpIPredicate::ugt : CmpIPredicate::sgt)
                            : (u ? CmpIPredicate::ult : CmpIPredicate::slt);
                ahead = arith::CmpIOp::create(b, n.loc, predicate, other, mine);
                equal = arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq,
                                              other, mine);
              }
              Value earlier = arith::CmpIOp::create(
                  b, n.loc, CmpIPredicate::ult, i, at[axis]);
              Value tie = arith::AndIOp::create(b, n.loc, equal, earlier);
              Value counts = arith::OrIOp::create(b, n.loc, ahead, tie);
              Value one = arith::ConstantIndexOp::create(b, n.loc, 1);
              Value more = arith::AddIOp::create(b, n.loc, before, one);
              return arith::SelectOp::create(b, n.loc, counts, more, before);
            });
      });
  SmallVector<Value> sizes = n.dims(x);
  sizes[axis] = k;
  n.out[1] = n.compute(
      n.resultElement(1), sizes, [&](OpBuilder &b, ValueRange at) -> Value {
        Value zero = arith::ConstantIndexOp::create(b, n.loc, 0);
        Value length = tensor::DimOp::create(b, n.loc, x, axis);
        Value found = n.fold(
            b, length, zero, [&](OpBuilder &b, Value i, Value found) -> Value {
              SmallVector<Value> there(at);
              there[axis] = i;
              Value where = tensor::ExtractOp::create(b, n.loc, places, there);
              Value is = arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq,
                                               where, at[axis]);
              return arith::SelectOp::create(b, n.loc, is, i, found);
            });
        return arith::IndexCastOp::create(b, n.loc, b.getI64Type(), found);
      });
  Value chosen = n.out[1];
  n.out[0] =
      n.compute(n.resultElement(0), sizes, [&](OpBuilder &b, ValueRange at) {
        SmallVector<Value> from(at);
        from[axis] = arith::IndexCastOp::create(
            b, n.loc, b.getIndexType(),
            tensor::ExtractOp::create(b, n.loc, chosen, at));
        return n.read(b, x, from);
      });
  return success();
}

/// (x - zero_point) * scale; per tensor, per axis, or per block of an axis.
LogicalResult dequantize(NodeLowering &n) {
  Value x = n.in[0], scale = n.in[1];
  int64_t rank = n.rank(0), scaleRank = n.rank(1);
  int64_t block = n.node.intAttribute("block_size", 0);
  int64_t axis = rank ? n.axis(n.node.intAttribute("axis", 1), rank) : 0;
  Type quantized = n.elementOf(0), element = n.elementOf(1);
  n.out[0] = n.compute(
      n.resultElement(), n.dims(x), [&](OpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> from;
        if (block) {
          from.assign(at.begin(), at.end());
          Value size = arith::ConstantIndexOp::create(b, n.loc, block);
          from[axis] = arith::DivUIOp::create(b, n.loc, at[axis], size);
        } else if (scaleRank == 1) {
          auto type = cast<RankedTensorType>(scale.getType());
          from.push_back(
              type.getDimSize(0) == 1
                  ? arith::ConstantIndexOp::create(b, n.loc, 0).getResult()
                  : at[axis]);
        }
        Type type = NodeLowering::computeType(element);
        auto widen = [&](Value tensor, ValueRange where) {
          Value v = tensor::ExtractOp::create(b, n.loc, tensor, where);
          if (isa<FloatType>(v.getType()))
            return n.narrow(b, v, type);
          return n.castElement(b, v, quantized, type);
        };
        Value v = widen(x, at);
        if (n.has(2))
          v = arith::SubFOp::create(b, n.loc, v, widen(n.in[2], from));
        return arith::MulFOp::create(b, n.loc, v, n.read(b, scale, from));
      });
  return success();
}
} // namespace

void moe::addReduceLowerings(LoweringTable &table) {
  table["ReduceSum"] = reduce<Kind::Sum>;
  table["ReduceMean"] = reduce<Kind::Mean>;
  table["ReduceMax"] = reduce<Kind::Max>;
  table["ReduceMin"] = reduce<Kind::Min>;
  table["ReduceProd"] = reduce<Kind::Prod>;
  table["ReduceL2"] = reduce<Kind::L2>;
  table["ArgMax"] = argReduce<true>;
  table["ArgMin"] = argReduce<false>;
  table["Softmax"] = softmax<false>;
  table["LogSoftmax"] = softmax<true>;
  table["LayerNormalization"] = normalization<true>;
  table["RMSNormalization"] = normalization<false>;
  table["SimplifiedLayerNormalization"] = normalization<false>;
  table["com.microsoft.SkipSimplifiedLayerNormalization"] = skipNormalization;
  table["CumSum"] = cumSum;
  table["TopK"] = topK;
  table["DequantizeLinear"] = dequantize;
}
