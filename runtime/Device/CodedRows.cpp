#include "runtime/Device/CodedRows.h"

#include <cstring>

namespace moe::rt {

static bool isNoNumber(const CodedRows &format, uint8_t code) {
  return format.isFp8() && (code & 127) == 127;
}

/// A scale that is no number, of each type: all bits are set.
static void spoilScale(const CodedRows &format, uint8_t *scale) {
  std::memset(scale, 0xFF, static_cast<size_t>(format.scaleSize()));
}

static void packCodes(const CodedRows &format, int64_t depth,
                      const CodedRow &row, int64_t r, uint8_t *to) {
  for (int64_t d = 0; d < depth; ++d) {
    int64_t piece = d / format.pieceDepth(), within = d % format.pieceDepth();
    uint8_t code = row.codes[d];
    if (isNoNumber(format, code))
      code = 0;
    if (format.coding == RowCoding::F8ByF8) {
      int64_t lane = r % 8 * 4 + within % 16 / 4;
      int64_t word = r / 8 + within / 16 * 2;
      to[((piece * 32 + lane) * 4 + word) * 4 + within % 4] = code;
      continue;
    }
    // Depth 32 (step / 2) + 8 t + 4 (step % 2) + 2 part + n.
    int64_t t = within % 32 / 8, step = within / 32 * 2 + within % 8 / 4;
    int64_t part = within % 4 / 2, n = within % 2;
    int64_t lane = r % 8 * 4 + t, fragment = r / 8 + 2 * part;
    uint8_t *words = to + (piece * 32 + lane) * 16;
    if (format.isByte()) {
      words[(2 * step + part) * 4 + fragment % 2 + 2 * n] = code;
      continue;
    }
    int64_t bit = 4 * fragment + 16 * n;
    uint8_t &byte = words[step * 4 + bit / 8];
    byte = static_cast<uint8_t>(byte | (code & 15) << bit % 8);
  }
}

void packCodedTile(const CodedRows &format, int64_t depth,
                   const CodedRow (&rows)[16], uint8_t *codes, uint8_t *scales,
                   uint8_t *zeros) {
  size_t size = static_cast<size_t>(format.scaleSize());
  std::memset(codes, 0, static_cast<size_t>(format.codeBytes(depth)));
  std::memset(scales, 0, static_cast<size_t>(format.scaleBytes(depth)));
  if (format.hasZeros)
    std::memset(zeros, 0, static_cast<size_t>(format.zeroBytes(depth)));
  // Those that the row has; packed ones go to the end of a piece.
  int64_t blocks = format.block ? (depth + format.block - 1) / format.block : 1;
  for (int64_t r = 0; r < 16; ++r) {
    const CodedRow &row = rows[r];
    if (!row.codes)
      continue;
    packCodes(format, depth, row, r, codes);
    for (int64_t b = 0; b < blocks; ++b) {
      int64_t at = b * 16 + r % 8 * 2 + r / 8;
      std::memcpy(scales + static_cast<size_t>(at) * size,
                  static_cast<const uint8_t *>(row.scales) +
                      static_cast<size_t>(b) * size,
                  size);
      if (format.hasZeros)
        zeros[at] = row.zeros[b];
    }
    for (int64_t d = 0; d < depth; ++d)
      if (isNoNumber(format, row.codes[d])) {
        int64_t b = format.block ? d / format.block : 0;
        int64_t at = b * 16 + r % 8 * 2 + r / 8;
        spoilScale(format, scales + static_cast<size_t>(at) * size);
      }
  }
}

} // namespace moe::rt
