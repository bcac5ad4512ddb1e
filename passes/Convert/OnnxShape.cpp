// Operators that move elements or make shapes.
#include "dialects/Onnx/Indexing.h"
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
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

LogicalResult reshape(NodeLowering &n) {
  FailureOr<int64_t> rank = n.staticLength(n.in[1]);
  if (failed(rank))
    return failure();
  bool allowZero = n.node.intAttribute("allowzero", 0);
  auto result = cast<RankedTensorType>(n.node.getOutputs()[0].getType());
  Value all = n.product(n.dims(n.in[0]));
  SmallVector<Value> sizes;
  Value zero = n.index(0), one = n.index(1), minus = n.index(-1);
  for (int64_t i = 0; i < *rank; ++i) {
    // What the importer could tell is what the shape says.
    if (!result.isDynamicDim(i) && !n.constantInts(1)) {
      sizes.push_back(n.index(result.getDimSize(i)));
      continue;
    }
    Value size = n.intAt(n.in[1], i);
    if (!allowZero && i < n.rank(0))
      size = n.selectEqual(size, zero, n.dim(n.in[0], i), size);
    sizes.push_back(size);
  }
  // One size may be -1: what is left.
  Value known = one;
  for (Value size : sizes)
    known = n.mul(known, n.selectEqual(size, minus, one, size));
  Value safe = n.max(known, one);
  Value rest = arith::DivSIOp::create(n.builder, n.loc, all, safe);
  for (Value &size : sizes)
    size = n.selectEqual(size, minus, rest, size);
  Value same = arith::CmpIOp::create(n.builder, n.loc, CmpIPredicate::eq,
                                     n.product(sizes), all);
  n.require(n.builder, same, "the new shape has another number of elements");
  n.out[0] = n.reshape(n.in[0], sizes);
  return success();
}

LogicalResult flatten(NodeLowering &n) {
  int64_t axis = n.node.intAttribute("axis", 1);
  if (axis < 0)
    axis += n.rank(0);
  SmallVector<Value> sizes = n.dims(n.in[0]);
  n.out[0] =
      n.reshape(n.in[0], {n.product(ArrayRef<Value>(sizes).take_front(axis)),
                          n.product(ArrayRef<Value>(sizes).drop_front(axis))});
  return success();
}

LogicalResult squeeze(NodeLowering &n) {
  auto axes = n.axes(1);
  if (failed(axes))
    return failure();
  auto type = cast<RankedTensorType>(n.in[0].getType());
  SmallVector<Value> sizes;
  for (int64_t d = 0; d < type.getRank(); ++d) {
    bool gone = axes->empty() ? type.getDimSize(d) == 1
                              : llvm::any_of(*axes, [&](int64_t a) {
                                  return n.axis(a, type.getRank()) == d;
                                });
    if (!gone) {
      sizes.push_back(n.dim(n.in[0], d));
    } else if (type.isDynamicDim(d)) {
      Value one = arith::CmpIOp::create(n.builder, n.loc, CmpIPredicate::eq,
                                        n.dim(n.in[0], d), n.index(1));
      n.require(n.builder, one, "a removed dimension is not 1");
    }
  }
  n.out[0] = n.reshape(n.in[0], sizes);
  return success();
}

LogicalResult unsqueeze(NodeLowering &n) {
  auto axes = n.axes(1);
  if (failed(axes))
    return failure();
  int64_t rank = n.rank(0) + axes->size();
  SmallVector<Value> sizes;
  for (int64_t d = 0, from = 0; d < rank; ++d) {
    bool added =
        llvm::any_of(*axes, [&](int64_t a) { return n.axis(a, rank) == d; });
    sizes.push_back(added ? n.index(1) : n.dim(n.in[0], from++));
  }
  n.out[0] = n.reshape(n.in[0], sizes);
  return success();
}

