#include "codegen/CPU/Microkernel.h"
#include "passes/Kernels/Kernels.h"

using namespace mlir;
using namespace moe;

bool kernels::has(moert::AttentionOp op, const Isa &isa) {
  for (Value v : {op.getQuery(), op.getKey(), op.getValue(), op.getOuts()})
    if (!isF32(v))
      return false;
  auto known = [](Value v, int64_t d) {
    return !ShapedType::isDynamic(dim(v, d));
  };
  if (!known(op.getQuery(), 2) || !known(op.getQuery(), 3) ||
      !known(op.getKey(), 1) || dim(op.getQuery(), 3) > kTileStride)
    return false;
  if (Value mask = op.getKeyMask()) {
    Type type = element(mask);
    if (!type.isInteger(64) && !type.isInteger(32) && !type.isInteger(1) &&
        !type.isF32())
      return false;
  }
  return !op.getBias() || isF32(op.getBias());
}

namespace {
/// Attention of blocks of rows, a row being a position and a head of those
/// that share a key head, over blocks of keys, with a running maximum and sum
/// (Milakov and Gimelshein, "Online normalizer calculation for softmax").
/// Products run on the same microkernels as weights do: keys are packed into
/// transposed panels, values are panels as they lie where heads are whole
/// panels wide.
class Attention {
public:
  Attention(KernelBuilder &k, moert::AttentionOp op)
      : op(op), heads(kernels::dim(op.getQuery(), 2)),
        keyHeads(kernels::dim(op.getKey(), 1)),
        features(kernels::dim(op.getQuery(), 3)), width(k.isa.width()),
        tileRows(k.isa.maxRows) {
    packValues = features % width != 0;
    featurePanels = llvm::divideCeil(features, width);
  }

  SmallVector<Num> operands(KernelBuilder &k) const;
  std::string name() const;
  void write(KernelBuilder &k, ArrayRef<Num> arguments) const;

private:
  struct Operands {
    Num batch, queries, keys, q, k, v, o;
    /// Numbers from one batch row or head of keys (values) to the next: caches
    /// have room behind each.
    Num keyBatch, keyHead, valueBatch, valueHead;
    Num mask, bias, biasBatch, biasHeads;
    Num packedKeys, packedValues; ///< not operands, but carried beside them
  };
  Operands unpack(ArrayRef<Num> list) const;
  SmallVector<Num> pack(const Operands &o) const;
  /// Row `l` of head `head` among all batch rows' heads.
  Num keyRow(KernelBuilder &k, const Operands &o, Num head, Num l) const {
    return k.address(k.f32(), o.k,
                     head / keyHeads * o.keyBatch +
                         head % keyHeads * o.keyHead + l * features);
  }
  Num valueRow(KernelBuilder &k, const Operands &o, Num head, Num l) const {
    return k.address(k.f32(), o.v,
                     head / keyHeads * o.valueBatch +
                         head % keyHeads * o.valueHead + l * features);
  }

  void packPanel(KernelBuilder &k, const Operands &o, Num item) const;
  void tile(KernelBuilder &k, const Operands &o, Num memory, Num item,
            Num tiles) const;
  void maskRow(KernelBuilder &k, const Operands &o, Num scores, Num batch,
               Num head, Num query, Num firstKey, Num count) const;
  void finishRow(KernelBuilder &k, const Operands &o, Num sums, Num total,
                 Num to, Num firstValue) const;

  /// Keys whose scores a tile holds at a time.
  static constexpr int64_t block = 256;

  mutable moert::AttentionOp op; // a handle: its getters are not const
  int64_t heads, keyHeads, features, width, tileRows;
  bool packValues;
  int64_t featurePanels;
};
} // namespace

std::string Attention::name() const {
  std::string text = "moe_attention_";
  llvm::raw_string_ostream os(text);
  os << heads << "_" << keyHeads << "x" << features;
  if (op.getCausal())
    os << "_causal";
  if (op.getWindow() > 0)
    os << "_window" << op.getWindow();
  if (Value mask = op.getKeyMask())
    os << "_mask_" << kernels::element(mask);
  if (op.getBias())
    os << "_bias";
  os << "_" << stringifyMaskedRow(op.getMaskedRow());
  for (const APFloat &number : {op.getScale(), op.getSoftcap()})
    os << "_" << kernels::bits(number);
  return text;
}

