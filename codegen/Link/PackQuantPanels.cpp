#include "codegen/Link/PackQuantPanels.h"

#include "llvm/ADT/SmallVector.h"
#include <algorithm>

using namespace llvm;
using namespace moe;

namespace {
/// One column of a panel; no bytes past the last.
struct Column {
  const uint8_t *from = nullptr;
  int64_t first = 0, strideK = 0;

  unsigned at(int64_t k, int64_t stored) const {
    if (!from)
      return 0;
    int64_t i = first + k * strideK;
    return stored == 8 ? from[i] : from[i / 2] >> (i % 2 * 4) & 15;
  }
  /// Two values to a byte along k, the first of them in a low half.
  bool isPairs(int64_t stored) const {
    return stored == 4 && (!from || (strideK == 1 && first % 2 == 0));
  }
  unsigned pair(int64_t k) const { return from ? from[(first + k) / 2] : 0; }
};
} // namespace

static SmallVector<Column> columnsOf(const QuantPanelShape &shape,
                                     ArrayRef<ValueRun> runs, int64_t panel) {
  SmallVector<Column> columns(shape.width);
  for (int64_t c = 0; c < shape.width; ++c) {
    size_t r = 0;
    int64_t n = panel * shape.width + c;
    if (int64_t half = shape.interleave) {
      r = c / half;
      n = panel * half + c % half;
    } else {
      while (r < runs.size() && n >= runs[r].count)
        n -= runs[r++].count;
    }
    if (r < runs.size() && n < runs[r].count)
      columns[c] = {reinterpret_cast<const uint8_t *>(runs[r].from),
                    runs[r].first + n * runs[r].strideN, runs[r].strideK};
  }
  return columns;
}

static void packPanel(const QuantPanelShape &shape, ArrayRef<Column> columns,
                      uint8_t *to) {
  // A few rows of all columns at a time: what is written stays in the first
  // cache while columns, far apart, are read.
  constexpr int64_t kRows = 64;
  int64_t row = shape.rowBytes(), half = shape.width / 2;
  unsigned flip = shape.flip, mask = (1u << shape.bits) - 1;
  for (int64_t k0 = 0; k0 < shape.depth; k0 += kRows) {
    int64_t k1 = std::min(k0 + kRows, shape.depth);
    if (shape.bits == 8) {
      for (int64_t c = 0; c < shape.width; ++c)
        for (int64_t k = k0; k < k1; ++k)
          to[k * row + c] = columns[c].at(k, shape.stored) ^ flip;
      continue;
    }
    for (int64_t c = 0; c < half; ++c) {
      const Column &low = columns[c], &high = columns[c + half];
      unsigned both = flip | flip << 4;
      int64_t k = k0;
      if (low.isPairs(shape.stored) && high.isPairs(shape.stored))
        for (; k + 1 < k1; k += 2) {
          unsigned a = low.pair(k), b = high.pair(k);
          to[k * row + c] = ((a & 15) | (b & 15) << 4) ^ both;
          to[(k + 1) * row + c] = (a >> 4 | (b & 0xf0)) ^ both;
        }
      for (; k < k1; ++k)
        to[k * row + c] = ((low.at(k, shape.stored) & mask) |
                           (high.at(k, shape.stored) & mask) << 4) ^
                          both;
    }
  }
}

void moe::packQuantPanels(const QuantPanelShape &shape, ArrayRef<ValueRun> runs,
                          int64_t first, int64_t count, char *to) {
  for (int64_t p = 0; p < count; ++p)
    packPanel(shape, columnsOf(shape, runs, first + p),
              reinterpret_cast<uint8_t *>(to + p * shape.bytes()));
}
