#include "codegen/CPU/PanelProduct.h"

using namespace mlir;
using namespace moe;

void moe::forTiles(KernelBuilder &k, Num rows,
                   KernelBuilder::Fn<void(Tile)> body) {
  Num tiles = k.ceilDiv(rows, k.isa.maxRows);
  k.loop(0, tiles, [&](Num index) {
    Num first = rows * index / tiles;
    body({index, first, rows * (index + 1) / tiles - first});
  });
}

int64_t moe::rowTableBytes(const Isa &isa) { return 8 * isa.maxRows; }

/// Packs a tile of `count` rows: squares of `lanes` rows (those that are not
/// there are zero) by `lanes` numbers are transposed in registers. Columns are
/// stored whole, one over the end of the other, but for the last of a square:
/// what follows it may be somebody else's.
static void writePack(KernelBuilder &k, int64_t count, Num depth, Num table,
                      Num tile) {
  int64_t lanes = k.isa.lanes;
  KernelBuilder::Nums rows;
  for (int64_t r = 0; r < count; ++r)
    rows.push_back(k.load(k.pointer(), table, r));
  if (count == 1)
    return k.copyBytes(tile, rows[0], depth * 4);
  Num whole = depth / lanes * lanes;
  k.loop(k.integer(0), whole, lanes, [&](Num column) {
    KernelBuilder::Nums numbers(lanes, k.zeros(k.vector()));
    for (int64_t r = 0; r < count; ++r)
      numbers[r] = k.load(k.vector(), rows[r], column);
    numbers = k.transpose(numbers);
    for (int64_t c = 0; c < lanes; ++c) {
      bool fits = c * count + lanes <= lanes * count;
      k.store(fits ? numbers[c] : k.head(numbers[c], count), tile,
              (column + c) * count);
    }
  });
  k.loop(whole, depth, 1, [&](Num column) {
    for (int64_t r = 0; r < count; ++r)
      k.store(k.load(k.f32(), rows[r], column), tile, column * count + r);
  });
}

void moe::packTile(KernelBuilder &k, Num count, Num depth, Num tile, Num table,
                   KernelBuilder::Fn<Num(Num)> address) {
  k.loop(0, count, [&](Num r) { k.store(address(r), table, r); });
  auto function =
      k.function("moe_pack", {k.i64(), k.i64(), k.pointer(), k.pointer()},
                 [](KernelBuilder &k, ArrayRef<Num> a) {
                   k.dispatch(a[0], k.isa.maxRows, [&](int64_t m) {
                     writePack(k, m, a[1], a[2], a[3]);
                   });
                 });
  k.neverInline(function);
  k.call(function, {count, depth, table, tile});
}

void moe::packTiles(KernelBuilder &k, Num rows, int64_t depth, Num tiles,
                    Num table, KernelBuilder::Fn<Num(Num)> address) {
  forTiles(k, rows, [&](Tile tile) {
    packTile(k, tile.rows, k.integer(depth),
             k.address(k.f32(), tiles, tile.first * depth), table,
             [&](Num r) { return address(tile.first + r); });
  });
}

int64_t PanelProduct::blockRows(const Isa &isa) const {
  int64_t fit = (512 << 10) / (4 * depth);
  return std::clamp<int64_t>(fit / isa.maxRows, 1, 8) * isa.maxRows;
}

int64_t PanelProduct::memorySize(const Isa &isa) const {
  return blockRows(isa) * isa.width() +
         (isNarrow() ? blockDepth(isa) * isa.width() : 0);
}

/// A block of a narrow panel as f32.
static void widen(KernelBuilder &k, Type weights, Num from, Num to,
                  Num vectors) {
  k.loop(0, vectors, [&](Num i) {
    k.store(k.loadWide(weights, true, from, i * k.isa.lanes), to,
            i * k.isa.lanes);
  });
}

/// `count` rows of the panel from `first` on, at `weightsOfBlock`, times all
/// tiles; `behind` are the bytes that come next.
void PanelProduct::product(KernelBuilder &k, const Microkernel &kernel,
                           Num rows, Num packed, Num first, Num count,
                           Num weightsOfBlock, Num behind, int64_t rowBytes,
                           Num results) const {
  Num tiles = k.ceilDiv(rows, k.isa.maxRows);
  // What each tile fetches per step, so that together they miss nothing.
  Num step = (tiles + (rowBytes - 1)) / tiles;
  forTiles(k, rows, [&](Tile tile) {
    Num place = tile.first * depth + first * tile.rows;
    kernel.call(
        k, tile.rows, count, k.address(k.f32(), packed, place), weightsOfBlock,
        k.address(k.f32(), results, tile.first * k.isa.width()), first,
        k.address(k.b.getI8Type(), behind, tile.index * count * step), step);
  });
}

