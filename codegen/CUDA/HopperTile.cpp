#include "codegen/CUDA/HopperTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

// Registers of a thread: three warpgroups start with 168 each, 504 in all.
static constexpr int64_t kBringRegisters = 72, kMultiplyRegisters = 216;
// Where hidden values are made of the sums, or sums have scales, those that
// multiply need more.
static constexpr int64_t kBringRegistersLess = 56, kMultiplyRegistersMore = 224;

/// Of 64 numbers.
static int64_t codeBytes(const ExpertMatrix &matrix) {
  return matrix.coded->isByte() ? 64 : 32;
}

static HopperForm formOfBytes(const ExpertMatrix &matrix, int64_t slots) {
  HopperForm form{slots, HopperShape::kByteRows, 1, true};
  form.slotScales = HopperForm::kRowBytes / matrix.bytes->block;
  return form;
}

HopperForm HopperForm::some(const ExpertMatrix &matrix) {
  if (matrix.bytes)
    return formOfBytes(matrix, HopperShape::kSomeSlots);
  return {HopperShape::kSomeSlots, HopperShape::kSomeRows,
          HopperShape::kSomeSteps, true,
          matrix.coded ? codeBytes(matrix) : kRowBytes};
}

HopperForm HopperForm::many(const ExpertMatrix &matrix) {
  // Where scales of rows change within a block of slots, its sums are a third
  // set of registers: too many for 128 slots.
  if (matrix.bytes && matrix.byteDepth() == matrix.bytes->block)
    return formOfBytes(matrix, HopperShape::kSlots);
  // Sums of a block of numbers beside those of all: twice as many registers.
  if (matrix.coded)
    return some(matrix);
  return {HopperShape::kSlots, HopperShape::rowsOf(matrix.rows),
          HopperShape::kSteps, false};
}

int64_t HopperTile::stagesFor(const ExpertMatrix &matrix, int64_t spare) {
  if (!matrix.coded)
    return HopperShape::kStages;
  int64_t each = stageBytes(matrix);
  int64_t scales = matrix.bytes ? HopperForm::kScaleBytes : 0;
  return std::min(HopperShape::kStageBytes / (each - scales),
                  (HopperShape::kSharedBytes - spare) / (each + 16));
}

Num HopperTile::spareOf() {
  return k.at(k.b.getI8Type(), allSpare(),
              (group - k.integer(1)) * (spare / 2));
}

void HopperTile::meet() {
  moegpu::NamedBarrierOp::create(k.b, k.loc, k.convert(group, k.i32()).value,
                                 kGroupThreads);
}

void HopperTile::meetBoth() {
  moegpu::NamedBarrierOp::create(
      k.b, k.loc, k.convert(k.integer(3), k.i32()).value, 2 * kGroupThreads);
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
    for (int64_t stage = 0; stage < stages(); ++stage) {
      // Threads that copy, and the one that announces rows of the matrix;
      // warps that multiply.
      moegpu::MBarrierInitOp::create(k.b, k.loc, full(k.integer(stage)).value,
                                     kGroupThreads + (matrix.coded ? 0 : 1));
      moegpu::MBarrierInitOp::create(k.b, k.loc, empty(k.integer(stage)).value,
                                     2 * kGroupThreads / 32);
    }
  });
  moegpu::ProxyFenceOp::create(k.b, k.loc);
  k.barrier();
}

