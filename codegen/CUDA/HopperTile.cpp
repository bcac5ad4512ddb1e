#include "codegen/CUDA/HopperTile.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

// Registers of a thread: three warpgroups start with 168 each, 504 in all.
static constexpr int64_t kBringRegisters = 56, kMultiplyRegisters = 224;

HopperForm HopperForm::many(const ExpertMatrix &matrix) {
  return {HopperShape::kSlots, HopperShape::rowsOf(matrix.rows),
          HopperShape::kStages, false};
}

Num HopperTile::spareOf() {
  return k.at(k.b.getI8Type(), k.shared(form.stages * form.stageBytes()),
              (group - k.integer(1)) * (spare / 2));
}

void HopperTile::meet() {
  moegpu::NamedBarrierOp::create(k.b, k.loc, k.convert(group, k.i32()).value,
                                 kGroupThreads);
}

void HopperTile::waitFor(Num barrier, Num parity) {
  moegpu::MBarrierWaitOp::create(k.b, k.loc, barrier.value, parity.value);
}

void HopperTile::waitForEmpty(Num n) {
  Num parity = parityOf(n);
  // The phase before: of a new barrier none.
  waitFor(empty(stageOf(n)), k.exclusiveOr(parity, parity.like(1)));
}

void HopperTile::makeBarriers() {
  k.when(thread == k.integer(0), [&] {
    for (int64_t stage = 0; stage < form.stages; ++stage) {
      // Threads that gather, and the one that announces rows of the matrix;
      // warps that multiply.
      moegpu::MBarrierInitOp::create(k.b, k.loc, full(k.integer(stage)).value,
                                     kGroupThreads + 1);
      moegpu::MBarrierInitOp::create(k.b, k.loc, empty(k.integer(stage)).value,
                                     2 * kGroupThreads / 32);
    }
  });
  moegpu::ProxyFenceOp::create(k.b, k.loc);
  k.barrier();
}

/// Tiles of an expert go down its slots first: blocks that run together read
/// the same rows of the matrix, which come from far, and slots that stay in the
/// second cache.
Num HopperTile::forTiles(
    ArrayRef<Num> offsetsActiveCount,
    llvm::function_ref<void(const HopperWork &, Num)> body) {
  int64_t across = (matrix.rows + form.rows - 1) / form.rows;
  Num grid = k.grid(), zero = k.integer(0);
  // The block's next tile, counted from the expert's first; steps so far.
  Nums ends = k.loop(
      zero, at32(k, offsetsActiveCount[2], zero), 1, {k.block(), zero},
      [&](Num a, ArrayRef<Num> carried) -> Nums {
        Num expert = at32(k, offsetsActiveCount[1], a);
        Num begin = at32(k, offsetsActiveCount[0], expert);
        Num count = at32(k, offsetsActiveCount[0], expert + 1) - begin;
        Num down = k.ceilDiv(count, form.slots), tiles = down * across;
        auto loop = scf::ForOp::create(
            k.b, k.loc, carried[0].value, tiles.value, grid.value,
            ValueRange{carried[0].value, carried[1].value});
        OpBuilder::InsertionGuard guard(k.b);
        k.b.setInsertionPointToStart(loop.getBody());
        Num tile = {k, loop.getInductionVar()};
        Num n = {k, loop.getRegionIterArg(1)};
        // Divided as 32 bits, which is short.
        Num small = k.convert(tile, k.i32()), high = k.convert(down, k.i32());
        Num beside = k.convert(small / high, k.i64());
        body({expert, begin, count, (tile - beside * down) * form.slots,
              beside * form.rows},
             n);
        scf::YieldOp::create(
            k.b, k.loc, ValueRange{(tile + grid).value, (n + steps()).value});
        k.b.setInsertionPointAfter(loop);
        return {Num(k, loop.getResult(0)) - tiles, Num(k, loop.getResult(1))};
      });
  return ends[1];
}

