#include "codegen/Link/PackPanels.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <algorithm>
#include <cstring>

using namespace llvm;
using namespace moe;

namespace {
/// Neighbouring columns of a panel that come from one run.
struct Segment {
  int64_t panel, column; // where they go
  int64_t count;
  const ColumnRun *run;
  int64_t n; // the first of them in the run
};
} // namespace

/// Inputs [begin, end) of `segment`. `to` is column 0, input 0 of its panel.
template <typename T>
static void packSegment(const Segment &segment, int64_t width, int64_t begin,
                        int64_t end, char *to) {
  const ColumnRun &run = *segment.run;
  const char *from = run.from + segment.n * run.strideN * sizeof(T);
  to += segment.column * sizeof(T);
  if (run.strideN == 1) {
    for (int64_t k = begin; k < end; ++k)
      memcpy(to + k * width * sizeof(T), from + k * run.strideK * sizeof(T),
             segment.count * sizeof(T));
    return;
  }
  // Squares, so that lines are used whole while they are in the first cache
  // on both sides. Archives align nothing, so elements go through memcpy.
  constexpr int64_t kSquare = 64 / sizeof(T) < 16 ? 64 / sizeof(T) : 16;
  for (int64_t k0 = begin; k0 < end; k0 += kSquare)
    for (int64_t n0 = 0; n0 < segment.count; n0 += kSquare) {
      int64_t k1 = std::min(k0 + kSquare, end);
      int64_t n1 = std::min(n0 + kSquare, segment.count);
      T square[kSquare][kSquare];
      for (int64_t n = n0; n < n1; ++n)
        for (int64_t k = k0; k < k1; ++k)
          memcpy(&square[k - k0][n - n0],
                 from + (n * run.strideN + k * run.strideK) * sizeof(T),
                 sizeof(T));
      for (int64_t k = k0; k < k1; ++k)
        memcpy(to + (k * width + n0) * sizeof(T), square[k - k0],
               (n1 - n0) * sizeof(T));
    }
}

/// The runs that fill panels `first` to `first + count`, in pieces.
static SmallVector<Segment> cutSegments(const PanelShape &shape,
                                        ArrayRef<ColumnRun> runs, int64_t first,
                                        int64_t count) {
  SmallVector<Segment> segments;
  for (int64_t p = 0; p < count; ++p) {
    // Adds columns [n, n + length) of a run at `column`, as far as they exist.
    auto add = [&](const ColumnRun &run, int64_t n, int64_t length,
                   int64_t column) {
      length = std::min(length, run.count - n);
      if (length > 0)
        segments.push_back({p, column, length, &run, n});
    };
    if (int64_t half = shape.interleave) {
      // A matrix without runs has no columns.
      for (size_t r = 0; r < runs.size(); ++r)
        add(runs[r], (first + p) * half, half, r * half);
      continue;
    }
    int64_t begin = (first + p) * shape.width, start = 0;
    for (const ColumnRun &run : runs) {
      int64_t from = std::max(begin, start);
      int64_t end = std::min(begin + shape.width, start + run.count);
      if (from < end)
        add(run, from - start, end - from, from - begin);
      start += run.count;
    }
  }
  return segments;
}

void moe::packPanels(const PanelShape &shape, ArrayRef<ColumnRun> runs,
                     int64_t first, int64_t count, char *to) {
  SmallVector<Segment> segments = cutSegments(shape, runs, first, count);
  int64_t filled = 0;
  for (const Segment &segment : segments)
    filled += segment.count;
  if (filled < count * shape.width) // padding
    memset(to, 0, count * shape.bytes());
  // A few rows of all panels at a time: rows of an [in, out] matrix are then
  // read in long pieces.
  constexpr int64_t kRows = 64;
  for (int64_t k = 0; k < shape.depth; k += kRows)
    for (const Segment &segment : segments) {
      int64_t end = std::min(k + kRows, shape.depth);
      char *panel = to + segment.panel * shape.bytes();
      switch (shape.elementBytes) {
      case 1:
        packSegment<uint8_t>(segment, shape.width, k, end, panel);
        break;
      case 2:
        packSegment<uint16_t>(segment, shape.width, k, end, panel);
        break;
      case 4:
        packSegment<uint32_t>(segment, shape.width, k, end, panel);
        break;
      default:
        packSegment<uint64_t>(segment, shape.width, k, end, panel);
      }
    }
}
