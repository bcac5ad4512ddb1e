#include "codegen/CPU/Microkernel.h"

using namespace mlir;
using namespace moe;

namespace {
/// The arguments of a microkernel behind the number of rows.
struct Arguments {
  Num depth, tile, panel, out, before, ahead, aheadStep;

  explicit Arguments(ArrayRef<Num> list)
      : depth(list[0]), tile(list[1]), panel(list[2]), out(list[3]),
        before(list[4]), ahead(list[5]), aheadStep(list[6]) {}
};
} // namespace

/// The sums of `rows` rows over a block, in registers.
static void emit(KernelBuilder &k, const Microkernel &spec, int64_t rows,
                 const Arguments &a) {
  // A sum that waits for itself takes 4 cycles per product: few rows need
  // several sums per column, which are added in the end.
  constexpr int64_t enough = 8;
  int64_t chains = std::max<int64_t>(1, (enough + rows) / (2 * rows));
  int64_t sums = 2 * rows;
  // With few rows the memory is the limit, and its own prefetcher does best.
  bool fetches = rows >= 4;
  auto place = [&](int64_t s) {
    return k.integer(s / 2 * spec.outStride + s % 2 * k.isa.lanes);
  };
  auto step = [&](Num i, ArrayRef<Num> before, int64_t count, int64_t spread) {
    KernelBuilder::Nums after(before);
    Num from = spec.order == TileOrder::Packed ? i * rows : i;
    for (int64_t c = 0; c < count; ++c) {
      // Lines come in pairs.
      if (fetches && c % 2 == 0)
        k.prefetch(k.address(k.b.getI8Type(), a.ahead, (i + c) * a.aheadStep));
      Num at = (i + c) * spec.panelStride;
      Num left = k.loadWide(spec.weights, true, a.panel, at);
      Num right = k.loadWide(spec.weights, true, a.panel, at + k.isa.lanes);
      for (int64_t r = 0; r < rows; ++r) {
        int64_t place = spec.order == TileOrder::Packed ? c * rows + r
                                                        : r * kTileStride + c;
        Num x = k.splat(k.load(k.f32(), a.tile, from + place));
        int64_t chain = c % spread * sums;
        Num &first = after[chain + 2 * r], &second = after[chain + 2 * r + 1];
        first = k.fma(x, left, first);
        second = k.fma(x, right, second);
      }
    }
    return after;
  };
  KernelBuilder::Nums sumsBefore(chains * sums, k.zeros(k.vector()));
  for (int64_t s = 0; s < sums; ++s)
    sumsBefore[s] = k.choose(
        a.before == 0, [&] { return k.zeros(k.vector()); },
        [&] { return k.load(k.vector(), a.out, place(s)); });
  // Steps at a time: all chains, or enough for one fetch in two.
  int64_t unroll = std::max<int64_t>(chains, 2);
  Num whole = a.depth / unroll * unroll;
  auto total = k.loop(k.integer(0), whole, unroll, sumsBefore,
                      [&](Num i, ArrayRef<Num> carried) {
                        return step(i, carried, unroll, chains);
                      });
  total = k.loop(whole, a.depth, 1, total, [&](Num i, ArrayRef<Num> carried) {
    return step(i, carried, 1, chains);
  });
  for (int64_t s = 0; s < sums; ++s) {
    Num sum = total[s];
    for (int64_t c = 1; c < chains; ++c)
      sum = sum + total[c * sums + s];
    k.store(sum, a.out, place(s));
  }
}

func::FuncOp Microkernel::build(KernelBuilder &k) const {
  std::string name = "moe_tile_" + typeName(weights) + "_" +
                     std::to_string(panelStride) + "_" +
                     std::to_string(outStride) +
                     (order == TileOrder::ByRow ? "_by_row" : "");
  SmallVector<Type> types{k.i64(), k.pointer(), k.pointer(), k.pointer(),
                          k.i64(), k.pointer(), k.i64()};
  SmallVector<Type> all{k.i64()};
  all.append(types);
  return k.function(name, all, [&](KernelBuilder &k, ArrayRef<Num> arguments) {
    k.dispatch(arguments[0], k.isa.maxRows, [&](int64_t rows) {
      auto one = k.function(name + "_" + std::to_string(rows), types,
                            [&](KernelBuilder &k, ArrayRef<Num> inner) {
                              emit(k, *this, rows, Arguments(inner));
                            });
      k.neverInline(one);
      k.call(one, arguments.drop_front());
    });
  });
}

void Microkernel::call(KernelBuilder &k, Num rows, Num depth, Num tile,
                       Num panel, Num out, Num before, Num ahead,
                       Num aheadStep) const {
  k.call(build(k), {rows, depth, tile, panel, out, before, ahead, aheadStep});
}

void Microkernel::call(KernelBuilder &k, Num rows, Num depth, Num tile,
                       Num panel, Num out) const {
  Num zero = k.integer(0);
  call(k, rows, depth, tile, panel, out, zero, panel, zero);
}
