// Rows of quantised weights as GPU kernels read them.
#ifndef MOE_RUNTIME_DEVICE_CODEDROWS_H
#define MOE_RUNTIME_DEVICE_CODEDROWS_H

#include <cstdint>

namespace moe::rt {

/// What codes mean. Value q is `(q - zero) * scale`: 8-bit integers are signed,
/// with zero 0 unless there are others; 4-bit ones count from 0, with zero 8.
/// 4-bit floats are numbers of a table times the scale, 8-bit ones E4M3 numbers
/// times it. F8ByF8: these, to be multiplied by E4M3 numbers.
enum class RowCoding : int32_t { Int8, Int4, Fp4, Nf4, F8E4M3, F8ByF8 };
enum class RowScale : int32_t { F16, BF16, F32, E8M0 };

/// A matrix of codes, in tiles of 16 rows. Three arrays:
///
/// - codes: `[tiles, pieces, 32, 16 bytes]`, what each lane of a warp reads at
///   once. A piece is 32 (8 bits) or 64 (4 bits) numbers deep, which is two or
///   four steps of the tensor core; with g = lane / 4 and t = lane % 4 number n
///   (0, 1) of register r (0 to 3) of the fragment of step i is that of row g +
///   8 (r % 2) at depth 32 (i / 2) + 8 t + 4 (i % 2) + 2 (r / 2) + n. It is in
///   bits 4 r + 16 n of word i of the lane, or, of 8 bits, in byte r % 2 + 2 n
///   of word 2 i + r / 2. F8ByF8: a piece is one step, of which register r has
///   numbers n (0 to 3) of row g + 8 (r % 2) at depth 4 t + 16 (r / 2) + n, in
///   byte n of word r: that is the order of `mma` and `wgmma` themselves.
/// - scales: `[tiles, blocks, 16]`, row r at 2 (r % 8) + r / 8, so that rows g
///   and g + 8 are neighbours
/// - zeros: bytes, as scales
///
/// So `mma` has columns whose depth is in this order, too, 16 bytes of a lane
/// at a time. `wgmma` reads columns from shared memory as they are: there the
/// four lanes with the same g exchange pairs of numbers, two words of codes of
/// 4 bits and four of 8 for each 32 of the depth, rather than columns being
/// written in another order or codes being kept twice. Words of F8ByF8 are
/// registers of either as they are; `mma` reads columns in two places.
///
/// Rows and depths that are not there have codes, scales and zeros of 0. Where
/// a code is no number (E4M3), its block has a scale that is none, and the code
/// is 0: the sums are the same, and kernels need not look for it.
struct CodedRows {
  RowCoding coding = RowCoding::Int8;
  RowScale scale = RowScale::F16;
  int64_t block = 0; ///< numbers of a row that share a scale; 0: the whole row
  bool hasZeros = false;

  /// Whether codes are bytes, not halves of these.
  bool isByte() const { return coding == RowCoding::Int8 || isFp8(); }
  bool isFp8() const {
    return coding == RowCoding::F8E4M3 || coding == RowCoding::F8ByF8;
  }
  int64_t pieceDepth() const { return isByte() ? 32 : 64; }
  int64_t pieces(int64_t depth) const {
    return (depth + pieceDepth() - 1) / pieceDepth();
  }
  int64_t blocks(int64_t depth) const {
    return block ? (pieces(depth) * pieceDepth() + block - 1) / block : 1;
  }
  int64_t scaleSize() const {
    return scale == RowScale::E8M0 ? 1 : scale == RowScale::F32 ? 4 : 2;
  }
  /// Bytes of the three arrays for a tile.
  int64_t codeBytes(int64_t depth) const { return pieces(depth) * 512; }
  int64_t scaleBytes(int64_t depth) const {
    return blocks(depth) * 16 * scaleSize();
  }
  int64_t zeroBytes(int64_t depth) const {
    return hasZeros ? blocks(depth) * 16 : 0;
  }
  /// Whether kernels can read it.
  bool isSupported() const {
    bool isFloat = coding != RowCoding::Int8 && coding != RowCoding::Int4;
    return block >= 0 && block % 32 == 0 && !(isFloat && hasZeros);
  }
};

/// A row to pack: `depth` codes, one to a byte, and of each of its blocks the
/// scale, as its type has it, and the zero. A row without codes is none.
struct CodedRow {
  const uint8_t *codes = nullptr;
  const void *scales = nullptr;
  const uint8_t *zeros = nullptr;
};

/// Packs a tile; `codes`, `scales` and `zeros` are its parts of the arrays.
void packCodedTile(const CodedRows &format, int64_t depth,
                   const CodedRow (&rows)[16], uint8_t *codes, uint8_t *scales,
                   uint8_t *zeros);

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_CODEDROWS_H
