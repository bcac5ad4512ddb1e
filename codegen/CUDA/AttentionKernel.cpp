#include "codegen/CUDA/AttentionParts.h"
#include "codegen/CUDA/Functions.h"
#include "codegen/CUDA/KernelParts.h"
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
  Num isBlind = total == 0;
  auto write = [&](Num result) {
    w.writeReal(result, to, number * features + d);
  };
  // What another thread writes is left alone.
  if (op.getMaskedRow() == moert::MaskedRow::Uniform)
    k.when(isBlind == isBlind.like(0), [&] { write(sum / total); });
  else
    write(k.select(isBlind, k.real(0), sum / total));
}

void Attention::finishBlind(Num number, Num total, Num first, int64_t step) {
  if (op.getMaskedRow() != moert::MaskedRow::Uniform)
    return;
  Num zero = k.integer(0);
  Num end = k.select(total == 0, k.integer(features), zero);
  Num rows = rowsOf(value, number / heads / queries, number % heads / group);
  k.loop(first, end, step, [&](Num d) {
    Num sum = k.fold(zero, keys, k.real(0), [&](Num l, Num sum) {
      return sum + w.readReal(value, rows + l * features + d);
    });
    w.writeReal(sum / k.convert(keys, k.f32()), to, number * features + d);
  });
}

TileRows::TileRows(Attention &a, Num item, Num tiles, int64_t most) : a(a) {
  CudaBuilder &k = a.k;
  Num keyHead = item / tiles, own = keyHead % a.keyHeads;
  first = (tiles - 1 - item % tiles) * most;
  batch = keyHead / a.keyHeads, firstHead = own * a.group;
  count = k.min(k.integer(most), a.queries * a.group - first);
  keys = a.rowsOf(a.key, batch, own), values = a.rowsOf(a.value, batch, own);
  past = a.keys - a.queries;
}

void TileRows::forEach(Attention &a, int64_t most,
                       llvm::function_ref<void(Num, Num)> body) {
  Num tiles = a.k.ceilDiv(a.queries * a.group, most);
  forEachBlock(a.k, a.batch * a.keyHeads * tiles,
               [&](Num item) { body(item, tiles); });
}

Num TileRows::sees(Num r, Num key, Num end) const {
  Num own = query(r) + past, seen = (r < count) & (key < end);
  if (a.op.getCausal())
    seen = seen & (key < own + 1);
  if (a.op.getWindow() > 0)
    seen = seen & (own - a.op.getWindow() < key);
  return seen;
}

namespace {
/// How the work is divided, as the host computes it of sizes alone, so that
/// sums do not depend on the device.
struct Division {
  Value splits;  ///< parts of the keys of a row
  Value length;  ///< of keys in a part
  Value numbers; ///< of scratch
  /// By tiles of rows, or row by row, with parts to join or without. Of tiles
  /// and rows null where there are no tiles.
  Value isTiled, isByRow, isSplit;
};
} // namespace

/// Keys that a block is not worth less than, and parts of rows, or of several
/// rows, that are enough for all multiprocessors.
static constexpr int64_t kFewestKeys = 256, kManyParts = 1024,
                         kManyOfSeveral = 512;

/// Tiles read keys for many rows at a time, but are few: with long pasts they
/// have to be enough for the multiprocessors. Otherwise each row is divided.
static Division divide(OpBuilder &host, moert::AttentionOp op,
                       int64_t tileRows) {
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
  // What blocks are given.
  int64_t several = rowsOfBlock(op);
  Value items = rows, many = number(kManyParts);
  if (several > 1) {
    int64_t group = cast<MemRefType>(query.getType()).getDimSize(2) /
                    cast<MemRefType>(key.getType()).getDimSize(1);
    items = times(times(batch, size(query, 1)),
                  times(keyHeads, number(llvm::divideCeil(group, several))));
    many = number(kManyOfSeveral);
  }
  Value most = over(many, larger(items, one));
  Value length = times(over(larger(over(keys, most), one), number(kFewestKeys)),
                       number(kFewestKeys));
  Division made;
  made.splits = larger(over(keys, length), one), made.length = length;
  made.isSplit = is(ugt, made.splits, 1);
  if (tileRows > 0) {
    auto both = [&](Value a, Value b) -> Value {
      return arith::AndIOp::create(host, loc, a, b);
    };
    Value rowsOfKeys = over(perBatch, larger(keyHeads, one));
    Value tiles =
        times(times(batch, keyHeads), over(rowsOfKeys, number(tileRows)));
    Value areEnough = arith::OrIOp::create(
        host, loc, is(ugt, tiles, 63),
        is(arith::CmpIPredicate::ule, keys, 2 * kFewestKeys));
    made.isTiled = both(is(ugt, rowsOfKeys, 15), areEnough);
    Value no = arith::ConstantIntOp::create(host, loc, 0, 1);
    made.isByRow = arith::CmpIOp::create(host, loc, arith::CmpIPredicate::eq,
                                         made.isTiled, no);
    made.isSplit = both(made.isSplit, made.isByRow);
  }
  Value numbers =
      times(times(rows, made.splits), number(splitStride(features)));
  made.numbers =
      arith::SelectOp::create(host, loc, made.isSplit, numbers, number(0));
  return made;
}