SmallVector<Num> Attention::operands(KernelBuilder &k) const {
  Operands o;
  o.batch = kernels::size(k, op.getQuery(), 0);
  o.queries = kernels::size(k, op.getQuery(), 1);
  o.keys = kernels::size(k, op.getKey(), 2);
  o.q = kernels::pointer(k, op.getQuery());
  o.k = kernels::pointer(k, op.getKey());
  o.v = kernels::pointer(k, op.getValue());
  o.keyBatch = kernels::stride(k, op.getKey(), 0);
  o.keyHead = kernels::stride(k, op.getKey(), 1);
  o.valueBatch = kernels::stride(k, op.getValue(), 0);
  o.valueHead = kernels::stride(k, op.getValue(), 1);
  o.o = kernels::pointer(k, op.getOuts());
  if (op.getKeyMask())
    o.mask = kernels::pointer(k, op.getKeyMask());
  if (op.getBias()) {
    o.bias = kernels::pointer(k, op.getBias());
    o.biasBatch = kernels::size(k, op.getBias(), 0);
    o.biasHeads = kernels::size(k, op.getBias(), 1);
  }
  return pack(o);
}

SmallVector<Num> Attention::pack(const Operands &o) const {
  SmallVector<Num> list{o.batch,   o.queries,    o.keys,     o.q,
                        o.k,       o.v,          o.o,        o.keyBatch,
                        o.keyHead, o.valueBatch, o.valueHead};
  for (Num n :
       {o.mask, o.bias, o.biasBatch, o.biasHeads, o.packedKeys, o.packedValues})
    if (n)
      list.push_back(n);
  return list;
}

Attention::Operands Attention::unpack(ArrayRef<Num> list) const {
  Operands o;
  const Num *next = list.begin();
  for (Num *n : {&o.batch, &o.queries, &o.keys, &o.q, &o.k, &o.v, &o.o,
                 &o.keyBatch, &o.keyHead, &o.valueBatch, &o.valueHead})
    *n = *next++;
  if (op.getKeyMask())
    o.mask = *next++;
  if (op.getBias())
    for (Num *n : {&o.bias, &o.biasBatch, &o.biasHeads})
      *n = *next++;
  for (Num *n : {&o.packedKeys, &o.packedValues})
    if (next != list.end())
      *n = *next++;
  return o;
}

/// Panel `item` of the keys (and values): `width` of one head's keys, as
/// `[features][width]`, columns past the last key zero.
void Attention::packPanel(KernelBuilder &k, const Operands &o, Num item) const {
  Type f32 = k.f32();
  Num panels = k.ceilDiv(o.keys, width);
  Num head = item / panels, first = item % panels * width;
  Num count = k.min(o.keys - first, k.integer(width));
  Num from = keyRow(k, o, head, first);
  Num to = k.address(f32, o.packedKeys, item * (features * width));
  auto each = [&](Num j) {
    k.loop(0, k.integer(features), [&](Num d) {
      k.store(k.load(f32, from, j * features + d), to, d * width + j);
    });
  };
  auto padding = [&](Num j) {
    k.loop(0, k.integer(features),
           [&](Num d) { k.store(k.real(0), to, d * width + j); });
  };
  int64_t lanes = k.isa.lanes;
  if (features % lanes != 0) {
    k.loop(0, count, each);
  } else {
    // Squares of `lanes` keys by `lanes` features are transposed in registers.
    k.when(
        count == width,
        [&] {
          k.loop(k.integer(0), k.integer(features), lanes, [&](Num d) {
            for (int64_t j = 0; j < width; j += lanes) {
              KernelBuilder::Nums rows;
              for (int64_t r = 0; r < lanes; ++r)
                rows.push_back(
                    k.load(k.vector(), from, d + (j + r) * features));
              rows = k.transpose(rows);
              for (int64_t r = 0; r < lanes; ++r)
                k.store(rows[r], to, (d + r) * width + j);
            }
          });
        },
        [&] { k.loop(0, count, each); });
  }
  k.loop(count, k.integer(width), 1, padding);
  if (!packValues)
    return;
  // Values: [panel of features][key][width] per head.
  Num values = valueRow(k, o, head, first);
  Num packed = o.packedValues;
  k.loop(0, count, [&](Num j) {
    k.loop(0, k.integer(featurePanels * width), [&](Num d) {
      Num value = k.choose(
          d < features, [&] { return k.load(f32, values, j * features + d); },
          [&] { return k.real(0); });
      Num place =
          ((head * featurePanels + d / width) * o.keys + first + j) * width;
      k.store(value, packed, place + d % width);
    });
  });
}

