// fp8 weights times rows that were rounded to fp8 on sm_90a: codes of the
// matrix are the rows that wgmma takes from registers, as they lie in memory.
#include "codegen/CUDA/CodedFragments.h"
#include "codegen/CUDA/HopperTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

static int64_t scalesAt(const HopperForm &form) {
  return form.steps * form.stepBytes();
}
/// Scales of a stage: of a block of all slots, then of the next.
static constexpr int64_t kScales = HopperShape::kSlots;

Num HopperTile::firstScale(const HopperWork &work, RowOf rowOf) {
  const ByteRows &rows = *matrix.bytes;
  Num slot = work.firstSlot + thread;
  Num isThere = slot < work.count;
  if (work.form.slots < kGroupThreads)
    isThere = isThere & (thread < k.integer(work.form.slots));
  Num unit = k.choose(
      isThere,
      [&] {
        return rowOf(work, slot) * (rows.bytes() / 16) + rows.codes() / 16;
      },
      [&] { return k.integer(-1); });
  return k.convert(unit, k.i32());
}

/// Those that are not there are zeros: NaN would make NaN of sums of nothing.
void HopperTile::bringScales(const HopperForm &form, Num left, Num unit,
                             Num filling, Num stage) {
  const ByteRows &rows = *matrix.bytes;
  static_assert(kScales == kGroupThreads, "each thread brings a slot's");
  static_assert(kScales * 2 * 4 == HopperForm::kScaleBytes,
                "blocks have 64 numbers or 128");
  for (int64_t i = 0; i < form.slotScales; ++i) {
    Num block = filling * form.slotScales + i;
    Num isThere = unit.like(-1) < unit;
    if (rows.blocks() % form.slotScales)
      isThere = isThere & (block < k.integer(rows.blocks()));
    Num from = k.convert(k.max(unit, unit.like(0)), k.i64()) * 16 +
               k.select(isThere, block, k.integer(0)) * 4;
    moegpu::AsyncCopyOp::create(
        k.b, k.loc,
        k.at(k.f32(), inStage(stage, scalesAt(form) + i * kScales * 4), thread)
            .value,
        k.at(k.b.getI8Type(), left, from).value,
        k.select(isThere, unit.like(4), unit.like(0)).value, 4);
  }
}

/// Where a scale changes, and at the end of a stage, sums begin anew: the
/// tensor core keeps 14 bits of them. They are added in f32, times the scale of
/// the row, for each block of the slots, and these sums, times that of the
/// slot, to all. While a warpgroup does so the tensor core works for the other.
Num HopperTile::multiplyBytes(const HopperWork &work, Num before) {
  const rt::CodedRows &format = *matrix.coded;
  const HopperForm &form = work.form;
  CodedFragments fragments(k, matrix);
  int64_t depthOfPart = matrix.byteDepth();
  int64_t parts = stepDepth() / depthOfPart;
  int64_t pieces = depthOfPart / format.pieceDepth(); // of a part
  int64_t partsOfBlock = matrix.bytes->block / depthOfPart;
  Num lane = k.lane(), isFirst = lane == k.integer(0), pair = lane % 4 * 2;
  Num tile = tileAt(work, ownTile()), zero = k.integer(0);
  Num last = k.integer(stagesOf(form) - 1);

  // Scales of the rows for a part of a stage, read one part ahead. The last
  // stage may end beyond the last block.
  auto readScales = [&](Num filling, int64_t part) {
    int64_t end = format.pieces(matrix.codedDepth) * format.pieceDepth();
    Num depth = filling * stepDepth() + part * depthOfPart;
    return fragments.readScales(tile, k.min(depth, k.integer(end - 1)),
                                lane / 4 * 2, 2);
  };
  // Those of the columns that a thread has sums of.
  auto slotScales = [&](Num stage, int64_t block) {
    Num from = inStage(stage, scalesAt(form) + block * kScales * 4);
    Nums made;
    for (int64_t eight = 0; eight < form.columns() / 8; ++eight)
      made.push_back(k.load(k.vector(2, k.f32()), from, pair + eight * 8));
    return made;
  };
  auto rowsOf = [&](Num stage, int64_t part) {
    Nums made;
    for (int64_t i = 0; i < pieces; ++i) {
      Num words = k.load(k.vector(4, k.i32()),
                         codesAt(form, stage, 0, part * pieces + i), zero);
      for (int64_t r = 0; r < 4; ++r)
        made.push_back(k.extract(words, r));
    }
    return k.pack(made);
  };
  int64_t count = form.columns() / 2;
  Type type = k.vector(count, k.f32());
  Nums ends = k.loop(
      zero, last + 1, 1, {k.zeros(type), readScales(zero, 0)},
      [&](Num filling, ArrayRef<Num> carried) -> Nums {
        Num n = before + k.convert(filling, k.i32()), stage = stageOf(n);
        Num sums = carried[0], ahead = carried[1], ofBlock;
        waitFor(full(stage), parityOf(n));
        // Slots were copied by threads.
        moegpu::ProxyFenceOp::create(k.b, k.loc);
        for (int64_t part = 0; part < parts; ++part) {
          Num rows = rowsOf(stage, part);
          // Orders registers of rows, too.
          moegpu::WgmmaFenceOp::create(k.b, k.loc);
          Num fresh = {k, moegpu::WgmmaRegistersOp::create(
                              k.b, k.loc, type, rows.value,
                              inStage(stage, 0).value, k.zeros(type).value,
                              static_cast<uint32_t>(part * pieces),
                              moegpu::MmaKind::E4M3)};
          moegpu::WgmmaCommitOp::create(k.b, k.loc);
          bool isFirstOfBlock = part % partsOfBlock == 0,
               isLast = part + 1 == parts;
          // The warp is together behind the product: all have read then.
          Nums ofSlots, ofRows = fragments.scales(ahead, 2);
          if ((part + 1) % partsOfBlock == 0)
            ofSlots = slotScales(stage, part / partsOfBlock);
          ahead = isLast ? readScales(k.min(filling + 1, last), 0)
                         : readScales(filling, part + 1);
          fresh = {
              k, moegpu::WgmmaFinishOp::create(k.b, k.loc, type, fresh.value)};
          if (isLast)
            k.when(isFirst, [&] { release(n); });
          Nums made, all;
          for (int64_t i = 0; i < count; ++i) {
            Num sum = k.extract(fresh, i), scale = ofRows[i / 2 % 2];
            made.push_back(isFirstOfBlock
                               ? sum * scale
                               : k.fma(sum, scale, k.extract(ofBlock, i)));
            if (!ofSlots.empty())
              all.push_back(k.fma(made[i], k.extract(ofSlots[i / 4], i % 2),
                                  k.extract(sums, i)));
          }
          ofBlock = k.pack(made);
          if (!ofSlots.empty())
            sums = k.pack(all);
        }
        return {sums, ahead};
      });
  return ends[0];
}
