#include "codegen/CPU/PanelProduct.h"

using namespace mlir;
using namespace moe;

/// Rows of a panel that all tiles pass over before the next come: 16 KB of f32
/// numbers, so that a tile has room beside them in the first-level cache.
static int64_t blockDepth(const Isa &isa) { return 4096 / isa.width(); }

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

void PanelProduct::write(KernelBuilder &k, ArrayRef<Num> arguments) const {
  Num rows = arguments[0], packed = arguments[1], panel = arguments[2],
      results = arguments[3];
  int64_t width = k.isa.width();
  int64_t rowBytes = width * (weights.getIntOrFloatBitWidth() / 8);
  Type byte = k.b.getI8Type();
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
    Num behind = k.address(byte, part, count * rowBytes);
    // What each tile fetches per step, so that together they miss nothing.
    Num step = (tiles + (rowBytes - 1)) / tiles;
    auto product = [&](const Microkernel &kernel, Num weightsOfBlock) {
      forTiles(k, rows, [&](Tile tile) {
        Num place = tile.first * depth + first * tile.rows;
        kernel.call(k, tile.rows, count, k.address(k.f32(), packed, place),
                    weightsOfBlock,
                    k.address(k.f32(), results, tile.first * width), first,
                    k.address(byte, behind, tile.index * count * step), step);
      });
    };
    auto direct = [&] { product({weights, width, width}, part); };
    if (!isNarrow())
      return direct();
    k.when(
        widens,
        [&] {
          widen(k, weights, part, wide, count * (width / k.isa.lanes));
          product({k.f32(), width, width}, wide);
        },
        direct);
  });
}

void PanelProduct::call(KernelBuilder &k, Num rows, Num tiles, Num panel,
                        Num memory) const {
  std::string name =
      "moe_panel_" + typeName(weights) + "_" + std::to_string(depth);
  auto function = k.function(
      name, {k.i64(), k.pointer(), k.pointer(), k.pointer()},
      [&](KernelBuilder &k, ArrayRef<Num> inner) { write(k, inner); });
  k.call(function, {rows, tiles, panel, memory});
}
