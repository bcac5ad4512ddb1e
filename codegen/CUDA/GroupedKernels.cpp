// A MoE layer for many tokens on any GPU from sm_80 on: the rows of each expert
// times its matrix, in tiles that travel to shared memory while earlier ones
// are multiplied (cp.async, ldmatrix, mma.sync).
#include "codegen/CUDA/KernelParts.h"
#include "codegen/CUDA/LayerKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
using Nums = KernelBuilder::Nums;

/// A block makes 64 rows (slots) times 128 columns (rows of the matrix), its 8
/// warps 32 x 32 each, 64 deep at a time.
constexpr int64_t kRows = 64, kColumns = 128, kDepth = 64, kStages = 3;
constexpr int64_t kRowBytes = kDepth * 2, kStageRows = kRows + kColumns;
constexpr int64_t kStageBytes = kStageRows * kRowBytes;
/// 16-row and 8-column tiles of a warp.
constexpr int64_t kTall = 2, kWide = 4;

/// Sixteen bytes of a row lie where no two rows of a matrix of 8 x 8 share
/// banks.
struct Tile {
  CudaBuilder &k;
  int64_t depth; ///< of a padded row, a multiple of 8
  Num thread, lane, warp;

  /// Where 16 bytes `chunk` of a row of a stage lie.
  Num place(Num stage, Num row, Num chunk) {
    Num other{k,
              arith::XOrIOp::create(k.b, k.loc, chunk.value, (row % 8).value)};
    return k.at(k.b.getI8Type(), k.shared(0),
                stage * kStageBytes + row * kRowBytes + other * 16);
  }
  void copy(Num step, Num stage, llvm::ArrayRef<Num> rows, Num left,
            llvm::ArrayRef<Num> columns, Num right);
  Nums multiply(Num stage, llvm::ArrayRef<Num> sums);
  /// Sums of the warp: tile (i, j) is number i * kWide + j, 4 numbers each, as
  /// `moegpu.mma` has them. `rows[i]` and `columns[i]` are the rows of `left`
  /// and `right` that the thread copies, negative where there is none.
  Nums run(llvm::ArrayRef<Num> rows, Num left, llvm::ArrayRef<Num> columns,
           Num right);
};
} // namespace

/// Rows of a tile whose bytes a thread copies: one in 32.
static Num copiedRow(CudaBuilder &k, Num thread, int64_t i) {
  return thread / 8 + k.integer(i * (kLayerThreads / 8));
}

/// Starts the copies of a step; they are zero beyond the ends.
void Tile::copy(Num step, Num stage, ArrayRef<Num> rows, Num left,
                ArrayRef<Num> columns, Num right) {
  Num chunk = thread % 8, at = step * kDepth + chunk * 8;
  Num zero = k.integer(0), inside = at < k.integer(depth);
  auto start = [&](Num from, Num row, Num to) {
    Num valid = inside & (k.integer(-1) < row);
    Num place = k.select(valid, row * depth + at, zero);
    Num bytes = k.select(valid, k.integer(16), zero);
    moegpu::AsyncCopyOp::create(k.b, k.loc, this->place(stage, to, chunk).value,
                                k.at(k.bf16(), from, place).value,
                                k.convert(bytes, k.i32()).value, 16);
  };
  for (auto [i, row] : llvm::enumerate(rows))
    start(left, row, copiedRow(k, thread, i));
  for (auto [i, column] : llvm::enumerate(columns))
    start(right, column, copiedRow(k, thread, i) + kRows);
}

Nums Tile::multiply(Num stage, ArrayRef<Num> before) {
  Nums sums(before.begin(), before.end());
  auto load = [&](Num row, Num chunk) {
    return Num(k, moegpu::LoadMatrixOp::create(k.b, k.loc, k.vector(4, k.i32()),
                                               place(stage, row, chunk).value,
                                               /*transposed=*/false));
  };
  Num firstRow = warp / 4 * (kTall * 16);
  Num firstColumn = warp % 4 * (kWide * 8) + kRows;
  for (int64_t step = 0; step < kDepth / 16; ++step) {
    // Fragments of rows: 8 x 8 matrices down first, then along the depth; of
    // columns: along the depth first.
    Nums left, right;
    for (int64_t i = 0; i < kTall; ++i)
      left.push_back(load(firstRow + i * 16 + lane % 16, lane / 16 + step * 2));
    for (int64_t j = 0; j < kWide; j += 2) {
      Num two = load(firstColumn + j * 8 + lane / 16 * 8 + lane % 8,
                     lane / 8 % 2 + step * 2);
      for (int64_t part : {0, 2})
        right.push_back(
            k.pack({k.extract(two, part), k.extract(two, part + 1)}));
    }
    for (int64_t i = 0; i < kTall; ++i)
      for (int64_t j = 0; j < kWide; ++j)
        sums[i * kWide + j] = k.mma(left[i], right[j], sums[i * kWide + j]);
  }
  return sums;
}

