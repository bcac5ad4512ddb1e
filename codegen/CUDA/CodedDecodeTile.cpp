// Few tokens, quantised weights: codes become fragments in registers.
#include "codegen/CUDA/CodedFragments.h"
#include "codegen/CUDA/DecodeTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
class CodedTile : public DecodeTile {
public:
  CodedTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : DecodeTile(k, matrix), fragments(k, matrix),
        pieceDepth(matrix.coded->pieceDepth()) {}

private:
  int64_t steps() const override {
    return matrix.coded->pieces(matrix.codedDepth);
  }
  int64_t parts() const { return pieceDepth / fragments.scaledDepth(); }

  /// The codes, 8 numbers of the column for every 32 of the depth, and scales
  /// and zeros of each part that has its own.
  Nums read(Num piece) override {
    Nums read = {k.load(k.vector(4, k.i32()), matrix.values,
                        fragments.codes(tile, piece, lane),
                        moegpu::Caching::Streaming)};
    bool isRagged = matrix.depth % pieceDepth != 0;
    if (matrix.coded->coding == rt::RowCoding::F8ByF8) {
      Nums words;
      for (int64_t step : {0, 1}) {
        Num four = readColumn(column, piece * 32 + lane % 4 * 4 + step * 16,
                              isRagged, 8);
        words.append({k.extract(four, 0), k.extract(four, 1)});
      }
      read.push_back(k.pack(words));
    } else {
      for (int64_t first = 0; first < pieceDepth; first += 32)
        read.push_back(readColumn(
            column, piece * pieceDepth + lane % 4 * 8 + first, isRagged));
    }
    for (int64_t part = 0; part < parts(); ++part) {
      Num depth = piece * pieceDepth + part * fragments.scaledDepth();
      read.push_back(fragments.readScales(tile, depth, lane / 4 * 2, 2));
      if (matrix.coded->hasZeros)
        read.push_back(fragments.readZeros(tile, depth, lane / 4));
    }
    return read;
  }

  Nums add(Num, ArrayRef<Num> read, ArrayRef<Num> before) override {
    auto kind = matrix.element == Element::F16 ? moegpu::MmaKind::F16
                                               : moegpu::MmaKind::BF16;
    const Num *next = read.data() + 1 + pieceDepth / 32;
    Nums sums;
    for (int64_t i = 0; i < 4; ++i)
      sums.push_back(k.extract(before[0], i));
    int64_t each = fragments.steps() / parts();
    for (int64_t part = 0; part < parts(); ++part) {
      Nums scales = fragments.scales(*next++, 2);
      auto offsets =
          fragments.offsets(matrix.coded->hasZeros ? *next++ : Num());
      Num fresh = k.zeros(k.vector(4, k.f32()));
      for (int64_t step = part * each; step < (part + 1) * each; ++step) {
        Num numbers = read[1 + step / 2];
        Num b = k.pack({k.extract(numbers, step % 2 * 2),
                        k.extract(numbers, step % 2 * 2 + 1)});
        Num a = k.pack(fragments.fragment(read[0], step, offsets));
        fresh = k.mma(a, b, fresh, kind);
      }
      for (int64_t i = 0; i < 4; ++i)
        sums[i] = k.fma(k.extract(fresh, i), scales[i / 2], sums[i]);
    }
    return {k.pack(sums)};
  }

  CodedFragments fragments;
  int64_t pieceDepth;
};
} // namespace

std::unique_ptr<DecodeTile>
moe::cuda::createCodedTile(CudaBuilder &k, const ExpertMatrix &matrix) {
  return std::make_unique<CodedTile>(k, matrix);
}
