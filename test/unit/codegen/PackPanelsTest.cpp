#include "codegen/Link/PackPanels.h"
#include "gtest/gtest.h"
#include <cstring>
#include <random>

using namespace moe;

namespace {
/// The definition of `#moe.panels`, element by element.
std::vector<char> defined(const PanelShape &shape,
                          const std::vector<ColumnRun> &runs, int64_t panels) {
  std::vector<char> result(panels * shape.bytes());
  unsigned size = shape.elementBytes;
  for (int64_t p = 0; p < panels; ++p)
    for (int64_t c = 0; c < shape.width; ++c) {
      int64_t n = p * shape.width + c;
      size_t r = 0;
      if (shape.interleave) {
        r = c / shape.interleave;
        n = p * shape.interleave + c % shape.interleave;
      } else {
        while (r < runs.size() && n >= runs[r].count)
          n -= runs[r++].count;
      }
      if (r >= runs.size() || n >= runs[r].count)
        continue;
      for (int64_t k = 0; k < shape.depth; ++k)
        memcpy(&result[((p * shape.depth + k) * shape.width + c) * size],
               runs[r].from +
                   (n * runs[r].strideN + k * runs[r].strideK) * size,
               size);
    }
  return result;
}

TEST(PackPanels, EqualsTheDefinition) {
  std::mt19937 random(3);
  auto upTo = [&](int64_t n) { return static_cast<int64_t>(random() % n); };
  for (int round = 0; round < 600; ++round) {
    unsigned size = 1u << upTo(4);
    PanelShape shape{8 << upTo(3), 1 + upTo(150), 0, size};
    bool interleave = upTo(3) == 0;
    if (interleave)
      shape.interleave = shape.width / 2;
    int64_t count = upTo(100), columns = 0;
    std::vector<std::vector<char>> bytes;
    std::vector<ColumnRun> runs;
    // Entries without runs pad pools.
    for (int64_t r = interleave ? 2 * (upTo(8) > 0) : upTo(4); r > 0; --r) {
      if (!interleave)
        count = upTo(100);
      columns += count;
      // [out, in], [in, out], or neither with gaps; nothing is aligned.
      int64_t gap = 1 + upTo(3);
      int64_t strideN = 1, strideK = count + upTo(3);
      if (upTo(2))
        strideN = gap * (shape.depth + upTo(3)), strideK = gap;
      bytes.emplace_back(1 +
                         (count * strideN + shape.depth * strideK + 1) * size);
      for (char &byte : bytes.back())
        byte = random();
      runs.push_back({bytes.back().data() + 1, count, strideN, strideK});
    }
    int64_t perPanel = interleave ? shape.interleave : shape.width;
    int64_t panels =
        ((interleave ? count : columns) + perPanel - 1) / perPanel + upTo(2);
    std::vector<char> expected = defined(shape, runs, panels);
    std::vector<char> packed(expected.size(), 'x');
    for (int64_t p = 0, step; p < panels; p += step) {
      step = std::min(panels - p, 1 + upTo(4));
      packPanels(shape, runs, p, step, packed.data() + p * shape.bytes());
    }
    ASSERT_EQ(packed, expected)
        << "round " << round << ": " << size << " bytes, width " << shape.width
        << ", depth " << shape.depth;
  }
}
} // namespace
