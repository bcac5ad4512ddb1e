#ifndef MOE_CODEGEN_CUDA_CODEDFRAGMENTS_H
#define MOE_CODEGEN_CUDA_CODEDFRAGMENTS_H

#include "codegen/CUDA/KernelParts.h"

namespace moe::cuda {
/// Makes fragments of the tensor core of codes (runtime/Device/CodedRows.h), in
/// registers. The numbers are exact, but those of nf4, which are rounded to 16
/// bits; scales are for the sums.
class CodedFragments {
public:
  using Nums = KernelBuilder::Nums;

  CodedFragments(CudaBuilder &k, const ExpertMatrix &matrix);

  /// Steps of the tensor core in a piece, and depth after which the scale may
  /// change.
  int64_t steps() const { return format.pieceDepth() / 16; }
  int64_t scaledDepth() const;

  /// Number of the first of the codes of a lane, in words.
  Num codes(Num tile, Num piece, Num lane) const {
    return ((tile * pieces + piece) * 32 + lane) * 4;
  }
  /// Scales (or zeros) of `count` rows in a block, from place `first` of the 16
  /// on: as memory has them, and as f32.
  Num readScales(Num tile, Num depth, Num first, int64_t count) const;
  Nums scales(Num read, int64_t count) const;
  /// Zeros of rows g and g + 8, as `fragment` takes them off; none where the
  /// format has none.
  Num readZeros(Num tile, Num depth, Num group) const;
  struct Offsets {
    Num upper, lower;
  };
  Offsets offsets(Num read) const;

  /// Registers of step `step` of a lane's codes of a piece: rows g, g + 8, g, g
  /// + 8.
  Nums fragment(Num piece, int64_t step, const Offsets &offsets) const;

private:
  Num pair(uint32_t number) const { return k.word(number * 0x10001u); }
  Num scaled(Num pair, uint32_t factor) const;
  /// Two integers: `bits` counts from 0 (and is of 4 or 8 bits); the middle of
  /// the range is 0.
  Num integers(Num bits, Num offset) const;
  /// Two floats from bits 0 to 3 and 16 to 19, moved up by `by`.
  Num fp4(Num word, int64_t by) const;
  Nums nf4(Num word) const;
  /// Two E4M3 numbers from bits 0 to 7 and 16 to 23, moved up by `by`.
  Num fp8(Num word, int64_t by) const;
  Num scalePlace(Num tile, Num depth, Num first) const;

  CudaBuilder &k;
  const ExpertMatrix &matrix;
  rt::CodedRows format;
  moegpu::MmaKind kind;
  bool isF16;
  int64_t pieces, blocks;
};
} // namespace moe::cuda

#endif // MOE_CODEGEN_CUDA_CODEDFRAGMENTS_H
