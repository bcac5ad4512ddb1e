// Softmax and norms.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace moe;

namespace {
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

/// An error that names the node.
InFlightDiagnostic refuse(NodeLowering &n) {
  InFlightDiagnostic error = n.node.emitError(n.node.getOpType());
  if (auto name = dyn_cast<NameLoc>(n.loc); name && !name.getName().empty())
    error << " '" << name.getName().getValue() << "'";
  error << ": ";
  return error;
}

/// Only floats have means and roots; `count` inputs are looked at.
LogicalResult checkFloats(NodeLowering &n, unsigned count) {
  for (unsigned i = 0; i < count; ++i)
    if (n.has(i) && !isa<FloatType>(n.elementOf(i)))
      return refuse(n) << "input " << i << " has elements of type "
                       << n.elementOf(i) << ", but floats are needed";
  return success();
}

/// Whether dimension `d` of input `i` has `size` entries (or 1, where that may
/// be): told now where sizes are known, else by the run.
LogicalResult checkSize(NodeLowering &n, unsigned i, int64_t d, Value size,
                        bool orOne) {
  auto type = cast<RankedTensorType>(n.in[i].getType());
  if (orOne && type.getDimSize(d) == 1)
    return success();
  APInt wanted;
  bool known = matchPattern(size, m_ConstantInt(&wanted));
  if (known && !type.isDynamicDim(d)) {
    if (wanted == static_cast<uint64_t>(type.getDimSize(d)))
      return success();
    return refuse(n) << "input " << i << " has type " << type
                     << ", but dimension " << d << " must be "
                     << wanted.getZExtValue();
  }
  auto equals = [&](Value other) -> Value {
    return arith::CmpIOp::create(n.builder, n.loc, arith::CmpIPredicate::eq,
                                 n.dim(n.in[i], d), other);
  };
  Value fits = equals(size);
  if (orOne && type.isDynamicDim(d))
    fits = arith::OrIOp::create(n.builder, n.loc, fits, equals(n.index(1)));
  n.require(n.builder, fits,
            "input " + std::to_string(i) + " does not fit the sizes of x");
  return success();
}

/// Whether input `i` can be broadcast to the sizes of `x`.
LogicalResult checkBroadcast(NodeLowering &n, unsigned i, Value x) {
  auto type = cast<RankedTensorType>(n.in[i].getType());
  int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
  if (type.getRank() > rank)
    return refuse(n) << "input " << i << " has type " << type
                     << ", more dimensions than x, which is " << x.getType();
  for (int64_t d = 0; d < type.getRank(); ++d)
    if (failed(checkSize(n, i, d, n.dim(x, rank - type.getRank() + d),
                         /*orOne=*/true)))
      return failure();
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
  if (axis < 0 || axis >= n.rank(0))
    return refuse(n) << "has no dimension " << n.node.intAttribute("axis", -1)
                     << " in x, which is " << n.in[0].getType();
  if (failed(checkFloats(n, 3)))
    return failure();
  for (unsigned i : {1u, 2u})
    if (n.has(i) && failed(checkBroadcast(n, i, n.in[0])))
      return failure();
  n.out[0] = normalize(n, n.in[0], n.in[1], n.has(2) ? n.in[2] : Value(), axis,
                       n.node.floatAttribute("epsilon", 1e-5), centered,
                       n.resultElement());
  return refuseStatistics(n, 1);
}

/// In its inference form: channels are dimension 1; a list has one channel.
LogicalResult batchNormalization(NodeLowering &n) {
  if (n.node.intAttribute("training_mode", 0) ||
      !n.node.intAttribute("spatial", 1))
    return n.node.emitError(n.node.intAttribute("training_mode", 0)
                                ? "is in its training form, which is not "
                                  "supported"
                                : "with spatial = 0 is not supported");
  int64_t rank = n.rank(0);
  if (rank == 0)
    return refuse(n) << "needs x [batch, channels, ...], not "
                     << n.in[0].getType();
  if (failed(checkFloats(n, 5)))
    return failure();
  Value channels = rank == 1 ? n.index(1) : n.dim(n.in[0], 1);
  for (unsigned i : {1u, 2u, 3u, 4u}) {
    if (n.rank(i) != 1)
      return refuse(n) << "input " << i << " has type " << n.in[i].getType()
                       << ", but must be a list of one number per channel";
    if (failed(checkSize(n, i, 0, channels, /*orOne=*/false)))
      return failure();
  }
  double epsilon = n.node.floatAttribute("epsilon", 1e-5);
  Type element = n.resultElement();
  Type type = NodeLowering::computeType(element);
  n.out[0] = n.compute(
      element, n.dims(n.in[0]), [&](OpBuilder &b, ValueRange at) -> Value {
        Value place =
            rank == 1 ? arith::ConstantIndexOp::create(b, n.loc, 0) : at[1];
        auto channel = [&](unsigned i) {
          return n.narrow(b, n.read(b, n.in[i], place), type);
        };
        Value v = n.read(b, n.in[0], at);
        Value root = math::SqrtOp::create(
            b, n.loc,
            arith::AddFOp::create(b, n.loc, channel(4),
                                  n.constant(b, type, epsilon)));
        v = arith::SubFOp::create(b, n.loc, v, channel(3));
        v = arith::DivFOp::create(b, n.loc, v, root);
        v = arith::MulFOp::create(b, n.loc, v, channel(1));
        return arith::AddFOp::create(b, n.loc, v, channel(2));
      });
  return refuseStatistics(n, 1);
}

/// com.microsoft.SkipSimplifiedLayerNormalization: output 3 is the sum.
LogicalResult skipNormalization(NodeLowering &n) {
  if (n.rank(0) == 0)
    return refuse(n) << "needs x [..., features], not " << n.in[0].getType();
  if (failed(checkFloats(n, 4)))
    return failure();
  for (unsigned i : {1u, 2u, 3u})
    if (n.has(i) && failed(checkBroadcast(n, i, n.in[0])))
      return failure();
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
} // namespace

void moe::addNormalizeLowerings(LoweringTable &table) {
  table["Softmax"] = softmax<false>;
  table["LogSoftmax"] = softmax<true>;
  table["BatchNormalization"] = batchNormalization;
  table["LayerNormalization"] = normalization<true>;
  table["RMSNormalization"] = normalization<false>;
  table["SimplifiedLayerNormalization"] = normalization<false>;
  table["com.microsoft.SkipSimplifiedLayerNormalization"] = skipNormalization;
}