/// Tiles of an expert go down its slots first: blocks that run together read
/// the same rows of the matrix, which come from far, and slots that stay in the
/// second cache. Experts with many slots come first (SortKernel), so that small
/// tiles even out what large ones leave.
Num HopperTile::forTiles(
    ArrayRef<Num> offsetsActiveCount,
    llvm::function_ref<void(const HopperWork &, Num)> body) {
  // All in 32 bits: 64 take twice as many registers.
  auto small = [&](Num value) { return k.convert(value, k.i32()); };
  auto wide = [&](Num value) {
    // Nothing here is negative.
    return Num(k, arith::ExtUIOp::create(k.b, k.loc, k.i64(), value.value));
  };
  auto read = [&](Num base, Num index) { return k.load(k.i32(), base, index); };
  Num grid = small(k.grid()), zero = small(k.integer(0));
  // The block's next tile, counted from the expert's first; stages so far.
  Nums ends = k.loop(
      k.integer(0), at32(k, offsetsActiveCount[2], k.integer(0)), 1,
      {small(k.block()), zero}, [&](Num a, ArrayRef<Num> carried) -> Nums {
        Num expert = wide(read(offsetsActiveCount[1], a));
        Num begin = read(offsetsActiveCount[0], expert);
        Num count = read(offsetsActiveCount[0], expert + 1) - begin;
        Num most = zero.like(hasOneForm() ? 0 : mostSome);
        Num isMany = most < count;
        Num down = k.ceilDiv(count, many.slots);
        if (!hasFormOfTile())
          down = k.select(isMany, down, k.min(count, zero.like(1)));
        auto across = [&](const HopperForm &form) {
          return zero.like((matrix.rows + form.rows - 1) / form.rows);
        };
        Num tiles = down * k.select(isMany, across(many), across(some));
        auto loop = scf::ForOp::create(
            k.b, k.loc, carried[0].value, tiles.value, grid.value,
            ValueRange{carried[0].value, carried[1].value});
        OpBuilder::InsertionGuard guard(k.b);
        k.b.setInsertionPointToStart(loop.getBody());
        Num tile = {k, loop.getInductionVar()};
        Num n = {k, loop.getRegionIterArg(1)};
        Num beside = tile / down, above = tile - beside * down;
        Num first = above * many.slots;
        auto work = [&](const HopperForm &form, Num first) {
          return HopperWork{form,        expert,      wide(begin),
                            wide(count), wide(first), wide(beside * form.rows)};
        };
        Num firstOfSome = zero;
        if (hasFormOfTile()) {
          isMany = most < count - first;
          firstOfSome = first;
        }
        if (hasOneForm())
          body(work(many, first), n);
        else
          k.when(
              isMany, [&] { body(work(many, first), n); },
              [&] { body(work(some, firstOfSome), n); });
        Num filled = k.select(isMany, zero.like(stagesOf(many)),
                              zero.like(stagesOf(some)));
        scf::YieldOp::create(
            k.b, k.loc, ValueRange{(tile + grid).value, (n + filled).value});
        k.b.setInsertionPointAfter(loop);
        return {Num(k, loop.getResult(0)) - tiles, Num(k, loop.getResult(1))};
      });
  return ends[1];
}

/// Eight neighbouring threads bring a slot's row of a step, 16 bytes each.
/// Where rows are is kept in units of 16 bytes, negative where there is none,
/// so that few registers are alive. What of the last stage lies beyond the
/// depth is zeros.
void HopperTile::bring(const HopperWork &work, Num before, Num left,
                       RowOf rowOf) {
  constexpr int64_t kAtOnce = kGroupThreads / 8;
  // The same bytes of each row that the thread brings, but for whole rows.
  static_assert(kAtOnce % 8 == 0, "rows differ in what the swizzle leaves");
  const HopperForm &form = work.form;
  Num chunk = thread % 8, zero = k.integer(0);
  Num place =
      thread / 8 * kRowBytes + k.exclusiveOr(chunk, thread / 8 % 8) * 16;
  int64_t unitsApart = matrix.bytes ? matrix.bytes->bytes() / 16 : rowUnits();
  Nums units;
  for (int64_t i = 0; i < form.slots / kAtOnce; ++i) {
    Num slot = work.firstSlot + thread / 8 + i * kAtOnce;
    Num unit = k.choose(
        slot < work.count,
        [&] { return rowOf(work, slot) * unitsApart + chunk; },
        [&] { return k.integer(-(int64_t(1) << 30)); });
    units.push_back(k.convert(unit, k.i32()));
  }
  Codes codes;
  if (matrix.coded)
    codes = firstCodes(work);
  Num scale;
  if (matrix.bytes)
    scale = firstScale(work, rowOf);
  constexpr int64_t kStepUnits = kRowBytes / 16;
  int64_t stageUnits = form.steps * kStepUnits;
  k.loop(0, k.integer(stagesOf(form)), [&](Num filling) {
    Num n = before + k.convert(filling, k.i32()), stage = stageOf(n);
    Num first = filling * stageUnits;
    waitForEmpty(n);
    auto announce = [&] {
      moegpu::MBarrierExpectOp::create(k.b, k.loc, full(stage).value,
                                       form.steps * form.rows * kRowBytes);
      for (int64_t step = 0; step < form.steps; ++step)
        for (int64_t box = 0; box < form.rows; box += kBoxRows)
          moegpu::TensorLoadOp::create(
              k.b, k.loc, matrix.values.value,
              k.convert(work.expert, k.i32()).value,
              k.convert(work.firstRow + box, k.i32()).value,
              k.convert((first + step * kStepUnits) * 8, k.i32()).value,
              inStage(stage,
                      step * form.stepBytes() + (form.slots + box) * kRowBytes)
                  .value,
              full(stage).value);
    };
    if (!matrix.coded)
      k.when(thread == zero, announce);
    // Only the last stage may be a part of one.
    bool isWhole = rowUnits() % stageUnits == 0;
    Num to = k.at(k.b.getI8Type(), inStage(stage, 0), place);
    Num further = k.convert(first, k.i32());
    for (int64_t step = 0; step < form.steps; ++step) {
      if (matrix.coded)
        bringCodes(form, codes, filling, step, stage);
      Num inside = first + step * kStepUnits + chunk < k.integer(rowUnits());
      for (int64_t i = 0; i < form.slots / kAtOnce; ++i) {
        Num unit = units[i] + further + step * kStepUnits;
        Num isThere = unit.like(-1) < unit;
        if (!isWhole)
          isThere = isThere & inside;
        Num from = k.convert(k.max(unit, unit.like(0)), k.i64()) * 16;
        moegpu::AsyncCopyOp::create(
            k.b, k.loc,
            k.at(k.b.getI8Type(), to,
                 k.integer(step * form.stepBytes() + i * kAtOnce * kRowBytes))
                .value,
            k.at(k.b.getI8Type(), left, from).value,
            k.select(isThere, unit.like(16), unit.like(0)).value, 16);
      }
    }
    if (matrix.bytes)
      bringScales(form, left, scale, filling, stage);
    moegpu::MBarrierArriveCopiesOp::create(k.b, k.loc, full(stage).value);
  });
}

