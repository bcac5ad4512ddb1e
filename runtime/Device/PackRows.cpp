#include "runtime/Device/PackRows.h"

#include <algorithm>
#include <cstring>

namespace moe::rt {

void packRows(const PanelMatrix &from, int64_t rows, int64_t tiles,
              int64_t paddedDepth, uint16_t *to) {
  std::memset(to, 0, tiles * 16 * paddedDepth * sizeof(uint16_t));
  int64_t perTile = from.halves ? 8 : 16;
  int64_t perPanel = from.halves ? from.width / 2 : from.width;
  for (int64_t tile = 0; tile < tiles; ++tile)
    for (int64_t row = 0; row < 16; ++row) {
      int64_t n = tile * perTile + row % perTile;
      if (n >= rows)
        continue;
      const uint16_t *column = from.panels +
                               n / perPanel * from.depth * from.width +
                               n % perPanel + row / perTile * perPanel;
      uint16_t *out = to + (tile * 16 + row) * paddedDepth;
      for (int64_t k = 0; k < from.depth; ++k)
        out[k] = column[k * from.width];
    }
}

} // namespace moe::rt
