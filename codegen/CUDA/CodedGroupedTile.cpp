// Many tokens, quantised weights: codes travel to shared memory and become
// fragments in registers.
#include "codegen/CUDA/CodedFragments.h"
#include "codegen/CUDA/GroupedTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using Nums = KernelBuilder::Nums;

namespace {
/// Fragments of 16 rows of the matrix are those of two tiles of 8 columns:
/// registers 0 and 2, and 1 and 3.
class CodedTile : public GroupedTile {
public:
  CodedTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : GroupedTile(k, matrix), format(*matrix.coded), fragments(k, matrix),
        piecesPerStep(stepDepth() / format.pieceDepth()) {
    kind = matrix.element == Element::F16 ? moegpu::MmaKind::F16
                                          : moegpu::MmaKind::BF16;
  }

private:
  static constexpr int64_t kOwn = kWide / 2; ///< tiles of a warp

  // A lane reads 16 bytes of a row, four lanes next to each other; two rows
  // must not share banks.
  Num place(Num stage, Num row, Num chunk) override {
    return inStage(stage,
                   row * kRowBytes + k.exclusiveOr(chunk, row % 2 * 4) * 16);
  }

  void startColumns() override {}

  // 16 bytes of a lane of a piece of a tile for each thread.
  void copyColumns(Num step, Num stage) override {
    for (int64_t i = 0; i < piecesPerStep; ++i) {
      Num item = thread + k.integer(i * kLayerThreads);
      Num number = item / 32 / piecesPerStep;
      Num within = item / 32 % piecesPerStep;
      Num piece = step * piecesPerStep + within;
      Num valid = piece < k.integer(format.pieces(matrix.codedDepth));
      Num at =
          k.select(valid, fragments.codes(tileAt(number), piece, item % 32),
                   k.integer(0));
      Num bytes = k.select(valid, k.integer(16), k.integer(0));
      moegpu::AsyncCopyOp::create(k.b, k.loc, code(stage, item).value,
                                  k.at(k.i32(), matrix.values, at).value,
                                  k.convert(bytes, k.i32()).value, 16);
    }
  }
  Num code(Num stage, Num item) {
    return inStage(stage, item * 16 + kRows * kRowBytes);
  }

  int64_t parts() const { return stepDepth() / fragments.scaledDepth(); }

  /// Scales of 4 columns and zeros of 2 for each tile of the warp and each part
  /// of the step that has its own.
  Nums readAhead(Num step) override {
    Nums read;
    // A step may end beyond the last block.
    Num last =
        k.integer(format.pieces(matrix.codedDepth) * format.pieceDepth() -
                  fragments.scaledDepth());
    for (int64_t part = 0; part < parts(); ++part)
      for (int64_t j = 0; j < kOwn; ++j) {
        Num tile = tileAt(firstColumn() / 16 + j);
        Num depth =
            k.min(step * stepDepth() + part * fragments.scaledDepth(), last);
        read.push_back(fragments.readScales(tile, depth, lane % 4 * 4, 4));
        if (format.hasZeros)
          read.push_back(fragments.readZeros(tile, depth, lane / 4));
      }
    return read;
  }

  /// Registers of 32 of the depth of rows `first` + lane / 4 and 8 below, as
  /// the codes have the depth: two fragments.
  Nums loadRows(Num stage, Num first, int64_t half) {
    Nums rows;
    for (int64_t below : {0, 8})
      rows.push_back(
          k.load(k.vector(4, k.i32()),
                 place(stage, first + lane / 4 + below, lane % 4 + half * 4),
                 k.integer(0)));
    Nums made;
    for (int64_t i : {0, 2}) {
      auto part = [&](int64_t row, int64_t j) {
        return k.extract(rows[row], i + j);
      };
      made.push_back(k.pack({part(0, 0), part(1, 0), part(0, 1), part(1, 1)}));
    }
    return made;
  }

  Nums add(Num, Num stage, ArrayRef<Num> ahead, ArrayRef<Num> before) override {
    Nums sums(before.begin(), before.end());
    const Num *next = ahead.data();
    int64_t each = fragments.scaledDepth() / 16; // steps of the tensor core
    for (int64_t part = 0; part < parts(); ++part) {
      Nums scales[kOwn];
      CodedFragments::Offsets offsets[kOwn];
      for (int64_t j = 0; j < kOwn; ++j) {
        scales[j] = fragments.scales(*next++, 4);
        offsets[j] = fragments.offsets(format.hasZeros ? *next++ : Num());
      }
      Nums fresh(kTall * kWide, k.zeros(k.vector(4, k.f32())));
      for (int64_t step = part * each; step < (part + 1) * each; step += 2)
        addSteps(stage, step, offsets, fresh);
      for (int64_t i = 0; i < kTall; ++i)
        for (int64_t j = 0; j < kWide; ++j) {
          Nums scaled;
          for (int64_t e = 0; e < 4; ++e)
            scaled.push_back(k.fma(k.extract(fresh[i * kWide + j], e),
                                   scales[j / 2][e % 2 * 2 + j % 2],
                                   k.extract(sums[i * kWide + j], e)));
          sums[i * kWide + j] = k.pack(scaled);
        }
    }
    return sums;
  }

  /// Two steps of the tensor core, from `step` of the stage on.
  void addSteps(Num stage, int64_t step,
                const CodedFragments::Offsets (&offsets)[kOwn], Nums &fresh) {
    SmallVector<Nums> left;
    for (int64_t i = 0; i < kTall; ++i)
      left.push_back(loadRows(stage, firstRow() + i * 16, step / 2));
    int64_t piece = step / fragments.steps();
    for (int64_t j = 0; j < kOwn; ++j) {
      Num item = ((firstColumn() / 16 + j) * piecesPerStep + piece) * 32 + lane;
      Num codes = k.load(k.vector(4, k.i32()), code(stage, item), k.integer(0));
      for (int64_t s = 0; s < 2; ++s) {
        Nums four =
            fragments.fragment(codes, step % fragments.steps() + s, offsets[j]);
        for (int64_t half = 0; half < 2; ++half) {
          Num right = k.pack({four[half], four[half + 2]});
          for (int64_t i = 0; i < kTall; ++i) {
            Num &sum = fresh[i * kWide + j * 2 + half];
            sum = k.mma(left[i][s], right, sum, kind);
          }
        }
      }
    }
  }

  rt::CodedRows format;
  CodedFragments fragments;
  int64_t piecesPerStep;
  moegpu::MmaKind kind;
};
} // namespace

std::unique_ptr<GroupedTile>
moe::cuda::createCodedGroupedTile(CudaBuilder &k, const ExpertMatrix &matrix) {
  return std::make_unique<CodedTile>(k, matrix);
}
