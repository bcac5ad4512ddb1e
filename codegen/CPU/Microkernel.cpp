#include "codegen/CPU/Microkernel.h"

using namespace mlir;
using namespace moe;

int64_t moe::tileRowSize(int64_t depth) {
  return (depth + kTilePiece - 1) / kTilePiece * kTileStride;
}

Num moe::tileIndex(Num rows, Num row, Num column) {
  return (column / kTilePiece * rows + row) * kTileStride + column % kTilePiece;
}

void moe::fillTileRow(KernelBuilder &k, Num tile, Num rows, Num row, Num source,
                      int64_t depth) {
  for (int64_t first = 0; first < depth; first += kTilePiece) {
    Num to = k.address(k.f32(), tile, tileIndex(rows, row, k.integer(first)));
    Num from = k.address(k.f32(), source, k.integer(first));
    int64_t count = std::min(kTilePiece, depth - first);
    k.copyBytes(to, from, k.integer(4 * count));
  }
}

static std::string nameOf(Type type) {
  return type.isBF16() ? "bf16" : type.isF16() ? "f16" : "f32";
}

/// The sums of `rows` rows, in registers from the first product to the last.
static void emit(KernelBuilder &k, const Microkernel &spec, int64_t rows,
                 Num depth, Num tile, Num panel, Num out, Num ahead,
                 Num aheadStep) {
  // A sum that waits for itself takes 4 cycles per product: few rows need
  // several sums per column, which are added in the end.
  constexpr int64_t enough = 8;
  int64_t chains = std::max<int64_t>(1, (enough + rows) / (2 * rows));
  int64_t sums = 2 * rows;
  // With few rows the memory is the limit, and its own prefetcher does best.
  bool fetches = rows >= 4;
  auto step = [&](Num place, Num from, Num weights, Num next,
                  ArrayRef<Num> before, int64_t count) {
    KernelBuilder::Nums after(before);
    for (int64_t c = 0; c < count; ++c) {
      if (fetches)
        k.prefetch(k.address(k.b.getI8Type(), next, (place + c) * aheadStep));
      Num at = (place + c) * spec.panelStride;
      Num left = k.loadWide(spec.weights, true, weights, at);
      Num right = k.loadWide(spec.weights, true, weights, at + k.isa.lanes);
      for (int64_t r = 0; r < rows; ++r) {
        Num x = k.splat(k.load(k.f32(), from, place + (r * kTileStride + c)));
        Num &first = after[c * sums + 2 * r],
            &second = after[c * sums + 2 * r + 1];
        first = k.fma(x, left, first);
        second = k.fma(x, right, second);
      }
    }
    return after;
  };
  KernelBuilder::Nums zero(chains * sums, k.zeros(k.vector()));
  auto total = k.loop(
      k.integer(0), depth, kTilePiece, zero,
      [&](Num first, ArrayRef<Num> carried) {
        Num count = k.min(depth - first, k.integer(kTilePiece));
        Num from =
            k.address(k.f32(), tile, first / kTilePiece * (rows * kTileStride));
        Num weights = k.address(spec.weights, panel, first * spec.panelStride);
        Num next = k.address(k.b.getI8Type(), ahead, first * aheadStep);
        Num whole = chains > 1 ? count / chains * chains : count;
        auto after =
            k.loop(k.integer(0), whole, chains, carried,
                   [&](Num i, ArrayRef<Num> carried) {
                     return step(i, from, weights, next, carried, chains);
                   });
        if (chains == 1)
          return after;
        return k.loop(whole, count, 1, after,
                      [&](Num i, ArrayRef<Num> carried) {
                        return step(i, from, weights, next, carried, 1);
                      });
      });
  for (int64_t s = 0; s < sums; ++s) {
    Num sum = total[s];
    for (int64_t c = 1; c < chains; ++c)
      sum = sum + total[c * sums + s];
    k.store(sum, out, s / 2 * spec.outStride + s % 2 * k.isa.lanes);
  }
}

func::FuncOp Microkernel::build(KernelBuilder &k) const {
  std::string name = "moe_tile_" + nameOf(weights) + "_" +
                     std::to_string(panelStride) + "_" +
                     std::to_string(outStride);
  // depth, tile, panel, out, ahead, aheadStep
  SmallVector<Type> types{k.i64(),     k.pointer(), k.pointer(),
                          k.pointer(), k.pointer(), k.i64()};
  SmallVector<Type> all{k.i64()};
  all.append(types);
  return k.function(name, all, [&](KernelBuilder &k, ArrayRef<Num> arguments) {
    k.dispatch(arguments[0], k.isa.maxRows, [&](int64_t rows) {
      auto one = k.function(name + "_" + std::to_string(rows), types,
                            [&](KernelBuilder &k, ArrayRef<Num> inner) {
                              emit(k, *this, rows, inner[0], inner[1], inner[2],
                                   inner[3], inner[4], inner[5]);
                            });
      // One copy, whoever calls it.
      one->setAttr("passthrough", k.b.getStrArrayAttr({"noinline"}));
      k.call(one, arguments.drop_front());
    });
  });
}

void Microkernel::call(KernelBuilder &k, Num rows, int64_t depth, Num tile,
                       Num panel, Num out, Num index, Num share) const {
  // Lines come in pairs of 128 bytes, so even the widest step misses none.
  int64_t bytes = depth * panelStride * (weights.getIntOrFloatBitWidth() / 8);
  Num part = k.integer(bytes) / share;
  Num ahead = k.address(k.b.getI8Type(), panel, index * part + bytes);
  k.call(build(k),
         {rows, k.integer(depth), tile, panel, out, ahead, part / depth});
}

void Microkernel::call(KernelBuilder &k, Num rows, Num depth, Num tile,
                       Num panel, Num out) const {
  k.call(build(k), {rows, depth, tile, panel, out, panel, k.integer(0)});
}