void PanelProduct::write(KernelBuilder &k, ArrayRef<Num> arguments) const {
  if (coded)
    return writeCoded(k, arguments);
  Num rows = arguments[0], packed = arguments[1], panel = arguments[2],
      results = arguments[3];
  int64_t width = k.isa.width();
  int64_t rowBytes = width * (weights.getIntOrFloatBitWidth() / 8);
  Num tiles = k.ceilDiv(rows, k.isa.maxRows);
  Num wide = k.address(k.f32(), results, k.integer(blockRows(k.isa) * width));
  // One tile reads the panel once anyway.
  Num length =
      k.select(tiles < 2, k.integer(depth), k.integer(blockDepth(k.isa)));
  // Widening is work of half a tile.
  Num widens = 2 < tiles;
  Num blocks = (length + (depth - 1)) / length;
  k.loop(0, blocks, [&](Num block) {
    Num first = block * length;
    Num count = k.min(k.integer(depth) - first, length);
    Num part = k.address(weights, panel, first * width);
    Num behind = k.address(k.b.getI8Type(), part, count * rowBytes);
    auto multiply = [&](Type type, Num from) {
      product(k, {type, width, width}, rows, packed, first, count, from, behind,
              rowBytes, results);
    };
    auto direct = [&] { multiply(weights, part); };
    if (!isNarrow())
      return direct();
    k.when(
        widens,
        [&] {
          widen(k, weights, part, wide, count * (width / k.isa.lanes));
          multiply(k.f32(), wide);
        },
        direct);
  });
}

void PanelProduct::writeCoded(KernelBuilder &k, ArrayRef<Num> arguments) const {
  Num rows = arguments[0], packed = arguments[1], results = arguments[3];
  CodedPanel::Place panel{arguments[2], arguments[4],
                          coded->hasZeros ? arguments[5] : Num()};
  int64_t width = k.isa.width(), length = blockDepth(k.isa);
  int64_t rowBytes = coded->rowBytes(k.isa);
  Num wide = k.address(k.f32(), results, k.integer(blockRows(k.isa) * width));
  k.when(
      rows < CodedPanel::kDirectRows + 1,
      [&] { coded->multiply(k, rows, depth, packed, panel, results); },
      [&] {
        k.loop(k.integer(0), k.integer(depth), length, [&](Num first) {
          Num count = k.min(k.integer(depth) - first, k.integer(length));
          coded->widen(k, panel, first, count, wide, length);
          Num behind = k.address(k.b.getI8Type(), panel.values,
                                 (first + count) * rowBytes);
          product(k, {k.f32(), width, width}, rows, packed, first, count, wide,
                  behind, rowBytes, results);
        });
      });
}

CodedPanel::Place PanelProduct::panel(KernelBuilder &k,
                                      const CodedPanel::Place &all,
                                      Num index) const {
  if (!coded)
    return {k.address(weights, all.values, index * (depth * k.isa.width())),
            {},
            {}};
  Type byte = k.b.getI8Type();
  int64_t blocks = (depth + coded->block - 1) / coded->block;
  int64_t row = coded->rowBytes(k.isa);
  auto at = [&](Num base, int64_t bytes) {
    return base ? k.address(byte, base, index * bytes) : Num();
  };
  return {at(all.values, depth * row),
          at(all.scales, blocks * coded->scaleBytes(k.isa)),
          at(all.zeros, blocks * row)};
}

void PanelProduct::call(KernelBuilder &k, Num rows, Num tiles,
                        const CodedPanel::Place &panel, Num memory) const {
  std::string name = "moe_panel_" +
                     (coded ? coded->name() : typeName(weights)) + "_" +
                     std::to_string(depth);
  SmallVector<Num> arguments{rows, tiles, panel.values, memory};
  for (Num part : {panel.scales, panel.zeros})
    if (part)
      arguments.push_back(part);
  SmallVector<Type> types{k.i64()};
  types.append(arguments.size() - 1, k.pointer());
  auto function =
      k.function(name, types, [&](KernelBuilder &k, ArrayRef<Num> inner) {
        write(k, inner);
      });
  k.call(function, arguments);
}
