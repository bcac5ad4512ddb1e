// Operators that give the same elements another shape or order.
#include "passes/Convert/OnnxLowering.h"

using namespace mlir;
using namespace moe;
using arith::CmpIPredicate;

namespace {
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
    // A known size is what the shape says, or what its -1 stands for: also
    // where the tensor is empty and numbers of elements do not tell.
    if (!result.isDynamicDim(i)) {
      sizes.push_back(n.index(result.getDimSize(i)));
      continue;
    }
    Value size = n.intAt(n.in[1], i);
    if (!allowZero && i < n.rank(0))
      size = n.selectEqual(size, zero, n.dim(n.in[0], i), size);
    sizes.push_back(size);
  }
  // One size may be -1: what is left.
  Value rest = one;
  if (n.node.attribute("moe.open_dims")) {
    for (int64_t d : n.node.intsAttribute("moe.open_dims"))
      rest = n.mul(rest, n.dim(n.in[0], d));
  } else {
    Value known = one, open = zero;
    for (Value size : sizes) {
      known = n.mul(known, n.selectEqual(size, minus, one, size));
      open = n.selectEqual(size, minus, one, open);
    }
    Value told =
        arith::CmpIOp::create(n.builder, n.loc, CmpIPredicate::ne,
                              n.selectEqual(open, zero, one, known), zero);
    n.require(n.builder, told,
              "-1 can be any size here, as the tensor and the other new sizes "
              "are empty");
    rest = arith::DivSIOp::create(n.builder, n.loc, all, n.max(known, one));
  }
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
} // namespace

void moe::addReshapeLowerings(LoweringTable &table) {
  table["Reshape"] = reshape;
  table["Flatten"] = flatten;
  table["Squeeze"] = squeeze;
  table["Unsqueeze"] = unsqueeze;
  table["Transpose"] = transpose;
}
