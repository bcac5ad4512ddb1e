// Matrix products: linalg in the order (batch, row, depth, column), which LLVM
// vectorises along columns.
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;

namespace {
void requireEqual(NodeLowering &n, Value a, Value b, StringRef what) {
  n.require(
      n.builder,
      arith::CmpIOp::create(n.builder, n.loc, arith::CmpIPredicate::eq, a, b),
      what);
}

/// sum_k a(batch, i, k) * b(batch, k, j): `maps` say how a and b are indexed
/// by (batch..., i, k, j).
Value contract(NodeLowering &n, Value a, Value b, AffineMap mapA,
               AffineMap mapB, ValueRange sizes, bool hasRow, bool hasColumn,
               unsigned batch, Type element) {
  OpBuilder &builder = n.builder;
  Type type = NodeLowering::computeType(element);
  Value init = n.empty(type, sizes);
  Value zero = n.constant(builder, type, 0);
  Value filled =
      linalg::FillOp::create(builder, n.loc, zero, init).getResult(0);
  unsigned loops = batch + 3; // row, depth, column
  SmallVector<AffineExpr> result;
  for (unsigned d = 0; d < batch; ++d)
    result.push_back(builder.getAffineDimExpr(d));
  if (hasRow)
    result.push_back(builder.getAffineDimExpr(batch));
  if (hasColumn)
    result.push_back(builder.getAffineDimExpr(batch + 2));
  SmallVector<utils::IteratorType> kinds(loops, utils::IteratorType::parallel);
  kinds[batch + 1] = utils::IteratorType::reduction;
  auto product = linalg::GenericOp::create(
      builder, n.loc, TypeRange{filled.getType()}, ValueRange{a, b},
      ValueRange{filled},
      ArrayRef<AffineMap>{
          mapA, mapB, AffineMap::get(loops, 0, result, builder.getContext())},
      kinds, [&](OpBuilder &body, Location, ValueRange arguments) {
        auto widen = [&](Value v) { return n.narrow(body, v, type); };
        Value term, sum;
        if (isa<FloatType>(type)) {
          term = arith::MulFOp::create(body, n.loc, widen(arguments[0]),
                                       widen(arguments[1]));
          sum = arith::AddFOp::create(body, n.loc, arguments[2], term);
        } else {
          term = arith::MulIOp::create(body, n.loc, arguments[0], arguments[1]);
          sum = arith::AddIOp::create(body, n.loc, arguments[2], term);
        }
        linalg::YieldOp::create(body, n.loc, sum);
      });
  Value result0 = product.getResult(0);
  if (type == NodeLowering::storageType(element))
    return result0;
  return n.compute(element, sizes, [&](OpBuilder &body, ValueRange at) {
    return n.read(body, result0, at);
  });
}

/// A tensor whose leading dimensions are broadcast to `batch`.
Value broadcastBatch(NodeLowering &n, Value tensor, ArrayRef<Value> batch,
                     Type element) {
  auto type = cast<RankedTensorType>(tensor.getType());
  int64_t own = type.getRank() - 2;
  // A dimension of statically equal size or a missing one needs no copy.
  bool plain = true;
  for (int64_t d = 0; d < own; ++d) {
    Value size = n.dim(tensor, d), want = batch[batch.size() - own + d];
    plain &=
        size == want || getConstantIntValue(size) == getConstantIntValue(want);
    if (getConstantIntValue(size) == std::nullopt && size != want)
      plain = false;
  }
  if (plain)
    return tensor;
  SmallVector<Value> sizes(batch.take_back(own));
  sizes.push_back(n.dim(tensor, own));
  sizes.push_back(n.dim(tensor, own + 1));
  return n.compute(element, sizes, [&](OpBuilder &b, ValueRange at) {
    return n.readBroadcast(b, tensor, at);
  });
}

LogicalResult matmul(NodeLowering &n) {
  OpBuilder &b = n.builder;
  Value x = n.in[0], y = n.in[1];
  int64_t rankX = n.rank(0), rankY = n.rank(1);
  Type element = n.resultElement();
  Value depth = n.dim(x, rankX - 1);
  requireEqual(n, depth, n.dim(y, std::max<int64_t>(0, rankY - 2)),
               "the inner sizes differ");
  // Batch sizes, by numpy's rules.
  SmallVector<Value> batch;
  if (rankX > 2 || rankY > 2) {
    SmallVector<Value> lead;
    auto leading = [&](Value tensor, int64_t rank) {
      SmallVector<Value> sizes = n.dims(tensor);
      sizes.resize(std::max<int64_t>(0, rank - 2));
      return n.empty(element, sizes);
    };
    Value a = leading(x, rankX), c = leading(y, rankY);
    batch = n.broadcastSizes({a, c});
    if (rankX > 2)
      x = broadcastBatch(n, x, batch, element);
    if (rankY > 2)
      y = broadcastBatch(n, y, batch, element);
  }
  unsigned count = batch.size(), loops = count + 3;
  auto dimension = [&](unsigned d) { return b.getAffineDimExpr(d); };
  SmallVector<AffineExpr> exprX, exprY;
  for (int64_t d = 0; d < rankX - 2; ++d)
    exprX.push_back(dimension(count - (rankX - 2) + d));
  for (int64_t d = 0; d < rankY - 2; ++d)
    exprY.push_back(dimension(count - (rankY - 2) + d));
  SmallVector<Value> sizes = batch;
  // A vector has no row or column; its loop then runs once, over a unit
  // dimension that the other maps do not mention. Give it one.
  if (rankX == 1) {
    x = n.reshape(x, {n.index(1), depth});
    rankX = 2;
  }
  if (rankY == 1) {
    y = n.reshape(y, {depth, n.index(1)});
    rankY = 2;
  }
  exprX.append({dimension(count), dimension(count + 1)});
  exprY.append({dimension(count + 1), dimension(count + 2)});
  sizes.push_back(n.dim(x, rankX - 2));
  sizes.push_back(n.dim(y, rankY - 1));
  Value product =
      contract(n, x, y, AffineMap::get(loops, 0, exprX, b.getContext()),
               AffineMap::get(loops, 0, exprY, b.getContext()), sizes, true,
               true, count, element);
  SmallVector<Value> wanted = batch;
  if (n.rank(0) > 1)
    wanted.push_back(sizes[count]);
  if (n.rank(1) > 1)
    wanted.push_back(sizes[count + 1]);
  n.out[0] =
      wanted.size() == sizes.size() ? product : n.reshape(product, wanted);
  return success();
}

LogicalResult gemm(NodeLowering &n) {
  OpBuilder &b = n.builder;
  bool ta = n.node.intAttribute("transA", 0),
       tb = n.node.intAttribute("transB", 0);
  Value a = n.in[0], w = n.in[1];
  Type element = n.resultElement();
  requireEqual(n, n.dim(a, ta ? 0 : 1), n.dim(w, tb ? 1 : 0),
               "the inner sizes differ");
  AffineExpr row = b.getAffineDimExpr(0), depth = b.getAffineDimExpr(1),
             column = b.getAffineDimExpr(2);
  auto map = [&](AffineExpr p, AffineExpr q, bool swap) {
    return AffineMap::get(3, 0, swap ? ArrayRef{q, p} : ArrayRef{p, q},
                          b.getContext());
  };
  SmallVector<Value> sizes{n.dim(a, ta ? 1 : 0), n.dim(w, tb ? 0 : 1)};
  Value product = contract(n, a, w, map(row, depth, ta), map(depth, column, tb),
                           sizes, true, true, 0, element);
  double alpha = n.node.floatAttribute("alpha", 1),
         beta = n.node.floatAttribute("beta", 1);
  if (alpha == 1 && !n.has(2)) {
    n.out[0] = product;
    return success();
  }
  n.out[0] =
      n.compute(element, sizes, [&](OpBuilder &body, ValueRange at) -> Value {
        Value y = n.read(body, product, at);
        y = arith::MulFOp::create(body, n.loc, y,
                                  n.constant(body, y.getType(), alpha));
        if (!n.has(2))
          return y;
        Value c = n.readBroadcast(body, n.in[2], at);
        c = arith::MulFOp::create(body, n.loc, c,
                                  n.constant(body, y.getType(), beta));
        return arith::AddFOp::create(body, n.loc, y, c);
      });
  return success();
}
} // namespace

void moe::addMatMulLowerings(LoweringTable &table) {
  table["MatMul"] = matmul;
  table["Gemm"] = gemm;
}
