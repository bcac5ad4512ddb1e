#include "runtime/Device/PackRows.h"

#include <gtest/gtest.h>
#include <vector>

namespace moe::rt {
namespace {

/// Row n of a matrix whose number (n, k) is 100 * n + k, in panels.
std::vector<uint16_t> panelsOf(int64_t rows, int64_t depth, int64_t width,
                               bool halves) {
  int64_t perPanel = halves ? width / 2 : width;
  int64_t panels = (rows + perPanel - 1) / perPanel;
  std::vector<uint16_t> made(panels * depth * width);
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t k = 0; k < depth; ++k) {
      auto *row = &made[(n / perPanel * depth + k) * width + n % perPanel];
      row[0] = static_cast<uint16_t>(100 * n + k);
      if (halves)
        row[perPanel] = static_cast<uint16_t>(100 * n + k + 50);
    }
  return made;
}

/// Two tiles of a matrix in panels of 8 columns, with rows of 8 numbers.
void expectRows(int64_t rows, int64_t depth, bool halves) {
  constexpr int64_t width = 8;
  auto panels = panelsOf(rows, depth, width, halves);
  std::vector<uint16_t> to(2 * 16 * 8, 9);
  packRows({panels.data(), depth, width, halves}, rows, 2, 8, to.data());
  for (int64_t row = 0; row < 32; ++row)
    for (int64_t k = 0; k < 8; ++k) {
      int64_t n = halves ? row / 16 * 8 + row % 8 : row;
      int64_t second = halves && row % 16 >= 8 ? 50 : 0;
      EXPECT_EQ(to[row * 8 + k],
                n < rows && k < depth ? 100 * n + k + second : 0)
          << row << " " << k;
    }
}

TEST(PackRows, KeepsRowsInOrderAndPadsWithZeros) { expectRows(19, 5, false); }

TEST(PackRows, PutsTheGateBeforeWhatItGates) { expectRows(11, 3, true); }

} // namespace
} // namespace moe::rt
