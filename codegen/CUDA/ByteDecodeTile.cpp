// Few tokens, fp8 weights times inputs that were rounded to fp8.
#include "codegen/CUDA/CodedFragments.h"
#include "codegen/CUDA/DecodeTile.h"

using namespace mlir;
using namespace moe;
using namespace moe::cuda;

namespace {
/// A piece of the codes is a step of the tensor core. Its sums are multiplied
/// by both scales, and added in f32: the tensor core would cut them.
class ByteTile : public DecodeTile {
public:
  ByteTile(CudaBuilder &k, const ExpertMatrix &matrix)
      : DecodeTile(k, matrix), fragments(k, matrix), rows(*matrix.bytes) {}

private:
  static constexpr int64_t kDepth = 32;

  int64_t steps() const override {
    return matrix.coded->pieces(matrix.codedDepth);
  }

  Nums begin() override {
    // Sums are of two columns, whose scales they need.
    for (int64_t i = 0; i < 2; ++i) {
      Num of = k.convert(lane % 4 * 8 + i * 4, k.i32());
      Num row =
          k.shuffle(k.convert(column, k.i32()), of, moegpu::ShuffleKind::Idx);
      scaled[i] =
          k.convert(row, k.i64()) * (rows.bytes() / 4) + rows.codes() / 4;
    }
    return DecodeTile::begin();
  }

  Nums read(Num piece) override {
    Num depth = piece * kDepth;
    Num word = column * (rows.bytes() / 4) + piece * (kDepth / 4) + lane % 4;
    return {k.load(k.vector(4, k.i32()), matrix.values,
                   fragments.codes(tile, piece, lane),
                   moegpu::Caching::Streaming),
            k.pack({k.load(k.i32(), columns, word),
                    k.load(k.i32(), columns, word + 4)}),
            fragments.readScales(tile, depth, lane / 4 * 2, 2),
            k.load(k.f32(), columns, scaled[0] + depth / rows.block),
            k.load(k.f32(), columns, scaled[1] + depth / rows.block)};
  }

  Nums add(Num, ArrayRef<Num> read, ArrayRef<Num> before) override {
    Num fresh = k.mma(read[0], read[1], k.zeros(k.vector(4, k.f32())),
                      moegpu::MmaKind::E4M3);
    Nums scales = fragments.scales(read[2], 2), sums;
    for (int64_t i = 0; i < 4; ++i)
      sums.push_back(k.fma(k.extract(fresh, i) * read[3 + i % 2], scales[i / 2],
                           k.extract(before[0], i)));
    return {k.pack(sums)};
  }

  CodedFragments fragments;
  ByteRows rows;
  Num scaled[2]; ///< where the scales of two columns begin
};
} // namespace

std::unique_ptr<DecodeTile>
moe::cuda::createByteTile(CudaBuilder &k, const ExpertMatrix &matrix) {
  return std::make_unique<ByteTile>(k, matrix);
}
