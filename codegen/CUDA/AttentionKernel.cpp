#include "codegen/CUDA/AttentionParts.h"
#include "codegen/CUDA/Functions.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Elements = OpWriter::Elements;

/// Features of a head are registers of the lanes.
static constexpr int64_t kMostFeatures = 512;

Num Attention::score(Num product, Num seen, Num b, Num head, Num s, Num l) {
  double cap = op.getSoftcap().convertToDouble();
  Num hidden = k.real(-INFINITY), zero = k.integer(0);
  Num score = product * op.getScale().convertToDouble();
  if (cap > 0)
    score = cuda::tanh(k, score / cap) * cap;
  if (!op.getBias() && !op.getKeyMask())
    return k.select(seen, score, hidden);
  return k.choose(
      seen,
      [&] {
        Num sum = score;
        if (op.getBias()) {
          Num biasHeads = w.size(bias, 1);
          Num ofBatch = k.select(w.size(bias, 0) == 1, zero, b);
          Num ofHead = k.select(biasHeads == 1, zero, head);
          Num at = ((ofBatch * biasHeads + ofHead) * queries + s) * keys + l;
          sum = sum + w.readReal(bias, at);
        }
        if (op.getKeyMask()) {
          Num bit = w.read(mask, b * keys + l);
          sum = k.select(bit == bit.like(0), hidden, sum);
        }
        return sum;
      },
      [&] { return hidden; });
}

std::pair<Num, Num> Attention::range(Num first, Num last) {
  Num begin = k.integer(0), end = keys, past = keys - queries;
  if (op.getCausal())
    end = k.min(keys, last + past + 1);
  if (op.getWindow() > 0)
    begin = k.max(first + past - (op.getWindow() - 1), begin);
  return {begin, end};
}

void Attention::finish(Num number, Num d, Num sum, Num total) {
  Num isBlind = total == 0, mean = k.real(0);
  if (op.getMaskedRow() == moert::MaskedRow::Uniform) {
    Num zero = k.integer(0);
    Num first = rowsOf(value, number / heads / queries, number % heads / group);
    mean = k.fold(zero, k.select(isBlind, keys, zero), mean,
                  [&](Num l, Num sum) {
                    return sum + w.readReal(value, first + l * features + d);
                  }) /
           k.convert(keys, k.f32());
  }
  w.writeReal(k.select(isBlind, mean, sum / total), to, number * features + d);
}

namespace {
/// How the work is divided, as the host computes it of sizes alone, so that
/// sums do not depend on the device.
struct Division {
  Value splits;  ///< parts of the keys of a row; 0: tiles of rows
  Value length;  ///< of keys in a part
  Value numbers; ///< of scratch
  Value isSplit; ///< whether there are parts to join
};
} // namespace

/// Keys that a block is not worth less than, and parts of rows that are enough
/// for all multiprocessors.
static constexpr int64_t kFewestKeys = 256, kManyParts = 1024;

/// Tiles read keys for 64 rows at a time, but are few: with long pasts they
/// have to be enough for the multiprocessors. Otherwise each row is divided.
static Division divide(OpBuilder &host, moert::AttentionOp op, bool mayTile) {
  OpBuilder::InsertionGuard guard(host);
  host.setInsertionPoint(op);
  Location loc = op.getLoc();
  auto number = [&](int64_t n) -> Value {
    return arith::ConstantIndexOp::create(host, loc, n);
  };
  auto size = [&](Value memory, int64_t d) -> Value {
    int64_t known = cast<MemRefType>(memory.getType()).getDimSize(d);
    return ShapedType::isDynamic(known)
               ? memref::DimOp::create(host, loc, memory, d).getResult()
               : number(known);
  };
  auto times = [&](Value a, Value b) -> Value {
    return arith::MulIOp::create(host, loc, a, b);
  };
  // Upwards, of what is not negative.
  auto over = [&](Value a, Value b) -> Value {
    return arith::CeilDivUIOp::create(host, loc, a, b);
  };
  auto larger = [&](Value a, Value b) -> Value {
    return arith::MaxUIOp::create(host, loc, a, b);
  };
  auto is = [&](arith::CmpIPredicate predicate, Value a, int64_t n) -> Value {
    return arith::CmpIOp::create(host, loc, predicate, a, number(n));
  };
  constexpr auto ugt = arith::CmpIPredicate::ugt;
  Value query = op.getQuery(), key = op.getKey(), one = number(1);
  Value batch = size(query, 0), heads = size(query, 2), keys = size(key, 2),
        keyHeads = size(key, 1);
  int64_t features = cast<MemRefType>(query.getType()).getDimSize(3);
  Value perBatch = times(size(query, 1), heads), rows = times(batch, perBatch);
  Value most = over(number(kManyParts), larger(rows, one));
  Value length = times(over(larger(over(keys, most), one), number(kFewestKeys)),
                       number(kFewestKeys));
  Value splits = larger(over(keys, length), one);
  if (mayTile) {
    Value rowsOfKeys = over(perBatch, larger(keyHeads, one));
    Value tiles = times(times(batch, keyHeads), over(rowsOfKeys, number(64)));
    Value areEnough = arith::OrIOp::create(
        host, loc, is(ugt, tiles, 63),
        is(arith::CmpIPredicate::ule, keys, 2 * kFewestKeys));
    Value isTiled =
        arith::AndIOp::create(host, loc, is(ugt, rowsOfKeys, 15), areEnough);
    splits = arith::SelectOp::create(host, loc, isTiled, number(0), splits);
  }
  Value isSplit = is(ugt, splits, 1);
  Value numbers = times(times(rows, splits), number(splitStride(features)));
  numbers = arith::SelectOp::create(host, loc, isSplit, numbers, number(0));
  return {splits, length, numbers, isSplit};
}

