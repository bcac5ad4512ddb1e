// Many tokens, fp8 weights times rows that were rounded to fp8.
#include "codegen/CUDA/CodedFragments.h"
#include "codegen/CUDA/GroupedTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

namespace {
/// A stage has 128 numbers of each row, which are four steps of the tensor
/// core: the rows, the codes of 8 tiles of 16 rows of the matrix, and the
/// scales of the rows. Where a scale changes, and at the end of the stage, sums
/// are multiplied by both scales and added in f32: the tensor core keeps 14
/// bits.
class ByteTile : public GroupedTile {
public:
  ByteTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : GroupedTile(k, matrix), fragments(k, matrix), rows(*matrix.bytes),
        rowScales(kRowBytes / rows.block), scaledDepth(matrix.byteDepth()) {}

private:
  static constexpr int64_t kOwn = kWide / 2; ///< tiles of a warp
  static constexpr int64_t kSteps = kRowBytes / 32;
  static constexpr int64_t kCodes = kRows * kRowBytes;
  static constexpr int64_t kScales = kCodes + kColumns * kRowBytes;

  void copy(Num to, Type type, Num from, Num at, Num valid, int64_t size) {
    Num zero = k.integer(0), bytes = k.select(valid, k.integer(size), zero);
    moegpu::AsyncCopyOp::create(
        k.b, k.loc, to.value, k.at(type, from, k.select(valid, at, zero)).value,
        k.convert(bytes, k.i32()).value, static_cast<int32_t>(size));
  }

  void copyLeft(Num left, Num row, Num step, Num stage, Num to) override {
    Num chunk = thread % 8, isThere = k.integer(-1) < row;
    Num at = step * kRowBytes + chunk * 16;
    copy(place(stage, to, chunk), k.b.getI8Type(), left,
         row * rows.bytes() + at, isThere & (at < k.integer(rows.codes())), 16);
    k.when(chunk < k.integer(rowScales), [&] {
      Num block = step * rowScales + chunk;
      copy(rowScale(stage, to, chunk), k.f32(), left,
           row * (rows.bytes() / 4) + rows.codes() / 4 + block,
           isThere & (block < k.integer(rows.blocks())), 4);
    });
  }
  Num rowScale(Num stage, Num row, Num block) {
    return inStage(stage, (row * rowScales + block) * 4 + kScales);
  }

  void startColumns() override {}

  void copyColumns(Num step, Num stage) override {
    for (int64_t i = 0; i < kSteps; ++i) {
      Num item = thread + k.integer(i * kLayerThreads);
      Num piece = step * kSteps + item / 32 % kSteps;
      copy(code(stage, item), k.i32(), matrix.values,
           fragments.codes(tileAt(item / 32 / kSteps), piece, item % 32),
           piece < k.integer(matrix.coded->pieces(matrix.codedDepth)), 16);
    }
  }
  Num code(Num stage, Num item) { return inStage(stage, item * 16 + kCodes); }

  int64_t parts() const { return kRowBytes / scaledDepth; }

  Nums readAhead(Num step) override {
    Nums read;
    // A step may end beyond the last block.
    Num last = k.integer(matrix.coded->pieces(matrix.codedDepth) * 32 - 32);
    for (int64_t part = 0; part < parts(); ++part)
      for (int64_t j = 0; j < kOwn; ++j)
        read.push_back(fragments.readScales(
            tileAt(firstColumn() / 16 + j),
            k.min(step * kRowBytes + part * scaledDepth, last), lane % 4 * 4,
            4));
    return read;
  }

  Nums add(Num number, Num stage, ArrayRef<Num> ahead,
           ArrayRef<Num> before) override {
    Nums sums(before.begin(), before.end());
    int64_t each = scaledDepth / 32; // steps of the tensor core
    Num pieces = k.integer(matrix.coded->pieces(matrix.codedDepth));
    for (int64_t part = 0; part < parts(); ++part) {
      Nums fresh(kTall * kWide, k.zeros(k.vector(4, k.f32())));
      // A loop, of steps that are there: ptxas would read all of them ahead,
      // and not have the registers where it makes f16 numbers of bytes (sm_90).
      Num end = k.min(pieces - number * kSteps, k.integer((part + 1) * each));
      fresh = k.loop(k.integer(part * each), end, 1, fresh,
                     [&](Num step, ArrayRef<Num> before) {
                       Nums fresh(before.begin(), before.end());
                       addStep(stage, step, fresh);
                       return fresh;
                     });
      int64_t block = part * scaledDepth / rows.block;
      for (int64_t j = 0; j < kOwn; ++j)
        addScaled(stage, block, j, fragments.scales(ahead[part * kOwn + j], 4),
                  fresh, sums);
    }
    return sums;
  }

  /// The sums of columns of tile `j`, times the scales of these and of rows.
  void addScaled(Num stage, int64_t block, int64_t j, ArrayRef<Num> scales,
                 ArrayRef<Num> fresh, Nums &sums) {
    for (int64_t i = 0; i < kTall; ++i) {
      Num ofRow[2];
      for (int64_t below = 0; below < 2; ++below)
        ofRow[below] =
            k.load(k.f32(),
                   rowScale(stage, firstRow() + lane / 4 + (i * 16 + below * 8),
                            k.integer(block)),
                   k.integer(0));
      for (int64_t half = 0; half < 2; ++half) {
        int64_t at = i * kWide + j * 2 + half;
        Nums four;
        for (int64_t e = 0; e < 4; ++e)
          four.push_back(k.fma(k.extract(fresh[at], e) * ofRow[e / 2],
                               scales[e % 2 * 2 + half],
                               k.extract(sums[at], e)));
        sums[at] = k.pack(four);
      }
    }
  }

  /// A step of the tensor core. Fragments of rows are what `ldmatrix` takes for
  /// 8 x 8 matrices of 16-bit numbers: down first, then along the depth.
  void addStep(Num stage, Num step, Nums &fresh) {
    Nums left;
    for (int64_t i = 0; i < kTall; ++i)
      left.push_back({k, moegpu::LoadMatrixOp::create(
                             k.b, k.loc, k.vector(4, k.i32()),
                             place(stage, firstRow() + i * 16 + lane % 16,
                                   lane / 16 + step * 2)
                                 .value,
                             /*transposed=*/false)});
    for (int64_t j = 0; j < kOwn; ++j) {
      Num item = ((firstColumn() / 16 + j) * kSteps + step) * 32 + lane;
      Num codes = k.load(k.vector(4, k.i32()), code(stage, item), k.integer(0));
      for (int64_t half = 0; half < 2; ++half) {
        Num right =
            k.pack({k.extract(codes, half), k.extract(codes, half + 2)});
        for (int64_t i = 0; i < kTall; ++i) {
          Num &sum = fresh[i * kWide + j * 2 + half];
          sum = k.mma(left[i], right, sum, moegpu::MmaKind::E4M3);
        }
      }
    }
  }

  CodedFragments fragments;
  ByteRows rows;
  int64_t rowScales, scaledDepth;
};
} // namespace

std::unique_ptr<GroupedTile>
moe::cuda::createByteGroupedTile(CudaBuilder &k, const ExpertMatrix &matrix) {
  return std::make_unique<ByteTile>(k, matrix);
}
