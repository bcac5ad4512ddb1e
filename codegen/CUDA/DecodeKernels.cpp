// A MoE layer for few tokens: every weight is read once, 16 bytes at a time,
// by the tensor cores' fragments of 16 rows; tokens are the 8 columns.
#include "codegen/CUDA/DecodeTile.h"
#include "codegen/CUDA/LayerKernels.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

namespace {
/// Slots of one expert, and a tile of its rows.
struct Work {
  Num expert, tile, begin, count, lane, warp;
};
} // namespace

/// Runs `body(work, first)` for every tile of every active expert and every 8
/// of its slots, from slot `first` on. The blocks divide the tiles.
static void forTiles(CudaBuilder &k, int64_t tiles, Num offsets, Num active,
                     Num activeCount,
                     llvm::function_ref<void(const Work &, Num)> body) {
  Num lane = k.lane(), warp = k.warp();
  Num end = at32(k, activeCount, k.integer(0)) * tiles;
  // scf.for wants a constant step; the grid is none.
  Num block = k.block(), grid = k.grid();
  Num rounds = (end + grid - k.integer(1)) / grid;
  k.loop(0, rounds, [&](Num round) {
    Num item = round * grid + block;
    k.when(item < end, [&] {
      Num expert = at32(k, active, item / tiles);
      Num begin = at32(k, offsets, expert);
      Num count = at32(k, offsets, expert + 1) - begin;
      Work work = {expert, item % tiles, begin, count, lane, warp};
      k.loop(k.integer(0), count, 8, [&](Num first) { body(work, first); });
    });
  });
}

void moe::cuda::emitDecodeUp(ModuleOp module, StringRef name,
                             const LayerShape &shape) {
  ExpertMatrix up = ExpertMatrix::up(shape);
  CudaBuilder::kernel(
      module, name, up.arguments(module.getContext(), 7), kLayerThreads,
      DecodeTile::sharedBytes(), [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        up.take(arguments, 1, 7);
        Num x = arguments[0], order = arguments[2], hidden = arguments[6];
        auto tile = DecodeTile::create(k, up);
        int64_t each = shape.neuronsPerTile();
        auto body = [&](const Work &work, Num first) {
          Num group = work.lane / 4, pair = work.lane % 4 * 2;
          // Columns without a slot read another's; nobody looks at them.
          Num column = k.min(first + group, work.count - k.integer(1));
          Num row = inputRow(k, shape, order, work.begin + column);
          Num weight = up.weightOf(k, order, work.begin + column);
          Nums sums =
              tile->multiply(work.expert * up.tiles() + work.tile, row, x);
          k.when(work.warp == k.integer(0), [&] {
            auto put = [&](Num value, Num neuron, Num slot) {
              Num inside = (slot < work.count) &
                           (neuron < k.integer(shape.paddedHidden()));
              k.when(inside, [&] {
                k.store(k.convert(value, typeOf(k, shape.element)), hidden,
                        (work.begin + slot) * shape.paddedHidden() + neuron);
              });
            };
            Nums weights(2);
            for (int64_t i = 0; weight && i < 2; ++i)
              weights[i] = ofLane(k, weight, (pair + i) * 4);
            for (int64_t i = 0; i < 4; ++i)
              sums[i] =
                  up.biased(k, sums[i], work.expert,
                            work.tile * 16 + group + i / 2 * 8, weights[i % 2]);
            for (int64_t i = 0; i < 2; ++i) {
              Num slot = first + pair + i, neuron = work.tile * each + group;
              if (!shape.isGlu) {
                put(activate(k, shape, sums[i]), neuron, slot);
                put(activate(k, shape, sums[2 + i]), neuron + 8, slot);
                continue;
              }
              put(activateGlu(k, shape, sums[i], sums[2 + i]), neuron, slot);
            }
          });
        };
        forTiles(k, up.tiles(), arguments[3], arguments[4], arguments[5], body);
      });
}

void moe::cuda::emitDecodeDown(ModuleOp module, StringRef name,
                               const LayerShape &shape) {
  // Hidden values are not rounded to 8 bits: a block has a few neurons alone,
  // which do not know the largest of a scale's, and weights are what is read.
  ExpertMatrix down = ExpertMatrix::plainDown(shape);
  CudaBuilder::kernel(
      module, name, down.arguments(module.getContext(), 6), kLayerThreads,
      DecodeTile::sharedBytes(), [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        down.take(arguments, 1, 6);
        Num hidden = arguments[0], rows = arguments[5];
        auto tile = DecodeTile::create(k, down);
        auto body = [&](const Work &work, Num first) {
          Num group = work.lane / 4, pair = work.lane % 4 * 2;
          Num column = k.min(first + group, work.count - k.integer(1));
          Nums sums = tile->multiply(work.expert * down.tiles() + work.tile,
                                     work.begin + column, hidden);
          k.when(work.warp == k.integer(0), [&] {
            for (int64_t i = 0; i < 4; ++i) {
              Num slot = first + pair + i % 2;
              Num output = work.tile * 16 + group + i / 2 * 8;
              k.when(slot < work.count, [&] {
                k.store(down.biased(k, sums[i], work.expert, output), rows,
                        (work.begin + slot) * down.rows + output);
              });
            }
          });
        };
        forTiles(k, down.tiles(), arguments[2], arguments[3], arguments[4],
                 body);
      });
}
