// Quantised weights on sm_90a: codes travel to shared memory, and become the
// rows that wgmma takes from registers.
#include "codegen/CUDA/CodedFragments.h"
#include "codegen/CUDA/HopperTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

namespace {
/// Columns lie in shared memory in their own order, which wgmma reads as it is;
/// codes have the depth of 32 numbers in another (runtime/Device/CodedRows.h):
/// the lane t of four has pairs of numbers 4 t to 4 t + 3, and needs t, t + 4,
/// t
/// + 8 and t + 12. So the four lanes transpose what they have.
class Transposition {
public:
  explicit Transposition(CudaBuilder &k)
      : k(k), lane(k.lane()), isHigh(k.integer(1) < lane % 4),
        isOdd(lane % 2 == k.integer(1)) {}

  /// Of a piece of bytes: a pair of two rows is a word.
  Nums ofWords(ArrayRef<Num> words) {
    Nums made(4);
    for (int64_t i = 0; i < 2; ++i)
      swap(words[i], words[i + 2], 2, isHigh, made[i], made[i + 2]);
    Nums result(4);
    for (int64_t i = 0; i < 4; i += 2)
      swap(made[i], made[i + 1], 1, isOdd, result[i], result[i + 1]);
    return result;
  }

  /// Of two words of a piece of halves of bytes: a pair of two rows is bytes 0
  /// and 2 of a word, or 1 and 3.
  Nums ofHalves(Num first, Num second) {
    Num low, high;
    swap(first, second, 2, isHigh, low, high);
    auto choose = [&](uint32_t even, uint32_t odd) {
      return k.select(isOdd, k.word(odd), k.word(even));
    };
    Num other = given(k.permuteBytes(low, high, choose(0x7531, 0x6420)), 1);
    return {k.permuteBytes(low, other, choose(0x5240, 0x3514)),
            k.permuteBytes(high, other, choose(0x7260, 0x3716))};
  }

private:
  Num given(Num word, int64_t distance) {
    Num other = k.convert(k.exclusiveOr(lane, lane.like(distance)), k.i32());
    return k.shuffle(word, other, moegpu::ShuffleKind::Idx);
  }
  /// Gives what the other lane needs: the second of what this one has, or,
  /// where `isLater`, the first. What comes takes its place.
  void swap(Num first, Num second, int64_t distance, Num isLater, Num &low,
            Num &high) {
    Num other = given(k.select(isLater, first, second), distance);
    low = k.select(isLater, other, first);
    high = k.select(isLater, second, other);
  }

  CudaBuilder &k;
  Num lane, isHigh, isOdd;
};

/// Rows in registers, of a step of a stage from 16 numbers `from` on.
struct Rows {
  Num registers;
  int64_t step, from;
};
} // namespace

Num HopperTile::tileAt(const HopperWork &work, Num number) {
  return work.expert * matrix.tiles() +
         k.min(work.firstRow / 16 + number, k.integer(matrix.tiles() - 1));
}

/// 16 bytes of a lane of a piece of a tile for each thread, once for 128
/// threads: all threads of a warp have the same of a step's pieces, each time,
/// so their places follow from the first. So few registers are alive.
HopperTile::Codes HopperTile::firstCodes(const HopperWork &work) {
  const rt::CodedRows &format = *matrix.coded;
  CodedFragments fragments(k, matrix);
  Num pieces = k.integer(stepDepth() / format.pieceDepth());
  Num first = work.firstRow / 16 + thread / 32 / pieces;
  Num last = k.integer(matrix.tiles() - 1), own = k.min(first, last);
  Num word = fragments.codes(work.expert * matrix.tiles() + own,
                             thread / 32 % pieces, thread % 32);
  return {k.convert(word / 4, k.i32()), k.convert(last - own, k.i32())};
}

/// Those of pieces behind the last are zeros.
void HopperTile::bringCodes(const HopperForm &form, const Codes &codes,
                            Num filling, int64_t step, Num stage) {
  const rt::CodedRows &format = *matrix.coded;
  int64_t pieces = stepDepth() / format.pieceDepth();
  int64_t allPieces = format.pieces(matrix.codedDepth);
  Num before = k.convert((filling * form.steps + step) * pieces, k.i32());
  Num own = k.convert(thread / 32 % pieces, k.i32());
  Num isThere = before + own < before.like(allPieces);
  Num bytes = k.select(isThere, before.like(16), before.like(0));
  Num to =
      k.at(k.b.getI8Type(),
           inStage(stage, step * form.stepBytes() + form.slots * kRowBytes),
           thread * 16);
  Num unit = codes.unit + before * 32;
  for (int64_t i = 0; i < form.rows * form.matrixBytes / 16 / kGroupThreads;
       ++i) {
    // Beyond the last tile: the last; nobody looks at the sums.
    Num tile =
        k.min(before.like(i * (kGroupThreads / 32) / pieces), codes.behind);
    Num from =
        k.select(isThere, unit + tile * (allPieces * 32), before.like(0));
    moegpu::AsyncCopyOp::create(
        k.b, k.loc,
        k.at(k.b.getI8Type(), to, k.integer(i * kGroupThreads * 16)).value,
        k.at(k.b.getI8Type(), matrix.values, k.convert(from, k.i64()) * 16)
            .value,
        bytes.value, 16);
  }
}