MadeKernel moe::cuda::attentionKernel(OpWriter &w, moert::AttentionOp op) {
  auto query = w.memory(op.getQuery(), Elements::Real, "the query");
  auto key = w.strided(op.getKey(), Elements::Real, "memory of keys");
  auto value = w.strided(op.getValue(), Elements::Real, "memory of values");
  OpWriter::Memory mask, bias;
  if (op.getKeyMask())
    mask = w.memory(op.getKeyMask(), Elements::Any, "the mask of keys");
  if (op.getBias())
    bias = w.memory(op.getBias(), Elements::Real, "the bias");
  auto to = w.memory(op.getOuts(), Elements::Real, "the destination");
  if (w.isRefused())
    return std::nullopt;
  // A cache has dense rows, and room behind those of a head.
  for (const OpWriter::Memory &rows : {key, value})
    if (!rows.strides.empty() &&
        (rows.strides[3].constant != 1 ||
         rows.strides[2].constant != query.sizes[3].constant))
      return w.refuse("rows of keys or values are not dense");
  std::optional<int64_t> features = query.sizes[3].constant;
  if (!features || *features < 1 || *features > kMostFeatures)
    return w.refuse("heads have more than 512 features, none, or no known "
                    "number of them");
  std::optional<int64_t> tile = sharedByTile(*features);
  int64_t shared = std::max(tile.value_or(0), sharedByRow(*features));
  Division division = divide(w.host, op, tile.has_value());
  auto attention = [&](CudaBuilder &k, OpWriter &writer) {
    Attention a{k, writer, op, query, key, value, mask, bias, to, *features};
    a.batch = writer.size(query, 0), a.queries = writer.size(query, 1);
    a.keys = writer.size(key, 2), a.heads = writer.size(query, 2);
    a.keyHeads = writer.size(key, 1), a.group = a.heads / a.keyHeads;
    return a;
  };
  OpWriter::Memory found = w.scratch(division.numbers);
  OpWriter::Size splits = w.number(division.splits),
                 length = w.number(division.length);
  MadeKernel made = w.write("attention", shared, [&](CudaBuilder &k) {
    Attention a = attention(k, w);
    a.found = found, a.splits = splits, a.length = length;
    if (!tile)
      return attendByRow(a);
    k.when(
        w.size(splits) == 0, [&] { attendByTile(a); }, [&] { attendByRow(a); });
  });
  OpWriter second = w.another();
  query = second.memory(op.getQuery(), Elements::Real, "the query");
  key = second.strided(op.getKey(), Elements::Real, "memory of keys");
  value = second.strided(op.getValue(), Elements::Real, "memory of values");
  to = second.memory(op.getOuts(), Elements::Real, "the destination");
  found = second.scratch();
  splits = second.number(division.splits);
  MadeKernel join = second.write("attention_join", 0, [&](CudaBuilder &k) {
    Attention a = attention(k, second);
    a.found = found, a.splits = splits;
    joinSplits(a);
  });
  made->followers.push_back(std::move(*join));
  made->isFollowed = division.isSplit;
  return made;
}