/// A stage is empty once the product after it has been started and its own is
/// done, so that the tensor core always has one to go on with.
Num HopperTile::multiply(const HopperForm &form, Num before) {
  moegpu::MmaKind kind = matrix.element == Element::BF16 ? moegpu::MmaKind::BF16
                                                         : moegpu::MmaKind::F16;
  Num first = k.lane() == k.integer(0);
  Num sums = k.zeros(k.vector(form.columns() / 2, k.f32()));
  sums = k.fold(
      k.integer(0), k.integer(stagesOf(form)), sums,
      [&](Num filling, Num carried) {
        Num n = before + k.convert(filling, k.i32()), stage = stageOf(n);
        waitFor(full(stage), parityOf(n));
        // Rows were copied by threads.
        moegpu::ProxyFenceOp::create(k.b, k.loc);
        moegpu::WgmmaFenceOp::create(k.b, k.loc);
        for (int64_t step = 0; step < form.steps; ++step) {
          int64_t at = step * form.stepBytes();
          Num left = inStage(stage, at);
          Num right = inStage(stage, at + form.slots * kRowBytes);
          if (form.slotsAreColumns)
            std::swap(left, right);
          Num ours = k.at(k.b.getI8Type(), left, groupRow() * kRowBytes);
          carried = {k,
                     moegpu::WgmmaOp::create(k.b, k.loc, ours.value,
                                             right.value, carried.value, kind)};
        }
        moegpu::WgmmaCommitOp::create(k.b, k.loc);
        moegpu::WgmmaWaitOp::create(k.b, k.loc, 1);
        k.when(first & (k.integer(0) < filling), [&] { release(n - 1); });
        return carried;
      });
  sums = {k, moegpu::WgmmaFinishOp::create(k.b, k.loc, sums.value.getType(),
                                           sums.value)};
  k.when(first, [&] { release(before + (stagesOf(form) - 1)); });
  return sums;
}

/// No row of the tile is the warpgroup's.
void HopperTile::skip(const HopperForm &form, Num before) {
  k.loop(0, k.integer(stagesOf(form)), [&](Num filling) {
    Num n = before + k.convert(filling, k.i32());
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
  bool needsMore = spare || matrix.bytes;
  makeBarriers();
  k.when(
      group == k.integer(0),
      [&] {
        moegpu::MaxRegistersOp::create(
            k.b, k.loc, needsMore ? kBringRegistersLess : kBringRegisters,
            /*increase=*/false);
        Num n =
            forTiles(offsetsActiveCount, [&](const HopperWork &work, Num n) {
              bring(work, n, left, rowOf);
            });
        // Nothing may be on its way when threads end.
        for (int64_t i = 0; i < stages(); ++i)
          waitForEmpty(n + i);
      },
      [&] {
        moegpu::MaxRegistersOp::create(
            k.b, k.loc, needsMore ? kMultiplyRegistersMore : kMultiplyRegisters,
            /*increase=*/true);
        forTiles(offsetsActiveCount, [&](const HopperWork &work, Num n) {
          if (matrix.bytes)
            return put(work, multiplyBytes(work, n));
          if (matrix.coded)
            return put(work, multiplyCodes(work, n));
          if (work.form.slotsAreColumns)
            return put(work, multiply(work.form, n));
          k.when(
              work.firstSlot + groupRow() < work.count,
              [&] { put(work, multiply(work.form, n)); },
              [&] { skip(work.form, n); });
        });
      });
}