Num HopperTile::codesAt(const HopperForm &form, Num stage, int64_t step,
                        int64_t piece) {
  int64_t pieces = stepDepth() / matrix.coded->pieceDepth();
  return k.at(k.b.getI8Type(),
              inStage(stage, step * form.stepBytes() + form.slots * kRowBytes),
              ((ownTile() * pieces + piece) * 32 + k.lane()) * 16);
}

/// Sums of numbers with one scale are made by themselves, from zero, and
/// multiplied by it where they are added. While a warpgroup makes rows of codes
/// the tensor core works for the other.
Num HopperTile::multiplyCodes(const HopperWork &work, Num before) {
  const rt::CodedRows &format = *matrix.coded;
  const HopperForm &form = work.form;
  CodedFragments fragments(k, matrix);
  Transposition transposition(k);
  moegpu::MmaKind kind = matrix.element == Element::BF16 ? moegpu::MmaKind::BF16
                                                         : moegpu::MmaKind::F16;
  int64_t depthOfStep = stepDepth(), stageDepth = form.steps * depthOfStep;
  int64_t depthOfPart = stageDepth;
  while (format.block % depthOfPart)
    depthOfPart /= 2;
  int64_t parts = stageDepth / depthOfPart;
  int64_t pieces = depthOfStep / format.pieceDepth();
  Num lane = k.lane(), isFirst = lane == k.integer(0);
  Num tile = tileAt(work, ownTile()), zero = k.integer(0);
  Num last = k.integer(stagesOf(form) - 1);

  // Scales and zeros of a stage's parts, one stage ahead.
  auto read = [&](Num filling) {
    Nums made;
    for (int64_t part = 0; part < parts; ++part) {
      Num depth = k.min(
          filling * stageDepth + part * depthOfPart,
          k.integer(format.pieces(matrix.codedDepth) * format.pieceDepth() -
                    1));
      made.push_back(fragments.readScales(tile, depth, lane / 4 * 2, 2));
      if (format.hasZeros)
        made.push_back(fragments.readZeros(tile, depth, lane / 4));
    }
    return made;
  };
  // A lane's codes of a step, in the order of wgmma.
  auto codesOf = [&](Num stage, int64_t step) {
    Nums made;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      Num words =
          k.load(k.vector(4, k.i32()), codesAt(form, stage, step, piece), zero);
      Nums four;
      for (int64_t i = 0; i < 4; ++i)
        four.push_back(k.extract(words, i));
      if (format.isByte()) {
        made.push_back(k.pack(transposition.ofWords(four)));
        continue;
      }
      Nums sorted = transposition.ofHalves(four[0], four[1]);
      sorted.append(transposition.ofHalves(four[2], four[3]));
      made.push_back(k.pack(sorted));
    }
    return made;
  };
  int64_t count = form.columns() / 2;
  Type type = k.vector(count, k.f32());
  Nums carried = {k.zeros(type)};
  carried.append(read(zero));
  Nums ends = k.loop(
      zero, last + 1, 1, carried,
      [&](Num filling, ArrayRef<Num> carried) -> Nums {
        Num n = before + k.convert(filling, k.i32()), stage = stageOf(n);
        Nums next = {carried[0]};
        next.append(read(k.min(filling + 1, last)));
        const Num *ahead = carried.data() + 1;
        waitFor(full(stage), parityOf(n));
        // Slots were copied by threads.
        moegpu::ProxyFenceOp::create(k.b, k.loc);
        Nums codes;
        for (int64_t part = 0; part < parts; ++part) {
          Nums scales = fragments.scales(*ahead++, 2);
          auto offsets = fragments.offsets(format.hasZeros ? *ahead++ : Num());
          SmallVector<Rows> all;
          int64_t first = part * depthOfPart, end = first + depthOfPart;
          for (int64_t depth = first; depth < end;) {
            int64_t step = depth / depthOfStep;
            if (depth % depthOfStep == 0)
              codes = codesOf(stage, step);
            int64_t from = depth % depthOfStep / 16, each = fragments.steps();
            Nums rows;
            for (int64_t i = from; i < 4 && depth < end; ++i, depth += 16)
              rows.append(
                  fragments.fragment(codes[i / each], i % each, offsets));
            all.push_back({k.pack(rows), step, from});
          }
          Num fresh = k.zeros(type);
          // Orders registers of rows, too.
          moegpu::WgmmaFenceOp::create(k.b, k.loc);
          for (const Rows &rows : all) {
            Num right = inStage(stage, rows.step * form.stepBytes());
            fresh = {k,
                     moegpu::WgmmaRegistersOp::create(
                         k.b, k.loc, type, rows.registers.value, right.value,
                         fresh.value, static_cast<uint32_t>(rows.from), kind)};
          }
          moegpu::WgmmaCommitOp::create(k.b, k.loc);
          fresh = {
              k, moegpu::WgmmaFinishOp::create(k.b, k.loc, type, fresh.value)};
          Nums sums;
          for (int64_t i = 0; i < count; ++i)
            sums.push_back(k.fma(k.extract(fresh, i), scales[i / 2 % 2],
                                 k.extract(next[0], i)));
          next[0] = k.pack(sums);
        }
        k.when(isFirst, [&] { release(n); });
        return next;
      });
  return ends[0];
}
