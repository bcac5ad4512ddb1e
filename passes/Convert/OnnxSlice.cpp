// Operators that join tensors, cut them, or repeat them.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;
using arith::CmpIPredicate;

namespace {
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
} // namespace

void moe::addSliceLowerings(LoweringTable &table) {
  table["Concat"] = concat;
  table["Slice"] = slice;
  table["Split"] = split;
  table["Tile"] = tile;
}