LogicalResult transpose(NodeLowering &n) {
  int64_t rank = n.rank(0);
  SmallVector<int64_t> perm = n.node.intsAttribute("perm");
  if (!n.node.attribute("perm"))
    for (int64_t d = rank; d-- > 0;)
      perm.push_back(d);
  SmallVector<Value> sizes;
  for (int64_t d : perm)
    sizes.push_back(n.dim(n.in[0], d));
  n.out[0] =
      n.compute(n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) {
        SmallVector<Value> from(rank);
        for (int64_t d = 0; d < rank; ++d)
          from[perm[d]] = at[d];
        return n.read(b, n.in[0], from);
      });
  return success();
}

LogicalResult concat(NodeLowering &n) {
  int64_t rank = n.rank(0);
  int64_t axis = n.axis(n.node.intAttribute("axis", 0), rank);
  SmallVector<Value> sizes = n.dims(n.in[0]);
  for (Value input : ArrayRef<Value>(n.in).drop_front()) {
    sizes[axis] = n.add(sizes[axis], n.dim(input, axis));
    for (int64_t d = 0; d < rank; ++d)
      if (d != axis) {
        auto type = cast<RankedTensorType>(input.getType());
        auto first = cast<RankedTensorType>(n.in[0].getType());
        if (!type.isDynamicDim(d) && !first.isDynamicDim(d))
          continue;
        Value same = arith::CmpIOp::create(n.builder, n.loc, CmpIPredicate::eq,
                                           n.dim(input, d), sizes[d]);
        n.require(n.builder, same, "sizes of the joined tensors differ");
      }
  }
  Value joined = n.empty(n.resultElement(), sizes);
  Value offset = n.index(0);
  for (Value input : n.in) {
    SmallVector<OpFoldResult> offsets(rank, n.builder.getIndexAttr(0));
    SmallVector<OpFoldResult> extents, strides(rank, n.builder.getIndexAttr(1));
    offsets[axis] = getAsOpFoldResult(offset);
    for (Value size : n.dims(input))
      extents.push_back(getAsOpFoldResult(size));
    joined = tensor::InsertSliceOp::create(n.builder, n.loc, input, joined,
                                           offsets, extents, strides);
    offset = n.add(offset, n.dim(input, axis));
  }
  n.out[0] = joined;
  return success();
}

/// Sizes and offsets of Slice along one axis (ONNX Slice-13, numpy's rules).
struct Cut {
  Value start, step, count;
};

Cut cutOf(NodeLowering &n, Value start, Value end, Value step, Value size) {
  OpBuilder &b = n.builder;
  Value zero = n.index(0), one = n.index(1);
  Value forward =
      arith::CmpIOp::create(b, n.loc, CmpIPredicate::sgt, step, zero);
  start = n.fromEnd(b, start, size);
  end = n.fromEnd(b, end, size);
  auto pick = [&](Value x, Value y) -> Value {
    return arith::SelectOp::create(b, n.loc, forward, x, y);
  };
  Value last = n.sub(size, one), minus = n.index(-1);
  start =
      pick(n.min(n.max(start, zero), size), n.min(n.max(start, minus), last));
  end = pick(n.min(n.max(end, zero), size), n.min(n.max(end, minus), last));
  // Rounded up; the step is not zero.
  Value span = n.sub(end, start);
  Value towards = pick(n.index(-1), one);
  Value adjusted = n.add(n.add(span, step), towards);
  Value safe = n.selectEqual(step, zero, one, step);
  Value count = arith::DivSIOp::create(b, n.loc, adjusted, safe);
  return {start, step, n.max(count, zero)};
}

