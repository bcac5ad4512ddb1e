// Matrices of experts as kernels read them.
#ifndef MOE_RUNTIME_DEVICE_PACKROWS_H
#define MOE_RUNTIME_DEVICE_PACKROWS_H

#include "runtime/Device/CodedRows.h"

#include <cstddef>

namespace moe::rt {

/// A matrix in panels of `width` columns, as processors want it: row n is
/// column n % width of panel n / width. Of a gated matrix (`halves`), neuron n
/// of the gate is column n % (width / 2) of panel n / (width / 2), and what it
/// gates stands half a panel behind.
///
/// As kernels want it, rows are in tiles of 16: those of the matrix in order,
/// or 8 rows of the gate and the 8 rows of the same neurons that it gates.
struct PanelMatrix {
  int64_t rows, depth, width; ///< of a gated one, rows of the gate
  bool halves;

  int64_t panels() const {
    int64_t perPanel = halves ? width / 2 : width;
    return (rows + perPanel - 1) / perPanel;
  }
  /// Columns before the one of row `row` of tile `tile`, counted over panels;
  /// -1 where that row is padding.
  int64_t column(int64_t tile, int64_t row) const {
    int64_t perTile = halves ? 8 : 16, perPanel = halves ? width / 2 : width;
    int64_t n = tile * perTile + row % perTile;
    if (n >= rows)
      return -1;
    return n / perPanel * width + n % perPanel + row / perTile * perPanel;
  }
};

/// Numbers of `size` bytes, `[panels, depth, width]`, to rows of `paddedDepth`
/// of them, zero behind `depth`; rows that are padding are zero, too.
void packRows(const PanelMatrix &matrix, const void *panels, size_t size,
              int64_t tiles, int64_t paddedDepth, void *to);

/// The same where `number(i)` is number i of the panels.
template <typename GetNumber>
void widenRows(const PanelMatrix &matrix, GetNumber number, int64_t tiles,
               int64_t paddedDepth, float *to) {
  for (int64_t row = 0; row < tiles * 16; ++row) {
    int64_t c = matrix.column(row / 16, row % 16);
    for (int64_t k = 0; k < paddedDepth; ++k, ++to)
      *to = c < 0 || k >= matrix.depth
                ? 0
                : number((c / matrix.width * matrix.depth + k) * matrix.width +
                         c % matrix.width);
  }
}

/// Codes in panels, `[panels, depth, width * bits / 8]`: of 4 bits, byte c of a
/// row has column c in its low half and column c + width / 2 in the other.
/// Scales are `[panels, blocks, width]`, zeros lie as codes do.
struct CodedPanels {
  const uint8_t *codes, *scales, *zeros;
};

/// The three arrays of CodedRows.h.
void packCodedRows(const PanelMatrix &matrix, const CodedPanels &panels,
                   const CodedRows &format, int64_t tiles, uint8_t *codes,
                   uint8_t *scales, uint8_t *zeros);

/// Biases, gated ones all of the gate first, to one number for each row of the
/// tiles. `at(i)` is bias i.
template <typename At>
void packBias(const PanelMatrix &matrix, int64_t tiles, At at, float *to) {
  int64_t perTile = matrix.halves ? 8 : 16;
  for (int64_t row = 0; row < tiles * 16; ++row) {
    int64_t n = row / 16 * perTile + row % perTile;
    int64_t first = row % 16 / perTile * matrix.rows;
    to[row] = n < matrix.rows ? at(first + n) : 0;
  }
}

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_PACKROWS_H
