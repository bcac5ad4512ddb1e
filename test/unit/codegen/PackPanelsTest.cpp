#include "codegen/Link/PackPanels.h"
#include "codegen/Link/PackQuantPanels.h"
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

TEST(PackQuantPanels, EqualsTheDefinition) {
  std::mt19937 random(4);
  auto upTo = [&](int64_t n) { return static_cast<int64_t>(random() % n); };
  for (int round = 0; round < 600; ++round) {
    int64_t stored = upTo(2) ? 8 : 4, bits = stored == 8 && upTo(2) ? 8 : 4;
    QuantPanelShape shape{bits,         stored,        upTo(1 << bits),
                          8 << upTo(3), 1 + upTo(150), 0};
    if (upTo(3) == 0)
      shape.interleave = shape.width / 2;
    int64_t count = 1 + upTo(60);
    std::vector<std::vector<char>> bytes;
    std::vector<ValueRun> runs;
    for (int64_t r = 0; r < (shape.interleave ? 2 : 1 + upTo(3)); ++r) {
      if (!shape.interleave)
        count = upTo(60);
      // [out, in], from even places or odd ones, or [in, out].
      int64_t strideN = shape.depth + upTo(3), strideK = 1;
      if (upTo(3) == 0)
        strideN = 1, strideK = count + upTo(3);
      int64_t first = upTo(4);
      bytes.emplace_back(first + count * strideN + shape.depth * strideK + 1);
      for (char &byte : bytes.back())
        byte = random();
      runs.push_back({bytes.back().data(), first, count, strideN, strideK});
    }
    int64_t panels = 1 + upTo(9);
    std::vector<char> packed(panels * shape.bytes(), 'x');
    packQuantPanels(shape, runs, 0, panels, packed.data());
    for (int64_t p = 0; p < panels; ++p)
      for (int64_t k = 0; k < shape.depth; ++k)
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
          unsigned value = 0;
          if (r < runs.size() && n < runs[r].count) {
            int64_t i =
                runs[r].first + n * runs[r].strideN + k * runs[r].strideK;
            auto byte = static_cast<unsigned char>(
                runs[r].from[stored == 8 ? i : i / 2]);
            value = stored == 8 ? byte : i % 2 ? byte >> 4 : byte & 15;
          }
          value = (value & ((1u << bits) - 1)) ^ shape.flip;
          const char *row =
              packed.data() + p * shape.bytes() + k * shape.rowBytes();
          int64_t half = shape.width / 2;
          auto byte = static_cast<unsigned char>(row[bits == 8 ? c : c % half]);
          unsigned got = bits == 8 ? byte : c < half ? byte & 15 : byte >> 4;
          ASSERT_EQ(got, value) << "round " << round << ": panel " << p
                                << ", input " << k << ", column " << c;
        }
  }
}
} // namespace
