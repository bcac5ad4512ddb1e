// A MoE layer for few tokens: every weight is read once, 16 bytes at a time,
// by the tensor cores' fragments of 16 rows; tokens are the 8 columns.
#include "codegen/CUDA/LayerKernels.h"

#include "codegen/CUDA/KernelParts.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

static constexpr int64_t kWarps = kLayerThreads / 32;

namespace {
using Nums = KernelBuilder::Nums;

/// 16 rows of a matrix times up to 8 columns, the depth divided among the warps
/// of a block.
///
/// A lane reads 8 numbers of row lane / 4 and 8 of the row 8 below, and hands
/// them to the tensor core as the fragments of two steps of 16: which 8 of the
/// 32 numbers a lane holds does not matter as long as rows and columns agree.
struct RowTile {
  CudaBuilder &k;
  int64_t depth; ///< of a padded row, a multiple of 8

  /// Registers of `count` steps are read before the first is used, so that
  /// enough bytes are on their way.
  static constexpr int64_t kAhead = 4;

  /// The sums of all warps, for lanes of the first warp: row lane / 4 at
  /// columns 2 (lane % 4) and the next, then the row 8 below.
  Nums multiply(Num row, Num rows, Num column, Num columns, Num lane, Num warp);

private:
  struct Step {
    Num upper, lower, column;
  };
  Step read(Num row, Num rows, Num column, Num columns, Num begin, Num lane);
  Num add(const Step &step, Num sum);
};
} // namespace

RowTile::Step RowTile::read(Num row, Num rows, Num column, Num columns,
                            Num begin, Num lane) {
  Type eight = k.vector(8, k.bf16());
  Num at = begin + lane % 4 * 8;
  // Beyond the end of the rows: nothing, read from the beginning.
  Num inside;
  if (depth % 32 != 0) {
    inside = at < k.integer(depth);
    at = k.select(inside, at, k.integer(0));
  }
  auto load = [&](Num base, Num of, moegpu::Caching caching) {
    Num value = k.load(eight, base, of * depth + at, caching);
    value = k.bitcast(value, k.vector(4, k.i32()));
    return inside ? k.select(inside, value, k.zeros(value.value.getType()))
                  : value;
  };
  return {load(rows, row, moegpu::Caching::Streaming),
          load(rows, row + 8, moegpu::Caching::Streaming),
          load(columns, column, moegpu::Caching::All)};
}

Num RowTile::add(const Step &step, Num sum) {
  for (int64_t i : {0, 2}) {
    auto part = [&](Num of, int64_t j) { return k.extract(of, i + j); };
    Num a = k.pack({part(step.upper, 0), part(step.lower, 0),
                    part(step.upper, 1), part(step.lower, 1)});
    sum = k.mma(a, k.pack({part(step.column, 0), part(step.column, 1)}), sum);
  }
  return sum;
}

Nums RowTile::multiply(Num row, Num rows, Num column, Num columns, Num lane,
                       Num warp) {
  int64_t steps = (depth + 31) / 32;
  Num sum = k.zeros(k.vector(4, k.f32()));
  // Every warp has every kWarps-th step, kAhead of them at a time.
  int64_t whole = steps / (kWarps * kAhead) * (kWarps * kAhead);
  auto several = [&](Num from, Num to, int64_t count, Num sum) {
    return k.loop(from, to, kWarps * count, {sum},
                  [&](Num step, ArrayRef<Num> carried) -> Nums {
                    SmallVector<Step> read;
                    for (int64_t i = 0; i < count; ++i)
                      read.push_back(this->read(row, rows, column, columns,
                                                (step + i * kWarps) * 32,
                                                lane));
                    Num sum = carried[0];
                    for (const Step &one : read)
                      sum = add(one, sum);
                    return {sum};
                  })[0];
  };
  if (whole)
    sum = several(warp, k.integer(whole), kAhead, sum);
  if (whole < steps)
    sum = several(warp + whole, k.integer(steps), 1, sum);
  // In the order of the warps, whichever is ready first.
  Num partial = k.shared(0);
  k.store(sum, partial, (warp * 32 + lane) * 4);
  k.barrier();
  for (int64_t w = 0; w < kWarps; ++w) {
    Num other = k.load(k.vector(4, k.f32()), partial, (lane + w * 32) * 4);
    sum = w ? sum + other : other;
  }
  k.barrier();
  Nums sums;
  for (int64_t i = 0; i < 4; ++i)
    sums.push_back(k.extract(sum, i));
  return sums;
}

static int64_t partialBytes() { return kWarps * 32 * 16; }

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
  Type pointer = CudaBuilder::global(module.getContext());
  CudaBuilder::kernel(
      module, name, SmallVector<Type>(7, pointer), kLayerThreads,
      partialBytes(), [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num x = arguments[0], up = arguments[1], order = arguments[2];
        Num hidden = arguments[6];
        int64_t tiles = shape.upTiles(), each = shape.neuronsPerTile();
        auto body = [&](const Work &work, Num first) {
          Num group = work.lane / 4, pair = work.lane % 4 * 2;
          // Columns without a slot read another's; nobody looks at them.
          Num column = k.min(first + group, work.count - k.integer(1));
          Num token = at32(k, order, work.begin + column) / shape.topK;
          Num row = (work.expert * tiles + work.tile) * 16 + group;
          RowTile tile{k, shape.paddedInputs()};
          Nums sums = tile.multiply(row, up, token, x, work.lane, work.warp);
          k.when(work.warp == k.integer(0), [&] {
            auto put = [&](Num value, Num neuron, Num slot) {
              Num inside = (slot < work.count) &
                           (neuron < k.integer(shape.paddedHidden()));
              k.when(inside, [&] {
                k.store(k.convert(value, k.bf16()), hidden,
                        (work.begin + slot) * shape.paddedHidden() + neuron);
              });
            };
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
        forTiles(k, tiles, arguments[3], arguments[4], arguments[5], body);
      });
}

void moe::cuda::emitDecodeDown(ModuleOp module, StringRef name,
                               const LayerShape &shape) {
  Type pointer = CudaBuilder::global(module.getContext());
  CudaBuilder::kernel(
      module, name, SmallVector<Type>(6, pointer), kLayerThreads,
      partialBytes(), [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num hidden = arguments[0], down = arguments[1], rows = arguments[5];
        int64_t outputs = shape.paddedOutputs(), tiles = outputs / 16;
        auto body = [&](const Work &work, Num first) {
          Num group = work.lane / 4, pair = work.lane % 4 * 2;
          Num column = k.min(first + group, work.count - k.integer(1));
          Num row = work.expert * outputs + work.tile * 16 + group;
          RowTile tile{k, shape.paddedHidden()};
          Nums sums = tile.multiply(row, down, work.begin + column, hidden,
                                    work.lane, work.warp);
          k.when(work.warp == k.integer(0), [&] {
            for (int64_t i = 0; i < 4; ++i) {
              Num slot = first + pair + i % 2;
              Num output = work.tile * 16 + group + i / 2 * 8;
              k.when(slot < work.count, [&] {
                k.store(sums[i], rows, (work.begin + slot) * outputs + output);
              });
            }
          });
        };
        forTiles(k, tiles, arguments[2], arguments[3], arguments[4], body);
      });
}
