#include "runtime/Device/PackRows.h"

#include <cstring>
#include <vector>

namespace moe::rt {
namespace {

template <typename Number>
void packNumbers(const PanelMatrix &matrix, const Number *panels, int64_t tiles,
                 int64_t paddedDepth, Number *to) {
  std::memset(to, 0,
              static_cast<size_t>(tiles * 16 * paddedDepth) * sizeof(Number));
  for (int64_t tile = 0; tile < tiles; ++tile)
    for (int64_t row = 0; row < 16; ++row) {
      int64_t c = matrix.column(tile, row);
      if (c < 0)
        continue;
      const Number *column = panels +
                             c / matrix.width * matrix.depth * matrix.width +
                             c % matrix.width;
      Number *out = to + (tile * 16 + row) * paddedDepth;
      for (int64_t k = 0; k < matrix.depth; ++k)
        out[k] = column[k * matrix.width];
    }
}

/// Column `c`, of all panels, of `count` rows of codes, one to a byte.
void readCodes(const PanelMatrix &matrix, const uint8_t *codes, bool isByte,
               int64_t c, int64_t count, uint8_t *to) {
  int64_t bytes = isByte ? matrix.width : matrix.width / 2;
  const uint8_t *from = codes + c / matrix.width * count * bytes;
  int64_t within = c % matrix.width;
  int shift = within >= bytes ? 4 : 0;
  for (int64_t k = 0; k < count; ++k) {
    uint8_t byte = from[k * bytes + within % bytes];
    to[k] = isByte ? byte : static_cast<uint8_t>(byte >> shift & 15);
  }
}

} // namespace

void packRows(const PanelMatrix &matrix, const void *panels, size_t size,
              int64_t tiles, int64_t paddedDepth, void *to) {
  if (size == 4)
    packNumbers(matrix, static_cast<const uint32_t *>(panels), tiles,
                paddedDepth, static_cast<uint32_t *>(to));
  else
    packNumbers(matrix, static_cast<const uint16_t *>(panels), tiles,
                paddedDepth, static_cast<uint16_t *>(to));
}

void packCodedRows(const PanelMatrix &matrix, const CodedPanels &panels,
                   const CodedRows &format, int64_t tiles, uint8_t *codes,
                   uint8_t *scales, uint8_t *zeros) {
  bool isByte = format.isByte();
  int64_t depth = matrix.depth;
  int64_t blocks = format.block ? (depth + format.block - 1) / format.block : 1;
  size_t size = static_cast<size_t>(format.scaleSize());
  // Of the 16 rows of a tile.
  std::vector<uint8_t> rowCodes(static_cast<size_t>(16 * depth));
  std::vector<uint8_t> rowScales(static_cast<size_t>(16 * blocks) * size);
  std::vector<uint8_t> rowZeros(static_cast<size_t>(16 * blocks));
  for (int64_t tile = 0; tile < tiles; ++tile) {
    CodedRow rows[16] = {};
    for (int64_t row = 0; row < 16; ++row) {
      int64_t c = matrix.column(tile, row);
      if (c < 0)
        continue;
      uint8_t *toCodes = rowCodes.data() + row * depth;
      uint8_t *toScales =
          rowScales.data() + static_cast<size_t>(row * blocks) * size;
      readCodes(matrix, panels.codes, isByte, c, depth, toCodes);
      for (int64_t b = 0; b < blocks; ++b) {
        int64_t at =
            (c / matrix.width * blocks + b) * matrix.width + c % matrix.width;
        std::memcpy(toScales + static_cast<size_t>(b) * size,
                    panels.scales + static_cast<size_t>(at) * size, size);
      }
      rows[row] = {toCodes, toScales, nullptr};
      if (!format.hasZeros)
        continue;
      uint8_t *toZeros = rowZeros.data() + row * blocks;
      readCodes(matrix, panels.zeros, isByte, c, blocks, toZeros);
      rows[row].zeros = toZeros;
    }
    packCodedTile(format, depth, rows, codes + tile * format.codeBytes(depth),
                  scales + tile * format.scaleBytes(depth),
                  zeros + tile * format.zeroBytes(depth));
  }
}

} // namespace moe::rt
