// moert.gemm as loops, and the products that experts share with it.
#include "passes/Convert/MoERTLoops.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace moe;

// Several panels at a time, their sums in registers, so that enough independent
// chains hide the latency of an FMA.
Value moe::timesPanels(Code c, Value row, Value weights, Value e) {
  constexpr int64_t lanes = 16, most = 6;
  int64_t panels = sizeOf(weights, 1), depth = sizeOf(weights, 2),
          width = sizeOf(weights, 3);
  Type element = cast<RankedTensorType>(weights.getType()).getElementType();
  auto vector = VectorType::get({lanes}, c.real);
  auto stored = VectorType::get({lanes}, element);
  int64_t block = most;
  while (panels % block != 0)
    --block;
  int64_t parts = width / lanes, chains = block * parts;
  Value product = c.empty({panels, width});
  return c.fold(
      c.index(panels / block), product, [&](Code c, Value i, Value product) {
        Value first = arith::MulIOp::create(c.b, c.loc, i, c.index(block));
        SmallVector<Value> panel;
        for (int64_t p = 0; p < block; ++p)
          panel.push_back(arith::AddIOp::create(c.b, c.loc, first, c.index(p)));
        Value zero =
            arith::ConstantOp::create(c.b, c.loc, c.b.getZeroAttr(vector));
        auto loop = scf::ForOp::create(
            c.b, c.loc, c.index(0), c.index(depth), c.index(1),
            SmallVector<Value>(chains, zero),
            [&](OpBuilder &inner, Location loc, Value k, ValueRange sums) {
              Code body(inner, c);
              Value x = vector::BroadcastOp::create(inner, loc, vector,
                                                    body.at(row, k));
              Value padding = arith::ConstantOp::create(
                  inner, loc, inner.getZeroAttr(element));
              SmallVector<Value> next;
              for (int64_t n = 0; n < chains; ++n) {
                Value w = vector::TransferReadOp::create(
                    inner, loc, stored, weights,
                    ValueRange{e, panel[n / parts], k,
                               body.index(n % parts * lanes)},
                    padding, ArrayRef<bool>{true});
                if (stored != vector)
                  w = arith::ExtFOp::create(inner, loc, vector, w);
                next.push_back(
                    vector::FMAOp::create(inner, loc, x, w, sums[n]));
              }
              scf::YieldOp::create(inner, loc, next);
            });
        for (int64_t n = 0; n < chains; ++n)
          product =
              vector::TransferWriteOp::create(
                  c.b, c.loc, loop.getResult(n), product,
                  ValueRange{panel[n / parts], c.index(n % parts * lanes)},
                  ArrayRef<bool>{true})
                  .getResult();
        return product;
      });
}

Value moe::timesExpert(Code c, Value row, Value weights, Value e) {
  if (cast<RankedTensorType>(weights.getType()).getRank() == 4)
    return timesPanels(c, row, weights, e);
  Value depth = c.index(sizeOf(weights, 2));
  return c.vector(sizeOf(weights, 1), [&](Code c, Value n) {
    return c.fold(depth, c.number(0), [&](Code c, Value k, Value sum) {
      return c.add(sum, c.mul(c.at(row, k), c.at(weights, {e, n, k})));
    });
  });
}

Value moe::column(Code c, Value product, Value n) {
  if (cast<RankedTensorType>(product.getType()).getRank() == 1)
    return c.at(product, n);
  Value width = c.index(sizeOf(product, 1));
  return c.at(product,
              {arith::DivUIOp::create(c.b, c.loc, n, width).getResult(),
               arith::RemUIOp::create(c.b, c.loc, n, width).getResult()});
}

/// Row `t` of a matrix.
static Value rowOf(Code c, Value matrix, Value t) {
  int64_t columns = sizeOf(matrix, 1);
  auto attr = [&](int64_t v) -> OpFoldResult { return c.b.getIndexAttr(v); };
  auto type = RankedTensorType::get(
      {columns}, cast<RankedTensorType>(matrix.getType()).getElementType());
  return tensor::ExtractSliceOp::create(
      c.b, c.loc, type, matrix, ArrayRef<OpFoldResult>{t, attr(0)},
      ArrayRef<OpFoldResult>{attr(1), attr(columns)},
      ArrayRef<OpFoldResult>{attr(1), attr(1)});
}

/// One row at a time; packed weights by panels.
LogicalResult moe::lowerToLoops(moert::GemmOp gemm) {
  OpBuilder builder(gemm);
  auto outs = cast<RankedTensorType>(gemm.getOuts().getType());
  Code c(builder, gemm.getLoc(), outs);
  auto type = dyn_cast<RankedTensorType>(gemm.getX().getType());
  if (type && (type.getRank() != 2 || type.isDynamicDim(1) ||
               outs.isDynamicDim(1) || outs.getElementType() != c.real))
    return lowerModelOp(gemm);
  Value x = gemm.getX(), w = gemm.getWeight();
  int64_t columns = sizeOf(gemm.getOuts(), 1), depth = sizeOf(x, 1);
  bool packed = cast<RankedTensorType>(w.getType()).getRank() == 4;
  Value rows = tensor::DimOp::create(builder, c.loc, x, 0);
  Value result = c.fold(rows, gemm.getOuts(), [&](Code c, Value t, Value y) {
    Value row = rowOf(c, x, t);
    Value product = packed ? timesPanels(c, row, w, c.index(0)) : Value();
    Value line = c.vector(columns, [&](Code c, Value n) {
      Value sum = packed
                      ? column(c, product, n)
                      : c.fold(c.index(depth), c.number(0),
                               [&](Code c, Value k, Value sum) {
                                 Value weight = gemm.getTransposeWeight()
                                                    ? c.at(w, {n, k})
                                                    : c.at(w, {k, n});
                                 return c.add(sum, c.mul(c.at(row, k), weight));
                               });
      if (gemm.getBias())
        sum = c.add(sum, c.at(gemm.getBias(), n));
      if (gemm.getResidual())
        sum = c.add(sum, c.at(gemm.getResidual(), {t, n}));
      return sum;
    });
    auto attr = [&](int64_t v) -> OpFoldResult { return c.b.getIndexAttr(v); };
    return tensor::InsertSliceOp::create(
               c.b, c.loc, line, y, ArrayRef<OpFoldResult>{t, attr(0)},
               ArrayRef<OpFoldResult>{attr(1), attr(columns)},
               ArrayRef<OpFoldResult>{attr(1), attr(1)})
        .getResult();
  });
  gemm.getResult(0).replaceAllUsesWith(result);
  gemm.erase();
  return success();
}
