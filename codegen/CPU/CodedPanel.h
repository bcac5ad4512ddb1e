#ifndef MOE_CODEGEN_CPU_CODEDPANEL_H
#define MOE_CODEGEN_CPU_CODEDPANEL_H

#include "codegen/CPU/KernelBuilder.h"

namespace moe {

/// What the bits of a quantised value mean.
enum class Coding { Int8, Int4, Fp4, Nf4, F8E4M3 };

/// A panel of quantised weights: `depth` rows of `isa.width()` values, then
/// scales (and zero points) of `width` numbers per `block` rows. Value q means
/// `(q - zero) * scale`.
///
/// Rows of 4-bit values hold column c in the low half of byte c, column
/// c + lanes in the high half. 8-bit integers are signed, with zero 0 unless
/// there are others; 4-bit ones count from 0, with zero 8. Zero points lie in
/// rows like values.
struct CodedPanel {
  Coding coding;
  int64_t block;     ///< rows that share scales, never more than the depth
  mlir::Type scales; ///< f32, bf16, f16 or f8E8M0FNU
  bool hasZeros;
  llvm::ArrayRef<float> table = {}; ///< the 16 numbers of a 4-bit float

  /// Rows that are multiplied from the coded panel, without unpacking it.
  static constexpr int64_t kDirectRows = 2;

  int64_t bits() const {
    return coding == Coding::Int8 || coding == Coding::F8E4M3 ? 8 : 4;
  }
  int64_t rowBytes(const Isa &isa) const { return isa.width() * bits() / 8; }
  int64_t scaleBytes(const Isa &isa) const;
  /// For names of kernels.
  std::string name() const;
  /// Whether blocks of a panel end where pieces of `rows` rows do, or the other
  /// way round.
  bool fits(int64_t rows, int64_t depth) const {
    return block >= depth || block % rows == 0 || rows % block == 0;
  }

  /// Where the parts of a panel lie; `zeros` only where there are some.
  struct Place {
    Num values, scales, zeros;
  };
  /// The panel's values of rows [first, first + count), as f32 at `to`. The
  /// rows lie in one block, or start with one.
  void widen(KernelBuilder &k, const Place &panel, Num first, Num count, Num to,
             int64_t piece) const;
  /// Emits a call: `out[r, c] = sum_k tile[k * rows + r] * panel[k, c]` over
  /// all of `depth`, for at most `kDirectRows` rows.
  void multiply(KernelBuilder &k, Num rows, int64_t depth, Num tile,
                const Place &panel, Num out) const;

private:
  /// Two vectors: the halves of a row.
  struct Halves {
    Num left, right;
  };
  /// Row `row` at `values`, in units of their own: times the `unit` of a half
  /// it is what the code says.
  Halves decode(KernelBuilder &k, Num values, Num row) const;
  /// A row of bytes of two integers: the low half, and the whole byte.
  Halves decodeBytes(KernelBuilder &k, Num values, Num row, Num mask) const;
  /// Twice the numbers of two rows of `fp4`, for eight lanes.
  void decodePair(KernelBuilder &k, Num values, Num row, Halves &first,
                  Halves &second) const;
  /// Splats of the sums of each of `rows` rows over `count` steps of a tile.
  llvm::SmallVector<Num> sumsOf(KernelBuilder &k, int64_t rows, Num from,
                                Num count) const;
  /// Scales of block `block`, with the units of the halves in them.
  Halves scalesOf(KernelBuilder &k, const Place &panel, Num block) const;
  Halves zerosOf(KernelBuilder &k, const Place &panel, Num block) const;
  void emit(KernelBuilder &k, int64_t rows, int64_t depth, Num tile,
            const Place &panel, Num out) const;
};

} // namespace moe

#endif // MOE_CODEGEN_CPU_CODEDPANEL_H