Nums Tile::run(ArrayRef<Num> rows, Num left, ArrayRef<Num> columns, Num right) {
  int64_t steps = (depth + kDepth - 1) / kDepth;
  // A group for each step, also where there is none to copy, so that counting
  // them stays simple.
  auto start = [&](Num step) {
    k.when(step < k.integer(steps),
           [&] { copy(step, step % kStages, rows, left, columns, right); });
    moegpu::AsyncCommitOp::create(k.b, k.loc);
  };
  for (int64_t step = 0; step < kStages - 1; ++step)
    start(k.integer(step));
  Nums sums(kTall * kWide, k.zeros(k.vector(4, k.f32())));
  sums = k.loop(k.integer(0), k.integer(steps), 1, sums,
                [&](Num step, ArrayRef<Num> before) -> Nums {
                  moegpu::AsyncWaitOp::create(k.b, k.loc, kStages - 2);
                  // All see the copies, and are done with the stage before.
                  k.barrier();
                  start(step + (kStages - 1));
                  return multiply(step % kStages, before);
                });
  // The next tile overwrites the stages.
  moegpu::AsyncWaitOp::create(k.b, k.loc, 0);
  k.barrier();
  return sums;
}

namespace {
/// A tile of the rows of one expert.
struct Work {
  Num expert, begin, count, firstSlot, firstColumn;
};
} // namespace

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
/// slot of the expert, `put(work, slot, column, i, sums)` takes the sums of two
/// neighbouring columns of the matrix, or, `paired`, of a tile of 8 and the
/// next.
using RowOf = llvm::function_ref<Num(const Work &, Num)>;
using Put = llvm::function_ref<void(const Work &, Num slot, Num column,
                                    ArrayRef<Num> here, ArrayRef<Num> next)>;
static void emitTiles(CudaBuilder &k, int64_t depth, int64_t columns, Num left,
                      Num right, Num offsets, Num active, Num activeCount,
                      bool paired, RowOf rowOf, Put put) {
  Tile tile{k, depth, k.thread(), k.lane(), k.warp()};
  Num none = k.integer(-1);
  forTiles(k, columns, offsets, active, activeCount, [&](const Work &work) {
    Nums rows, matrixRows;
    for (int64_t i = 0; i < kRows / (kLayerThreads / 8); ++i) {
      Num slot = work.firstSlot + copiedRow(k, tile.thread, i);
      rows.push_back(k.choose(
          slot < work.count, [&] { return rowOf(work, slot); },
          [&] { return none; }));
    }
    for (int64_t i = 0; i < kColumns / (kLayerThreads / 8); ++i) {
      Num column = work.firstColumn + copiedRow(k, tile.thread, i);
      matrixRows.push_back(k.select(column < k.integer(columns),
                                    work.expert * columns + column, none));
    }
    Nums sums = tile.run(rows, left, matrixRows, right);
    Num group = tile.lane / 4, pair = tile.lane % 4 * 2;
    for (int64_t i = 0; i < kTall; ++i)
      for (int64_t half = 0; half < 2; ++half) {
        Num slot = work.firstSlot + tile.warp / 4 * (kTall * 16) + group +
                   (i * 16 + half * 8);
        k.when(slot < work.count, [&] {
          for (int64_t j = 0; j < kWide; j += paired ? 2 : 1) {
            Num column =
                work.firstColumn + tile.warp % 4 * (kWide * 8) + j * 8 + pair;
            auto two = [&](int64_t j) -> Nums {
              Num of = sums[i * kWide + j];
              return {k.extract(of, half * 2), k.extract(of, half * 2 + 1)};
            };
            k.when(column < k.integer(columns), [&] {
              put(work, slot, column, two(j), paired ? two(j + 1) : Nums());
            });
          }
        });
      }
  });
}

void moe::cuda::emitGroupedUp(ModuleOp module, StringRef name,
                              const LayerShape &shape) {
  Type pointer = CudaBuilder::global(module.getContext());
  CudaBuilder::kernel(
      module, name, SmallVector<Type>(7, pointer), kLayerThreads,
      kStages * kStageBytes, [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num order = arguments[2], hidden = arguments[6];
        auto put = [&](const Work &work, Num slot, Num column,
                       ArrayRef<Num> here, ArrayRef<Num> next) {
          // A tile of 16 rows of the matrix is 8 neurons of a gated expert.
          Num neuron = shape.isGlu ? column / 16 * 8 + column % 8 : column;
          Nums values;
          for (int64_t i = 0; i < 2; ++i)
            values.push_back(
                k.convert(shape.isGlu ? activateGlu(k, shape, here[i], next[i])
                                      : activate(k, shape, here[i]),
                          k.bf16()));
          k.when(neuron < k.integer(shape.paddedHidden()), [&] {
            k.store(k.pack(values), hidden,
                    (work.begin + slot) * shape.paddedHidden() + neuron);
          });
        };
        emitTiles(
            k, shape.paddedInputs(), shape.upTiles() * 16, arguments[0],
            arguments[1], arguments[3], arguments[4], arguments[5], shape.isGlu,
            [&](const Work &work, Num slot) {
              return at32(k, order, work.begin + slot) / shape.topK;
            },
            put);
      });
}

void moe::cuda::emitGroupedDown(ModuleOp module, StringRef name,
                                const LayerShape &shape) {
  Type pointer = CudaBuilder::global(module.getContext());
  CudaBuilder::kernel(
      module, name, SmallVector<Type>(6, pointer), kLayerThreads,
      kStages * kStageBytes, [&](CudaBuilder &k, ArrayRef<Num> arguments) {
        Num rows = arguments[5];
        emitTiles(
            k, shape.paddedHidden(), shape.paddedOutputs(), arguments[0],
            arguments[1], arguments[2], arguments[3], arguments[4],
            /*paired=*/false,
            [&](const Work &work, Num slot) { return work.begin + slot; },
            [&](const Work &work, Num slot, Num column, ArrayRef<Num> here,
                ArrayRef<Num>) {
              k.store(k.pack(here), rows,
                      (work.begin + slot) * shape.paddedOutputs() + column);
            });
      });
}
