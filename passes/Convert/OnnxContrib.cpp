// Attention operators of the com.microsoft domain, as their documentation
// defines them (ONNX Runtime, ContribOperators).
#include "passes/Convert/OnnxLowering.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moe;
using arith::CmpIPredicate;

namespace {
/// RotaryEmbedding: x is (B, S, heads * D) or (B, heads, S, D); positions (1)
/// are an offset, (B, S) explicit; caches (positions, R / 2).
LogicalResult rotaryEmbedding(NodeLowering &n) {
  Value x = n.in[0], positions = n.in[1], cosines = n.in[2], sines = n.in[3];
  int64_t rank = n.rank(0);
  auto cache = cast<RankedTensorType>(cosines.getType());
  int64_t half = cache.getDimSize(1);
  if (ShapedType::isDynamic(half))
    return n.node.emitError("needs caches of known width");
  int64_t heads = n.node.intAttribute("num_heads", 0);
  bool interleaved = n.node.intAttribute("interleaved", 0);
  int64_t head = 2 * half; // features of a head
  if (rank == 4) {
    head = cast<RankedTensorType>(x.getType()).getDimSize(3);
  } else if (heads > 0) {
    int64_t width = cast<RankedTensorType>(x.getType()).getDimSize(2);
    head = ShapedType::isDynamic(width) ? head : width / heads;
  }
  if (ShapedType::isDynamic(head))
    return n.node.emitError("needs heads of known size");
  n.out[0] = n.compute(
      n.resultElement(), n.dims(x), [&](OpBuilder &b, ValueRange at) -> Value {
        auto index = [&](int64_t v) -> Value {
          return arith::ConstantIndexOp::create(b, n.loc, v);
        };
        Value batch = at[0], step = rank == 4 ? at[2] : at[1];
        Value feature = at[rank - 1];
        Value inHead = arith::RemUIOp::create(b, n.loc, feature, index(head));
        Value place;
        if (n.rank(1) == 2) {
          place = arith::IndexCastOp::create(
              b, n.loc, b.getIndexType(),
              tensor::ExtractOp::create(b, n.loc, positions,
                                        ValueRange{batch, step}));
        } else {
          Value offset =
              tensor::ExtractOp::create(b, n.loc, positions, index(0));
          place = arith::AddIOp::create(
              b, n.loc, step,
              arith::IndexCastOp::create(b, n.loc, b.getIndexType(), offset));
        }
        Value rows = tensor::DimOp::create(b, n.loc, cosines, 0);
        Value inside = arith::AndIOp::create(
            b, n.loc,
            arith::CmpIOp::create(b, n.loc, CmpIPredicate::sge, place,
                                  index(0)),
            arith::CmpIOp::create(b, n.loc, CmpIPredicate::slt, place, rows));
        n.require(b, inside, "a position lies outside the cache");
        Value last = arith::MaxSIOp::create(
            b, n.loc, arith::SubIOp::create(b, n.loc, rows, index(1)),
            index(0));
        place = arith::MinSIOp::create(
            b, n.loc, arith::MaxSIOp::create(b, n.loc, place, index(0)), last);
        // The pair of feature f: (f, f + half), or neighbours.
        Value pair, isSecond;
        if (interleaved) {
          pair = arith::DivUIOp::create(b, n.loc, inHead, index(2));
          Value odd = arith::RemUIOp::create(b, n.loc, inHead, index(2));
          isSecond =
              arith::CmpIOp::create(b, n.loc, CmpIPredicate::eq, odd, index(1));
        } else {
          pair = arith::RemUIOp::create(b, n.loc, inHead, index(half));
          isSecond = arith::CmpIOp::create(b, n.loc, CmpIPredicate::sge, inHead,
                                           index(half));
        }
        int64_t distance = interleaved ? 1 : half;
        Value other = arith::SelectOp::create(
            b, n.loc, isSecond,
            arith::SubIOp::create(b, n.loc, feature, index(distance)),
            arith::AddIOp::create(b, n.loc, feature, index(distance)));
        Value rotated = arith::CmpIOp::create(b, n.loc, CmpIPredicate::slt,
                                              inHead, index(2 * half));
        Value partner =
            arith::SelectOp::create(b, n.loc, rotated, other, feature);
        SmallVector<Value> from(at);
        from[rank - 1] = partner;
        Value mine = n.read(b, x, at), theirs = n.read(b, x, from);
        Value safePair =
            arith::MinUIOp::create(b, n.loc, pair, index(half - 1));
        Value cosine = n.read(b, cosines, {place, safePair});
        Value sine = n.read(b, sines, {place, safePair});
        Value straight = arith::MulFOp::create(b, n.loc, mine, cosine);
        Value cross = arith::MulFOp::create(b, n.loc, theirs, sine);
        Value turned = arith::SelectOp::create(
            b, n.loc, isSecond,
            arith::AddFOp::create(b, n.loc, straight, cross),
            arith::SubFOp::create(b, n.loc, straight, cross));
        return arith::SelectOp::create(b, n.loc, rotated, turned, mine);
      });
  return success();
}

/// MultiHeadAttention with separate query, key, value (B, S, heads * D), and
/// optionally attention_bias (B or 1, heads or 1, S, L) and unidirectional
/// masking; no past. Softmax in f32 or wider.
LogicalResult multiHeadAttention(NodeLowering &n) {
  for (unsigned i : {3u, 4u, 6u, 7u, 8u, 9u})
    if (n.has(i))
      return n.node.emitError("input ") << i << " is not supported";
  if (!n.has(1) || !n.has(2) || n.rank(0) != 3)
    return n.node.emitError("needs query, key and value of their own");
  int64_t heads = n.node.intAttribute("num_heads", 0);
  auto type = cast<RankedTensorType>(n.in[0].getType());
  auto valueType = cast<RankedTensorType>(n.in[2].getType());
  if (heads <= 0 || type.isDynamicDim(2) || n.rank(1) != n.rank(2) ||
      valueType.getRank() != n.rank(1))
    return n.node.emitError("needs num_heads and features of known size");
  int64_t size = type.getDimSize(2) / heads;
  bool headMajor = n.rank(1) == 4; // (B, heads, L, D)
  // Features of a value head; exporters leave them open at times.
  Value valueSize = n.dim(n.in[2], valueType.getRank() - 1);
  if (!headMajor)
    valueSize =
        arith::DivUIOp::create(n.builder, n.loc, valueSize, n.index(heads));
  Value batch = n.dim(n.in[0], 0), rows = n.dim(n.in[0], 1);
  Value fresh = n.dim(n.in[1], headMajor ? 2 : 1);
  Type element = n.resultElement();

  // Keys and values as (B, heads, L, D).
  auto byHead = [&](unsigned input, Value width) {
    if (headMajor)
      return n.in[input];
    SmallVector<Value> sizes{batch, n.index(heads), fresh, width};
    return n.compute(element, sizes, [&](OpBuilder &b, ValueRange at) -> Value {
      Value start = arith::MulIOp::create(b, n.loc, at[1], width);
      Value feature = arith::AddIOp::create(b, n.loc, start, at[3]);
      return n.read(b, n.in[input], {at[0], at[2], feature});
    });
  };
  Value keys = byHead(1, n.index(size)), values = byHead(2, valueSize);
  if (n.out.size() > 1)
    n.out[1] = keys;
  if (n.out.size() > 2)
    n.out[2] = values;

  Value length = n.dim(keys, 2);
  double scale = n.node.floatAttribute("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(static_cast<double>(size));
  bool causal = n.node.intAttribute("unidirectional", 0);
  Type real = NodeLowering::computeType(element);
  Value head = n.index(size);
  Value scores = n.compute(
      real, {batch, n.index(heads), rows, length},
      [&](OpBuilder &b, ValueRange at) -> Value {
        Value start = arith::MulIOp::create(b, n.loc, at[1], head);
        Value dot =
            n.fold(b, head, n.constant(b, real, 0),
                   [&](OpBuilder &b, Value d, Value acc) -> Value {
                     Value feature = arith::AddIOp::create(b, n.loc, start, d);
                     Value q = n.read(b, n.in[0], {at[0], at[2], feature});
                     Value k = n.read(b, keys, {at[0], at[1], at[3], d});
                     return arith::AddFOp::create(
                         b, n.loc, acc, arith::MulFOp::create(b, n.loc, q, k));
                   });
        Value score =
            arith::MulFOp::create(b, n.loc, dot, n.constant(b, real, scale));
        if (n.has(5))
          score = arith::AddFOp::create(b, n.loc, score,
                                        n.readBroadcast(b, n.in[5], at));
        if (causal) {
          Value offset = arith::SubIOp::create(b, n.loc, length, rows);
          Value limit = arith::AddIOp::create(b, n.loc, at[2], offset);
          Value seen =
              arith::CmpIOp::create(b, n.loc, CmpIPredicate::sle, at[3], limit);
          score = arith::SelectOp::create(b, n.loc, seen, score,
                                          n.constant(b, real, -INFINITY));
        }
        return score;
      });
  SmallVector<Value> perRow{batch, n.index(heads), rows};
  auto cell = [&](OpBuilder &b, ValueRange at, Value l) {
    return n.read(b, scores, {at[0], at[1], at[2], l});
  };
  Value maximum = n.compute(real, perRow, [&](OpBuilder &b, ValueRange at) {
    return n.fold(b, length, n.constant(b, real, -INFINITY),
                  [&](OpBuilder &b, Value l, Value acc) -> Value {
                    return arith::MaximumFOp::create(b, n.loc, acc,
                                                     cell(b, at, l));
                  });
  });
  auto weight = [&](OpBuilder &b, ValueRange at, Value l) -> Value {
    Value shifted = arith::SubFOp::create(b, n.loc, cell(b, at, l),
                                          n.read(b, maximum, at.take_front(3)));
    return math::ExpOp::create(b, n.loc, shifted);
  };
  Value sums = n.compute(real, perRow, [&](OpBuilder &b, ValueRange at) {
    return n.fold(b, length, n.constant(b, real, 0),
                  [&](OpBuilder &b, Value l, Value acc) -> Value {
                    return arith::AddFOp::create(b, n.loc, acc,
                                                 weight(b, at, l));
                  });
  });
  n.out[0] = n.compute(
      element, {batch, rows, n.mul(n.index(heads), valueSize)},
      [&](OpBuilder &b, ValueRange at) -> Value {
        Value h = arith::DivUIOp::create(b, n.loc, at[2], valueSize);
        Value d = arith::RemUIOp::create(b, n.loc, at[2], valueSize);
        SmallVector<Value> row{at[0], h, at[1]};
        Value sum =
            n.fold(b, length, n.constant(b, real, 0),
                   [&](OpBuilder &b, Value l, Value acc) -> Value {
                     Value v = n.read(b, values, {at[0], h, l, d});
                     return arith::AddFOp::create(
                         b, n.loc, acc,
                         arith::MulFOp::create(b, n.loc, weight(b, row, l), v));
                   });
        return arith::DivFOp::create(b, n.loc, sum, n.read(b, sums, row));
      });
  return success();
}
} // namespace

void moe::addContribLowerings(LoweringTable &table) {
  table["com.microsoft.RotaryEmbedding"] = rotaryEmbedding;
  table["com.microsoft.MultiHeadAttention"] = multiHeadAttention;
}