LogicalResult slice(NodeLowering &n) {
  int64_t rank = n.rank(0);
  SmallVector<Value> starts, ends, steps;
  SmallVector<int64_t> axes;
  if (n.node.getVersion() < 10) {
    for (int64_t v : n.node.intsAttribute("starts"))
      starts.push_back(n.index(v));
    for (int64_t v : n.node.intsAttribute("ends"))
      ends.push_back(n.index(v));
    axes = n.node.intsAttribute("axes");
  } else {
    FailureOr<int64_t> count = n.staticLength(n.in[1]);
    if (failed(count))
      return failure();
    for (int64_t i = 0; i < *count; ++i) {
      starts.push_back(n.intAt(n.in[1], i));
      ends.push_back(n.intAt(n.in[2], i));
      steps.push_back(n.has(4) ? n.intAt(n.in[4], i) : n.index(1));
    }
    if (n.has(3)) {
      auto constant = n.constantInts(3);
      if (!constant)
        return n.node.emitError("needs constant axes");
      axes = *constant;
    }
  }
  if (axes.empty())
    for (size_t i = 0; i < starts.size(); ++i)
      axes.push_back(i);
  steps.resize(starts.size(), n.index(1));
  SmallVector<Cut> cuts(rank);
  SmallVector<Value> sizes = n.dims(n.in[0]);
  for (int64_t d = 0; d < rank; ++d)
    cuts[d] = {n.index(0), n.index(1), sizes[d]};
  for (auto [i, a] : llvm::enumerate(axes)) {
    int64_t d = n.axis(a, rank);
    cuts[d] = cutOf(n, starts[i], ends[i], steps[i], sizes[d]);
    sizes[d] = cuts[d].count;
  }
  n.out[0] =
      n.compute(n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) {
        SmallVector<Value> from;
        for (int64_t d = 0; d < rank; ++d)
          from.push_back(arith::AddIOp::create(
              b, n.loc, cuts[d].start,
              arith::MulIOp::create(b, n.loc, at[d], cuts[d].step)));
        return n.read(b, n.in[0], from);
      });
  return success();
}

LogicalResult split(NodeLowering &n) {
  int64_t rank = n.rank(0);
  int64_t axis = n.axis(n.node.intAttribute("axis", 0), rank);
  Value whole = n.dim(n.in[0], axis), offset = n.index(0);
  SmallVector<int64_t> given = n.node.intsAttribute("split");
  int64_t parts = n.out.size();
  Value part =
      arith::CeilDivSIOp::create(n.builder, n.loc, whole, n.index(parts));
  for (int64_t i = 0; i < parts; ++i) {
    Value size;
    if (!given.empty())
      size = n.index(given[i]);
    else if (n.has(1))
      size = n.intAt(n.in[1], i);
    else
      size = n.max(n.min(part, n.sub(whole, offset)), n.index(0));
    SmallVector<Value> sizes = n.dims(n.in[0]);
    sizes[axis] = size;
    Value from = offset;
    offset = n.add(offset, size);
    Value inside = arith::CmpIOp::create(n.builder, n.loc, CmpIPredicate::sle,
                                         offset, whole);
    n.require(n.builder, inside, "the parts are larger than the input");
    n.out[i] =
        n.compute(n.resultElement(i), sizes, [&](OpBuilder &b, ValueRange at) {
          SmallVector<Value> source(at);
          source[axis] = arith::AddIOp::create(b, n.loc, at[axis], from);
          return n.read(b, n.in[0], source);
        });
  }
  return success();
}

LogicalResult tile(NodeLowering &n) {
  SmallVector<Value> sizes = n.dims(n.in[0]);
  for (auto [d, size] : llvm::enumerate(sizes))
    size = n.mul(size, n.max(n.intAt(n.in[1], d), n.index(0)));
  n.out[0] =
      n.compute(n.resultElement(), sizes, [&](OpBuilder &b, ValueRange at) {
        SmallVector<Value> from;
        for (auto [d, i] : llvm::enumerate(at)) {
          Value size = tensor::DimOp::create(b, n.loc, n.in[0], d);
          from.push_back(arith::RemUIOp::create(b, n.loc, i, size));
        }
        return n.read(b, n.in[0], from);
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
  table["Reshape"] = reshape;
  table["Flatten"] = flatten;
  table["Squeeze"] = squeeze;
  table["Unsqueeze"] = unsqueeze;
  table["Transpose"] = transpose;
  table["Concat"] = concat;
  table["Slice"] = slice;
  table["Split"] = split;
  table["Tile"] = tile;
  table["Trilu"] = trilu;
}