/// Scores of one row, after the product: cap, bias, and -inf where hidden.
void Attention::maskRow(KernelBuilder &k, const Operands &o, Num scores,
                        Num batch, Num head, Num query, Num firstKey,
                        Num count) const {
  Type f32 = k.f32();
  Num zero = k.integer(0), hidden = k.real(-INFINITY);
  double cap = op.getSoftcap().convertToDouble();
  if (cap > 0)
    k.loop(0, count, [&](Num c) {
      k.store(k.tanh(k.load(f32, scores, c) / cap) * cap, scores, c);
    });
  if (o.bias) {
    Num b = k.select(o.biasBatch == 1, zero, batch);
    Num h = k.select(o.biasHeads == 1, zero, head);
    Num row = ((b * o.biasHeads + h) * o.queries + query) * o.keys + firstKey;
    k.loop(0, count, [&](Num c) {
      k.store(k.load(f32, scores, c) + k.load(f32, o.bias, row + c), scores, c);
    });
  }
  auto hide = [&](Num from, Num to) {
    k.loop(from, to, 1, [&](Num c) { k.store(hidden, scores, c); });
  };
  // The position of the query among the keys, from the first of this block.
  Num place = query + o.keys - o.queries - firstKey;
  if (op.getCausal())
    hide(k.min(k.max(place + 1, zero), count), count);
  if (op.getWindow() > 0)
    hide(zero, k.min(k.max(place + 1 - op.getWindow(), zero), count));
  if (o.mask) {
    Type type = kernels::element(op.getKeyMask());
    if (type.isInteger(1))
      type = k.b.getI8Type();
    k.loop(0, count, [&](Num c) {
      Num bit = k.load(type, o.mask, batch * o.keys + firstKey + c);
      k.store(k.select(bit == 0, hidden, k.load(f32, scores, c)), scores, c);
    });
  }
}

/// Divides a row's sums by their total; a row that saw no key is zero, or the
/// mean of all values.
void Attention::finishRow(KernelBuilder &k, const Operands &o, Num sums,
                          Num total, Num to, Num firstValue) const {
  Type f32 = k.f32();
  Num count = k.integer(features);
  auto divide = [&] {
    k.loop(0, count,
           [&](Num d) { k.store(k.load(f32, sums, d) / total, to, d); });
  };
  auto blind = [&] {
    k.loop(0, count, [&](Num d) {
      if (op.getMaskedRow() == moert::MaskedRow::Zero)
        return k.store(k.real(0), to, d);
      Num sum = k.fold(k.integer(0), o.keys, k.real(0), [&](Num l, Num sum) {
        return sum + k.load(f32, firstValue, l * features + d);
      });
      k.store(sum / k.convert(o.keys, f32), to, d);
    });
  };
  k.when(total == 0, blind, divide);
}

