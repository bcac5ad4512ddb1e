#include "runtime/Device/PackRows.h"

#include <algorithm>
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
  packRows({rows, depth, width, halves}, panels.data(), 2, 2, 8, to.data());
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

TEST(PackRows, KeepsNumbersOfFourBytes) {
  const uint32_t panels[] = {1, 70000, 3, 4, 5, 6, 7, 80000}; // [1, 2, 4]
  std::vector<uint32_t> to(16 * 8, 9);
  packRows({3, 2, 4, false}, panels, 4, 1, 8, to.data());
  std::vector<uint32_t> expected(16 * 8, 0);
  expected[0] = 1, expected[8] = 70000, expected[16] = 3;
  expected[1] = 5, expected[9] = 6, expected[17] = 7;
  EXPECT_EQ(to, expected);
}

TEST(PackRows, PutsBiasesOfGateAndRestBesideEachOther) {
  std::vector<float> to(32, 9);
  auto at = [](int64_t i) { return static_cast<float>(i + 1); };
  packBias({10, 1, 32, true}, 2, at, to.data());
  for (int64_t row = 0; row < 32; ++row) {
    int64_t n = row / 16 * 8 + row % 8;
    float expected = n < 10 ? float(n + 1 + (row % 16 < 8 ? 0 : 10)) : 0;
    EXPECT_EQ(to[static_cast<size_t>(row)], expected) << row;
  }
}

/// A matrix of 19 rows, 70 deep, in panels of 8 columns of 4-bit codes in
/// blocks of 32 with zeros, against the same tile packed from rows.
TEST(PackRows, FindsCodesScalesAndZerosInPanels) {
  constexpr int64_t rows = 19, depth = 70, width = 8, blocks = 3, panels = 3;
  auto code = [](int64_t n, int64_t k) { return (7 * n + 3 * k) % 16; };
  auto scale = [](int64_t n, int64_t b) { return 1000 * n + b; };
  auto zero = [](int64_t n, int64_t b) { return (n + 5 * b) % 16; };
  std::vector<uint8_t> codes(panels * depth * width / 2);
  std::vector<uint8_t> zeros(panels * blocks * width / 2);
  std::vector<uint16_t> scales(panels * blocks * width);
  auto put = [&](std::vector<uint8_t> &to, int64_t count, int64_t n, int64_t k,
                 int64_t value) {
    int64_t column = n % width;
    uint8_t &byte = to[static_cast<size_t>((n / width * count + k) * width / 2 +
                                           column % (width / 2))];
    byte = static_cast<uint8_t>(byte | value << (column < width / 2 ? 0 : 4));
  };
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = 0; k < depth; ++k)
      put(codes, depth, n, k, code(n, k));
    for (int64_t b = 0; b < blocks; ++b) {
      put(zeros, blocks, n, b, zero(n, b));
      scales[static_cast<size_t>((n / width * blocks + b) * width +
                                 n % width)] =
          static_cast<uint16_t>(scale(n, b));
    }
  }
  CodedRows format{RowCoding::Int4, RowScale::F16, 32, true};
  auto sized = [](int64_t bytes) {
    return std::vector<uint8_t>(static_cast<size_t>(2 * bytes), 9);
  };
  auto gotCodes = sized(format.codeBytes(depth));
  auto gotScales = sized(format.scaleBytes(depth));
  auto gotZeros = sized(format.zeroBytes(depth));
  packCodedRows(
      {rows, depth, width, false},
      {codes.data(), reinterpret_cast<uint8_t *>(scales.data()), zeros.data()},
      format, 2, gotCodes.data(), gotScales.data(), gotZeros.data());
  for (int64_t tile = 0; tile < 2; ++tile) {
    std::vector<std::vector<uint8_t>> keptCodes(16), keptZeros(16);
    std::vector<std::vector<uint16_t>> keptScales(16);
    CodedRow given[16] = {};
    for (int64_t r = 0; r < 16 && tile * 16 + r < rows; ++r) {
      int64_t n = tile * 16 + r;
      auto at = static_cast<size_t>(r);
      for (int64_t k = 0; k < depth; ++k)
        keptCodes[at].push_back(static_cast<uint8_t>(code(n, k)));
      for (int64_t b = 0; b < blocks; ++b) {
        keptScales[at].push_back(static_cast<uint16_t>(scale(n, b)));
        keptZeros[at].push_back(static_cast<uint8_t>(zero(n, b)));
      }
      given[r] = {keptCodes[at].data(), keptScales[at].data(),
                  keptZeros[at].data()};
    }
    auto check = [&](const std::vector<uint8_t> &got,
                     const std::vector<uint8_t> &wanted) {
      auto first = got.begin() + static_cast<std::ptrdiff_t>(
                                     static_cast<size_t>(tile) * wanted.size());
      EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), first)) << tile;
    };
    auto one = [](int64_t bytes) {
      return std::vector<uint8_t>(static_cast<size_t>(bytes));
    };
    auto wantCodes = one(format.codeBytes(depth));
    auto wantScales = one(format.scaleBytes(depth));
    auto wantZeros = one(format.zeroBytes(depth));
    packCodedTile(format, depth, given, wantCodes.data(), wantScales.data(),
                  wantZeros.data());
    check(gotCodes, wantCodes);
    check(gotScales, wantScales);
    check(gotZeros, wantZeros);
  }
}

} // namespace
} // namespace moe::rt
