// A MoE layer for many tokens on any GPU from sm_80 on: the rows of each expert
// times its matrix, in tiles that travel to shared memory while earlier ones
// are multiplied (cp.async, ldmatrix, mma.sync).
#include "codegen/CUDA/GroupedBytes.h"
#include "codegen/CUDA/GroupedTile.h"
#include "codegen/CUDA/LayerKernels.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

static constexpr int64_t kRows = GroupedTile::kRows;
static constexpr int64_t kColumns = GroupedTile::kColumns;
static constexpr int64_t kTall = GroupedTile::kTall, kWide = GroupedTile::kWide;

using Work = GroupedTile::Work;

/// Calls `body` for every tile of 64 slots of an expert and 128 of `columns`,
/// divided among the blocks.
static void forTiles(CudaBuilder &k, int64_t columns, Num offsets, Num active,
                     Num activeCount,
                     llvm::function_ref<void(const Work &)> body) {
  int64_t across = (columns + kColumns - 1) / kColumns;
  Num block = k.block(), grid = k.grid(), zero = k.integer(0);
  k.loop(zero, at32(k, activeCount, zero), 1, {zero},
         [&](Num a, ArrayRef<Num> carried) -> Nums {
           Num expert = at32(k, active, a);
           Num begin = at32(k, offsets, expert);
           Num count = at32(k, offsets, expert + 1) - begin;
           Num tiles = k.ceilDiv(count, kRows) * across;
           // Tiles of all experts have numbers; a block has every grid-th.
           Num first = (block + grid - carried[0] % grid) % grid;
           Num rounds =
               (k.max(tiles - first, zero) + grid - k.integer(1)) / grid;
           k.loop(0, rounds, [&](Num round) {
             Num tile = first + round * grid;
             body({expert, begin, count, tile / across * kRows,
                   tile % across * kColumns});
           });
           return {carried[0] + tiles};
         });
}

/// The kernel around the tiles: `rowOf(work, slot)` is the row of `left` for a
/// slot of the expert, `finish(work, tile, sums)` takes the sums of a warp.
using RowOf = llvm::function_ref<Num(const Work &, Num)>;
using Finish =
    llvm::function_ref<void(const Work &, GroupedTile &, ArrayRef<Num>)>;
static void emitTiles(CudaBuilder &k, const ExpertMatrix &matrix, Num left,
                      ArrayRef<Num> offsetsActiveCount, RowOf rowOf,
                      Finish finish) {
  auto tile = GroupedTile::create(k, matrix);
  auto body = [&](const Work &work) {
    Nums rows;
    for (int64_t i = 0; i < GroupedTile::kCopied; ++i) {
      Num slot = work.firstSlot + tile->copiedRow(i);
      rows.push_back(k.choose(
          slot < work.count, [&] { return rowOf(work, slot); },
          [&] { return k.integer(-1); }));
    }
    finish(work, *tile,
           tile->multiply(rows, left, work.expert, work.firstColumn));
  };
  forTiles(k, matrix.rows, offsetsActiveCount[0], offsetsActiveCount[1],
           offsetsActiveCount[2], body);
}

/// `put(slot, column, sums, next)` takes the sums of two neighbouring columns
/// of the matrix and, `paired`, of the two 8 further. `order` is that of slots,
/// where weights multiply sums.
using Put = llvm::function_ref<void(Num slot, Num column, ArrayRef<Num> here,
                                    ArrayRef<Num> next)>;
static void putEach(CudaBuilder &k, const ExpertMatrix &matrix,
                    const Work &work, GroupedTile &tile, ArrayRef<Num> sums,
                    Num order, bool paired, Put put) {
  Num group = tile.lane / 4, pair = tile.lane % 4 * 2;
  for (int64_t i = 0; i < kTall; ++i)
    for (int64_t half = 0; half < 2; ++half) {
      Num slot = work.firstSlot + tile.firstRow() + group + (i * 16 + half * 8);
      k.when(slot < work.count, [&] {
        Num weight = matrix.weightOf(k, order, work.begin + slot);
        for (int64_t j = 0; j < kWide; j += paired ? 2 : 1) {
          Num column = work.firstColumn + tile.firstColumn() + j * 8 + pair;
          auto two = [&](int64_t j, int64_t further) {
            Nums made;
            for (int64_t c = 0; c < 2; ++c)
              made.push_back(
                  matrix.biased(k, k.extract(sums[i * kWide + j], half * 2 + c),
                                work.expert, column + (further + c), weight));
            return made;
          };
          k.when(column < k.integer(matrix.rows), [&] {
            put(slot, column, two(j, 0), paired ? two(j + 1, 8) : Nums());
          });
        }
      });
    }
}

void moe::cuda::emitGroupedUp(ModuleOp module, StringRef name,
                              const LayerShape &shape) {
  ExpertMatrix up = ExpertMatrix::up(shape);
  int64_t shared = GroupedTile::sharedBytes(up);
  auto emit = [&](CudaBuilder &k, ArrayRef<Num> arguments) {
    up.take(arguments, 1, 7);
    Num order = arguments[2], hidden = arguments[6];
    auto finish = [&](const Work &work, GroupedTile &tile, ArrayRef<Num> sums) {
      if (shape.hiddenBytes())
        return putBytes(k, shape, up, work, tile, sums, shared, order, hidden);
      auto put = [&](Num slot, Num column, ArrayRef<Num> here,
                     ArrayRef<Num> next) {
        // A tile of 16 rows of the matrix is 8 neurons of a gated expert.
        Num neuron = shape.isGlu ? column / 16 * 8 + column % 8 : column;
        Nums values;
        for (int64_t i = 0; i < 2; ++i)
          values.push_back(
              k.convert(shape.isGlu ? activateGlu(k, shape, here[i], next[i])
                                    : activate(k, shape, here[i]),
                        typeOf(k, shape.element)));
        k.when(neuron < k.integer(shape.paddedHidden()), [&] {
          k.store(k.pack(values), hidden,
                  (work.begin + slot) * shape.paddedHidden() + neuron);
        });
      };
      putEach(k, up, work, tile, sums, order, shape.isGlu, put);
    };
    emitTiles(
        k, up, arguments[0], arguments.slice(3, 3),
        [&](const Work &work, Num slot) {
          return inputRow(k, shape, order, work.begin + slot);
        },
        finish);
  };
  CudaBuilder::kernel(module, name, up.arguments(module.getContext(), 7),
                      kLayerThreads, shared + hiddenBytesShared(shape), emit);
}

void moe::cuda::emitGroupedDown(ModuleOp module, StringRef name,
                                const LayerShape &shape) {
  ExpertMatrix down = ExpertMatrix::down(shape);
  CudaBuilder::kernel(
      module, name, down.arguments(module.getContext(), 6), kLayerThreads,
      GroupedTile::sharedBytes(down),
      [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        down.take(arguments, 1, 6);
        emitTiles(
            k, down, arguments[0], arguments.slice(2, 3),
            [&](const Work &work, Num slot) { return work.begin + slot; },
            [&](const Work &work, GroupedTile &tile, ArrayRef<Num> sums) {
              putEach(
                  k, down, work, tile, sums, /*order=*/{},
                  /*paired=*/false,
                  [&](Num slot, Num column, ArrayRef<Num> here, ArrayRef<Num>) {
                    k.store(k.pack(here), arguments[5],
                            (work.begin + slot) * down.rows + column);
                  });
            });
      });
}