/// One tile of rows of one key head.
void Attention::tile(KernelBuilder &k, const Operands &o, Num memory, Num item,
                     Num tiles) const {
  Type f32 = k.f32();
  Num zero = k.integer(0);
  int64_t group = heads / keyHeads;
  Num keyHead = item / tiles, batch = keyHead / keyHeads, index = item % tiles;
  Num allRows = o.queries * group;
  Num first = allRows * index / tiles,
      rows = allRows * (index + 1) / tiles - first;
  // Memory: queries, scores, sums, tops, totals, shrinkage, a tile of products.
  Num queryTile = memory;
  int64_t used = tileRows * kTileStride;
  auto take = [&](int64_t count) {
    Num place = k.address(f32, memory, k.integer(used));
    used += count;
    return place;
  };
  Num scores = take(tileRows * kTileStride),
      sums = take(tileRows * featurePanels * width);
  Num tops = take(16), totals = take(16), shrinks = take(16);
  Num products = take(tileRows * width);
  auto head = [&](Num r) {
    return keyHead % keyHeads * group + (first + r) % group;
  };
  auto query = [&](Num r) { return (first + r) / group; };
  auto place = [&](Num r) {
    return ((batch * o.queries + query(r)) * heads + head(r)) * features;
  };
  int64_t sumStride = featurePanels * width;
  k.loop(0, rows, [&](Num r) {
    Num from = k.address(f32, o.q, place(r));
    double scale = op.getScale().convertToDouble();
    k.loop(0, k.integer(features), [&](Num d) {
      k.store(k.load(f32, from, d) * scale, queryTile, r * kTileStride + d);
    });
    k.loop(0, k.integer(sumStride),
           [&](Num d) { k.store(k.real(0), sums, r * sumStride + d); });
    k.store(k.real(-INFINITY), tops, r);
    k.store(k.real(0), totals, r);
  });
  Num lastKey = o.keys, firstKey = zero;
  if (op.getCausal()) // what no row of the tile can see is never touched
    lastKey = k.min(o.keys, query(rows - 1) + o.keys - o.queries + 1);
  if (op.getWindow() > 0)
    firstKey =
        k.max(query(zero) + o.keys - o.queries - (op.getWindow() - 1), zero) /
        block * block;
  Microkernel score{f32, width, kTileStride, TileOrder::ByRow};
  Microkernel mix{f32, packValues ? width : features, width, TileOrder::ByRow};
  Num panels = k.ceilDiv(o.keys, width);
  k.loop(firstKey, lastKey, block, [&](Num key) {
    Num count = k.min(lastKey - key, k.integer(block));
    k.loop(0, k.ceilDiv(count, width), [&](Num p) {
      Num panel = (keyHead * panels + key / width + p) * (features * width);
      score.call(k, rows, k.integer(features), queryTile,
                 k.address(f32, o.packedKeys, panel),
                 k.address(f32, scores, p * width));
    });
    k.loop(0, rows, [&](Num r) {
      Num row = k.address(f32, scores, r * kTileStride);
      maskRow(k, o, row, batch, head(r), query(r), key, count);
      Num before = k.load(f32, tops, r);
      Num top = k.max(k.largest(row, count), before);
      // Before a row has seen a key, nothing is to be shifted.
      Num shift = k.select(top == -INFINITY, k.real(0), top);
      Num shrink = k.exp(before - shift);
      Num total = k.expRow(row, count, shift);
      k.store(top, tops, r);
      k.store(shrink, shrinks, r);
      k.store(k.load(f32, totals, r) * shrink + total, totals, r);
    });
    k.loop(0, k.integer(featurePanels), [&](Num p) {
      Num panel =
          packValues
              ? k.address(f32, o.packedValues,
                          ((keyHead * featurePanels + p) * o.keys + key) *
                              width)
              : k.address(f32, valueRow(k, o, keyHead, key), p * width);
      mix.call(k, rows, count, scores, panel, products);
      k.loop(0, rows, [&](Num r) {
        Num shrink = k.splat(k.load(f32, shrinks, r));
        for (int64_t c = 0; c < width; c += k.isa.lanes) {
          Num at = r * sumStride + p * width + c;
          Num more = k.load(k.vector(), products, r * width + c);
          k.store(k.fma(k.load(k.vector(), sums, at), shrink, more), sums, at);
        }
      });
    });
  });
  k.loop(0, rows, [&](Num r) {
    finishRow(k, o, k.address(f32, sums, r * sumStride), k.load(f32, totals, r),
              k.address(f32, o.o, place(r)), valueRow(k, o, keyHead, zero));
  });
}

void Attention::write(KernelBuilder &k, ArrayRef<Num> arguments) const {
  Operands o = unpack(arguments);
  Num keyRows = o.batch * keyHeads, panels = k.ceilDiv(o.keys, width);
  Num packed = keyRows * panels * (features * width);
  Num all = packed;
  if (packValues)
    all = all + keyRows * o.keys * (featurePanels * width);
  o.packedKeys = k.alloc(all * 4);
  if (packValues)
    o.packedValues = k.address(k.f32(), o.packedKeys, packed);
  SmallVector<Num> carried = pack(o);
  // A panel is about 2,000 numbers: hand over several.
  k.parallel(name() + "_pack", keyRows * panels, k.integer(16), carried,
             [&](KernelBuilder &k, ArrayRef<Num> inner, Num begin, Num end) {
               Operands o = unpack(inner);
               k.loop(begin, end, 1, [&](Num item) { packPanel(k, o, item); });
             });
  Num tiles = k.ceilDiv(o.queries * (heads / keyHeads), tileRows);
  Num items = keyRows * tiles;
  carried.push_back(tiles);
  Num work = o.batch * o.queries * o.keys * (2 * heads * features);
  int64_t bytes =
      4 * (2 * tileRows * kTileStride + tileRows * featurePanels * width + 48 +
           tileRows * width);
  k.parallel(name() + "_tiles", items, kernels::grain(k, items, work), carried,
             [&](KernelBuilder &k, ArrayRef<Num> inner, Num begin, Num end) {
               Operands o = unpack(inner.drop_back());
               Num memory = k.scratch(bytes);
               k.loop(begin, end, 1, [&](Num item) {
                 tile(k, o, memory, item, inner.back());
               });
             });
  k.free(o.packedKeys);
}

void kernels::call(KernelBuilder &k, moert::AttentionOp op) {
  Attention attention(k, op);
  SmallVector<Num> arguments = attention.operands(k);
  SmallVector<Type> types;
  for (Num n : arguments)
    types.push_back(n.value.getType());
  k.call(k.function(attention.name(), types,
                    [&](KernelBuilder &k, ArrayRef<Num> inner) {
                      attention.write(k, inner);
                    }),
         arguments);
}