/// Eight neighbouring threads bring a slot's row of a step, 16 bytes each.
/// Where rows are is kept in units of 16 bytes, negative where there is none,
/// so that few registers are alive.
void HopperTile::bring(const HopperWork &work, Num before, Num left,
                       RowOf rowOf) {
  constexpr int64_t kAtOnce = kGroupThreads / 8;
  // The same bytes of each row that the thread brings, but for whole rows.
  static_assert(kAtOnce % 8 == 0, "rows differ in what the swizzle leaves");
  Num chunk = thread % 8, zero = k.integer(0);
  Num place =
      thread / 8 * kRowBytes + k.exclusiveOr(chunk, thread / 8 % 8) * 16;
  Nums units;
  for (int64_t i = 0; i < form.slots / kAtOnce; ++i) {
    Num slot = work.firstSlot + thread / 8 + i * kAtOnce;
    Num unit = k.choose(
        slot < work.count,
        [&] { return rowOf(work, slot) * (matrix.depth / 8) + chunk; },
        [&] { return k.integer(-(int64_t(1) << 30)); });
    units.push_back(k.convert(unit, k.i32()));
  }
  k.loop(0, k.integer(steps()), [&](Num step) {
    Num n = before + step, stage = stageOf(n), depth = step * kStepDepth;
    waitForEmpty(n);
    k.when(thread == zero, [&] {
      moegpu::MBarrierExpectOp::create(k.b, k.loc, full(stage).value,
                                       form.rows * kRowBytes);
      for (int64_t box = 0; box < form.rows; box += kBoxRows)
        moegpu::TensorLoadOp::create(
            k.b, k.loc, matrix.values.value,
            k.convert(work.expert, k.i32()).value,
            k.convert(work.firstRow + box, k.i32()).value,
            k.convert(depth, k.i32()).value,
            inStage(stage, (form.slots + box) * kRowBytes).value,
            full(stage).value);
    });
    // Only the last step may be a part of one.
    bool isWhole = matrix.depth % kStepDepth == 0;
    Num inside = depth + chunk * 8 < k.integer(matrix.depth);
    Num to = k.at(k.b.getI8Type(), inStage(stage, 0), place);
    Num further = k.convert(step * (kStepDepth / 8), k.i32());
    for (int64_t i = 0; i < form.slots / kAtOnce; ++i) {
      Num unit = units[i] + further;
      Num isThere = unit.like(-1) < unit;
      if (!isWhole)
        isThere = isThere & inside;
      Num from = k.convert(k.max(unit, unit.like(0)), k.i64()) * 16;
      moegpu::AsyncCopyOp::create(
          k.b, k.loc,
          k.at(k.b.getI8Type(), to, k.integer(i * kAtOnce * kRowBytes)).value,
          k.at(k.b.getI8Type(), left, from).value,
          k.select(isThere, unit.like(16), unit.like(0)).value, 16);
    }
    moegpu::MBarrierArriveCopiesOp::create(k.b, k.loc, full(stage).value);
  });
}

/// A stage is empty once the product after it has been started and its own is
/// done, so that the tensor core always has one to go on with.
Num HopperTile::multiply(Num before) {
  moegpu::MmaKind kind = matrix.element == Element::BF16 ? moegpu::MmaKind::BF16
                                                         : moegpu::MmaKind::F16;
  Num first = k.lane() == k.integer(0);
  Num sums = k.zeros(k.vector(form.columns() / 2, k.f32()));
  sums = k.fold(
      k.integer(0), k.integer(steps()), sums, [&](Num step, Num carried) {
        Num n = before + step, stage = stageOf(n);
        waitFor(full(stage), parityOf(n));
        // Rows were copied by threads.
        moegpu::ProxyFenceOp::create(k.b, k.loc);
        Num left = inStage(stage, 0);
        Num right = inStage(stage, form.slots * kRowBytes);
        if (form.slotsAreColumns)
          std::swap(left, right);
        Num ours = k.at(k.b.getI8Type(), left, groupRow() * kRowBytes);
        moegpu::WgmmaFenceOp::create(k.b, k.loc);
        Num made = {k,
                    moegpu::WgmmaOp::create(k.b, k.loc, ours.value, right.value,
                                            carried.value, kind)};
        moegpu::WgmmaCommitOp::create(k.b, k.loc);
        moegpu::WgmmaWaitOp::create(k.b, k.loc, 1);
        k.when(first & (k.integer(0) < step), [&] { release(n - 1); });
        return made;
      });
  sums = {k, moegpu::WgmmaFinishOp::create(k.b, k.loc, sums.value.getType(),
                                           sums.value)};
  k.when(first, [&] { release(before + (steps() - 1)); });
  return sums;
}

/// No row of the tile is the warpgroup's.
void HopperTile::skip(Num before) {
  k.loop(0, k.integer(steps()), [&](Num step) {
    Num n = before + step;
    // Or it would arrive in the phase before.
    waitFor(full(stageOf(n)), parityOf(n));
    k.when(k.lane() == k.integer(0), [&] { release(n); });
  });
}

void HopperTile::release(Num n) {
  moegpu::MBarrierArriveOp::create(k.b, k.loc, empty(stageOf(n)).value);
}

void HopperTile::run(Num left, ArrayRef<Num> offsetsActiveCount, RowOf rowOf,
                     Put put) {
  makeBarriers();
  k.when(
      group == k.integer(0),
      [&] {
        moegpu::MaxRegistersOp::create(k.b, k.loc, kBringRegisters,
                                       /*increase=*/false);
        Num n =
            forTiles(offsetsActiveCount, [&](const HopperWork &work, Num n) {
              bring(work, n, left, rowOf);
            });
        // Nothing may be on its way when threads end.
        for (int64_t i = 0; i < form.stages; ++i)
          waitForEmpty(n + i);
      },
      [&] {
        moegpu::MaxRegistersOp::create(k.b, k.loc, kMultiplyRegisters,
                                       /*increase=*/true);
        forTiles(offsetsActiveCount, [&](const HopperWork &work, Num n) {
          if (form.slotsAreColumns)
            return put(work, multiply(n));
          k.when(
              work.firstSlot + groupRow() < work.count,
              [&] { put(work, multiply(n)); }, [&] { skip(n); });
        });
      });
}