namespace {
/// The kernels of an op, one after the other.
class AttentionWriter {
public:
  explicit AttentionWriter(moert::AttentionOp op) : op(op) {}

  /// What all of them take.
  void take(OpWriter &w) {
    query = w.memory(op.getQuery(), Elements::Real, "the query");
    key = w.strided(op.getKey(), Elements::Real, "memory of keys");
    value = w.strided(op.getValue(), Elements::Real, "memory of values");
    to = w.memory(op.getOuts(), Elements::Real, "the destination");
  }
  /// And those that look at keys.
  void takeMasks(OpWriter &w) {
    if (op.getKeyMask())
      mask = w.memory(op.getKeyMask(), Elements::Any, "the mask of keys");
    if (op.getBias())
      bias = w.memory(op.getBias(), Elements::Real, "the bias");
  }
  void takeSplits(OpWriter &w, const Division &division) {
    splits = w.number(division.splits), length = w.number(division.length);
  }

  MadeKernel write(OpWriter &w, StringRef family, int64_t shared,
                   llvm::function_ref<void(Attention &)> body) {
    return w.write(family, shared, [&](CudaBuilder &k) {
      Attention a{k,    w,  op,         query, key,    value, mask,
                  bias, to, features(), found, splits, length};
      a.batch = w.size(query, 0), a.queries = w.size(query, 1);
      a.keys = w.size(key, 2), a.heads = w.size(query, 2);
      a.keyHeads = w.size(key, 1), a.group = a.heads / a.keyHeads;
      body(a);
    });
  }

  int64_t features() const { return query.sizes[3].constant.value_or(0); }

  moert::AttentionOp op;
  OpWriter::Memory query, key, value, mask, bias, to, found;
  OpWriter::Size splits, length;
};
} // namespace

MadeKernel moe::cuda::attentionKernel(OpWriter &w, moert::AttentionOp op) {
  AttentionWriter writer(op);
  writer.take(w);
  writer.takeMasks(w);
  if (w.isRefused())
    return std::nullopt;
  int64_t features = writer.features();
  // A cache has dense rows, and room behind those of a head.
  for (const OpWriter::Memory &rows : {writer.key, writer.value})
    if (!rows.strides.empty() &&
        (rows.strides[3].constant != 1 || rows.strides[2].constant != features))
      return w.refuse("rows of keys or values are not dense");
  if (features < 1 || features > kMostFeatures)
    return w.refuse("heads have more than 512 features, none, or no known "
                    "number of them");
  std::optional<int64_t> tensor =
      w.mayRound ? sharedByTensorTile(features) : std::nullopt;
  std::optional<int64_t> tile = tensor ? tensor : sharedByTile(features);
  Division division = divide(w.host, op,
                             tensor ? kTensorTileRows
                             : tile ? kTileRows
                                    : 0);
  // Each with the shared memory that it needs: rows leave room for more blocks.
  writer.found = w.scratch(division.numbers);
  writer.takeSplits(w, division);
  w.onlyIf(division.isByRow);
  MadeKernel made = writer.write(
      w, "attention", sharedByRow(features, rowsOfBlock(op)), attendByRow);
  OpWriter joining = w.another();
  writer.take(joining);
  writer.found = joining.scratch();
  writer.takeSplits(joining, division);
  joining.onlyIf(division.isSplit);
  made->followers.push_back(
      *writer.write(joining, "attention_join", 0, joinSplits));
  if (!tile)
    return made;
  OpWriter tiling = w.another();
  writer.take(tiling);
  writer.takeMasks(tiling);
  tiling.onlyIf(division.isTiled);
  made->followers.push_back(
      *writer.write(tiling, "attention_tile", *tile,
                    tensor ? attendByTensorTile : attendByTile));
  return made;
}
