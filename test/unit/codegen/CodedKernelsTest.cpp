// Kernels of a MoE layer with quantised weights, in the emulator, against the
// same in f64.
#include "test/unit/codegen/LayerFixture.h"
#include <algorithm>
#include <cmath>

using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

namespace {
using rt::CodedRows, rt::RowCoding, rt::RowScale;

/// Where the header says that a number lies, for every number of a ragged tile.
TEST(CodedRows, LieWhereTheHeaderSays) {
  for (RowCoding coding : {RowCoding::Int8, RowCoding::Int4}) {
    CodedRows format{coding, RowScale::F16, 32, true};
    constexpr int64_t kDepth = 100, kBlocks = 4;
    bool isByte = coding == RowCoding::Int8;
    auto codeOf = [&](int64_t row, int64_t depth) -> int64_t {
      return row == 5 || depth >= kDepth
                 ? 0
                 : (row * 37 + depth * 11 + 3) % (isByte ? 256 : 16);
    };
    std::vector<uint8_t> codes(16 * kDepth), zeros(16 * kBlocks);
    std::vector<uint16_t> scales(16 * kBlocks);
    rt::CodedRow rows[16];
    for (int64_t r = 0; r < 16; ++r) {
      for (int64_t d = 0; d < kDepth; ++d)
        codes[r * kDepth + d] = static_cast<uint8_t>(codeOf(r, d));
      for (int64_t b = 0; b < kBlocks; ++b) {
        scales[r * kBlocks + b] = static_cast<uint16_t>(1000 + r * 10 + b);
        zeros[r * kBlocks + b] = static_cast<uint8_t>(r + b);
      }
      if (r != 5)
        rows[r] = {&codes[r * kDepth], &scales[r * kBlocks],
                   &zeros[r * kBlocks]};
    }
    ASSERT_EQ(format.blocks(kDepth), 4);
    ASSERT_EQ(format.pieces(kDepth), isByte ? 4 : 2);
    std::vector<uint8_t> packed(format.codeBytes(kDepth), 0xAA);
    std::vector<uint16_t> packedScales(16 * kBlocks, 0xAAAA);
    std::vector<uint8_t> packedZeros(format.zeroBytes(kDepth), 0xAA);
    rt::packCodedTile(format, kDepth, rows, packed.data(),
                      reinterpret_cast<uint8_t *>(packedScales.data()),
                      packedZeros.data());
    int64_t pieceDepth = isByte ? 32 : 64;
    for (int64_t piece = 0; piece < format.pieces(kDepth); ++piece)
      for (int64_t lane = 0; lane < 32; ++lane)
        for (int64_t i = 0; i < pieceDepth / 16; ++i)
          for (int64_t r = 0; r < 4; ++r)
            for (int64_t n = 0; n < 2; ++n) {
              int64_t row = lane / 4 + 8 * (r % 2);
              int64_t depth = piece * pieceDepth + 32 * (i / 2) +
                              8 * (lane % 4) + 4 * (i % 2) + 2 * (r / 2) + n;
              const uint8_t *words = &packed[(piece * 32 + lane) * 16];
              int64_t bit = 4 * r + 16 * n;
              int64_t found = isByte
                                  ? words[(2 * i + r / 2) * 4 + r % 2 + 2 * n]
                                  : words[i * 4 + bit / 8] >> bit % 8 & 15;
              ASSERT_EQ(found, codeOf(row, depth)) << row << " " << depth;
            }
    for (int64_t r = 0; r < 16; ++r)
      for (int64_t b = 0; b < kBlocks; ++b) {
        int64_t at = b * 16 + r % 8 * 2 + r / 8;
        EXPECT_EQ(packedScales[at], r == 5 ? 0 : 1000 + r * 10 + b);
        EXPECT_EQ(packedZeros[at], r == 5 ? 0 : r + b);
      }
  }
}

/// Those of steps of 32.
TEST(CodedRows, LieInStepsOf32) {
  CodedRows format{RowCoding::F8ByF8, RowScale::F32, 128};
  constexpr int64_t kDepth = 100;
  auto codeOf = [&](int64_t row, int64_t depth) {
    return depth < kDepth ? (row * 37 + depth * 11) % 127 : 0;
  };
  std::vector<uint8_t> codes(16 * kDepth), packed(format.codeBytes(kDepth));
  std::vector<float> scales(16, 1), packedScales(16);
  rt::CodedRow rows[16];
  for (int64_t r = 0; r < 16; ++r) {
    for (int64_t d = 0; d < kDepth; ++d)
      codes[r * kDepth + d] = static_cast<uint8_t>(codeOf(r, d));
    rows[r] = {&codes[r * kDepth], &scales[r], nullptr};
  }
  rt::packCodedTile(format, kDepth, rows, packed.data(),
                    reinterpret_cast<uint8_t *>(packedScales.data()), nullptr);
  for (int64_t piece = 0; piece < 4; ++piece)
    for (int64_t lane = 0; lane < 32; ++lane)
      for (int64_t r = 0; r < 4; ++r)
        for (int64_t n = 0; n < 4; ++n)
          ASSERT_EQ(packed[((piece * 32 + lane) * 4 + r) * 4 + n],
                    codeOf(lane / 4 + 8 * (r % 2),
                           piece * 32 + 4 * (lane % 4) + 16 * (r / 2) + n));
}

/// A code that is no number takes the scale of its block along, in every type.
TEST(CodedRows, KeepWhatIsNoNumber) {
  for (RowScale scale :
       {RowScale::F16, RowScale::BF16, RowScale::F32, RowScale::E8M0}) {
    bool isByF8 = scale == RowScale::F32;
    CodedRows format{isByF8 ? RowCoding::F8ByF8 : RowCoding::F8E4M3, scale, 32};
    constexpr int64_t kDepth = 70;
    std::vector<uint8_t> codes(kDepth, 0x45), scales(3 * format.scaleSize(), 1);
    codes[40] = 0x7F, codes[69] = 0xFF;
    codes[3] = 0x7E; // the largest number
    rt::CodedRow rows[16];
    rows[9] = {codes.data(), scales.data(), nullptr};
    std::vector<uint8_t> packed(format.codeBytes(kDepth));
    std::vector<uint8_t> packedScales(format.scaleBytes(kDepth));
    rt::packCodedTile(format, kDepth, rows, packed.data(), packedScales.data(),
                      nullptr);
    EXPECT_EQ(std::count(packed.begin(), packed.end(), 0x45), kDepth - 3);
    EXPECT_EQ(std::count(packed.begin(), packed.end(), 0x7E), 1);
    EXPECT_EQ(std::count(packed.begin(), packed.end(), 0x7F), 0);
    for (int64_t block = 0; block < 3; ++block)
      for (int64_t i = 0; i < format.scaleSize(); ++i)
        EXPECT_EQ(packedScales[(block * 16 + 3) * format.scaleSize() + i],
                  block == 0 ? 1 : 0xFF)
            << block;
  }
}

TEST(CodedRows, WhatKernelsCannotDo) {
  EXPECT_FALSE((CodedRows{RowCoding::Int4, RowScale::F16, 16}.isSupported()));
  EXPECT_FALSE(
      (CodedRows{RowCoding::Fp4, RowScale::E8M0, 32, true}.isSupported()));
  EXPECT_FALSE(
      (CodedRows{RowCoding::F8E4M3, RowScale::F32, 32, true}.isSupported()));
  LayerShape shape{8, 64, 64, 64, 2};
  shape.upCoded = CodedRows{RowCoding::Int4, RowScale::F16, 32};
  EXPECT_TRUE(shape.isSupported());
  shape.element = Element::F32;
  EXPECT_FALSE(shape.isSupported());
  // What low factors give is not rounded to 8 bits.
  shape.element = Element::BF16;
  shape.upCoded = CodedRows{RowCoding::F8ByF8, RowScale::F32, 32};
  EXPECT_TRUE(shape.isSupported());
  shape.downRank = 8;
  EXPECT_FALSE(shape.isSupported());
}

/// Kernels for few tokens, those for more on any GPU, and on sm_90a.
enum class Kind { Few, Portable, Hopper };

class CodedKernels : public testing::TestWithParam<Kind> {
protected:
  test::Context context;

  static bool grouped() { return GetParam() != Kind::Few; }
  static OnHopper onHopper() {
    return GetParam() == Kind::Hopper ? OnHopper::ByCount : OnHopper::No;
  }

  /// Both matrices of `up`, or the second of `down`, with sizes that leave
  /// something over everywhere and depths that go through every loop.
  void check(CodedRows up, std::optional<CodedRows> down, Element element,
             int64_t inputs = 200, bool isGlu = true) {
    LayerShape shape{4, inputs, 37, 50, 2, isGlu};
    shape.element = element;
    shape.upCoded = up;
    shape.downCoded = down;
    shape.hasUpBias = shape.hasDownBias = true;
    Layer layer(shape, {0, -1, 1, 2, 3, 1});
    layer.onHopper = onHopper();
    for (int64_t tokens : {0, 1, 21})
      checkLayer(context, layer, layer.makeCase(tokens), grouped());
  }
};

TEST_P(CodedKernels, Int8) {
  for (Element element : {Element::BF16, Element::F16}) {
    for (int64_t block : {32, 64, 128})
      for (bool hasZeros : {false, true}) {
        if (element == Element::F16 && hasZeros != (block == 64))
          continue; // half of them are enough
        CodedRows format{RowCoding::Int8, RowScale::F16, block, hasZeros};
        check(format, format, element);
      }
    CodedRows whole{RowCoding::Int8, RowScale::F32, 0};
    check(whole, whole, element, 1100);
  }
}

TEST_P(CodedKernels, Int4) {
  for (Element element : {Element::BF16, Element::F16}) {
    for (int64_t block : {32, 64, 128})
      for (bool hasZeros : {false, true}) {
        if (element == Element::F16 && hasZeros != (block == 64))
          continue; // half of them are enough
        CodedRows format{RowCoding::Int4, RowScale::F16, block, hasZeros};
        check(format, format, element);
      }
    // Blocks end within pieces; scales of another kind.
    CodedRows odd{RowCoding::Int4, RowScale::BF16, 96, true};
    check(odd, odd, element, 2120);
    CodedRows whole{RowCoding::Int4, RowScale::F32, 0, true};
    check(whole, whole, element, 40, /*isGlu=*/false);
  }
}

TEST_P(CodedKernels, Floats) {
  for (Element element : {Element::BF16, Element::F16}) {
    CodedRows mxfp4{RowCoding::Fp4, RowScale::E8M0, 32};
    check(mxfp4, mxfp4, element);
    check(mxfp4, mxfp4, element, 2120, /*isGlu=*/false);
    CodedRows nf4{RowCoding::Nf4, RowScale::F16, 64};
    check(nf4, nf4, element);
  }
}

TEST_P(CodedKernels, Fp8) {
  for (Element element : {Element::BF16, Element::F16}) {
    for (int64_t block : {32, 128}) {
      CodedRows format{RowCoding::F8E4M3, RowScale::F32, block};
      check(format, format, element);
    }
    CodedRows whole{RowCoding::F8E4M3, RowScale::BF16, 0};
    check(whole, whole, element, 1100, /*isGlu=*/false);
  }
}

TEST_P(CodedKernels, Fp8ByFp8) {
  for (int64_t block : {32, 64, 128}) {
    CodedRows format{RowCoding::F8ByF8, RowScale::F32, block};
    check(format, format, Element::BF16, 200, /*isGlu=*/block != 64);
  }
  CodedRows whole{RowCoding::F8ByF8, RowScale::BF16, 0};
  check(whole, whole, Element::F16, 1100);
  CodedRows odd{RowCoding::F8ByF8, RowScale::F32, 96};
  check(odd, odd, Element::BF16, 37, /*isGlu=*/false);
  // One of both matrices.
  CodedRows int8{RowCoding::Int8, RowScale::F16, 32};
  check(odd, int8, Element::BF16);
  check(int8, odd, Element::BF16);
  check(whole, std::nullopt, Element::F16);
}

/// Several tiles of hidden values, and weights of inputs.
TEST_P(CodedKernels, ManyRowsOfBytes) {
  for (bool isGlu : {false, true}) {
    LayerShape shape{3, 72, isGlu ? 150 : 310, 300, 2, isGlu};
    shape.upCoded = shape.downCoded =
        CodedRows{RowCoding::F8ByF8, RowScale::F32, 128};
    shape.scaleInput = shape.hasUpBias = true;
    Layer layer(shape, {0, 1, 2});
    layer.onHopper = onHopper();
    checkLayer(context, layer, layer.makeCase(130), grouped());
  }
}

/// Inputs of all sizes: each block has a scale of its own.
TEST_P(CodedKernels, BytesOfAllSizes) {
  LayerShape shape{1, 300, 40, 32, 1, false, Activation::Identity};
  shape.upCoded = shape.downCoded =
      CodedRows{RowCoding::F8ByF8, RowScale::F32, 128};
  Layer layer(shape, {0});
  layer.onHopper = onHopper();
  Case test = layer.makeCase(5);
  for (int64_t i = 0; i < 300; ++i) {
    test.x[i] *= i < 128 ? 1e-12f : i < 256 ? 1e12f : 1;
    test.x[300 + i] = 0;
    test.x[600 + i] *= 1e-38f; // as 0
    test.x[900 + i] *= i == 7 ? NAN : 1;
    test.x[1200 + i] *= i == 290 ? INFINITY : 1;
  }
  test::Device device(context, layer, grouped());
  std::vector<float> out = device.run(test);
  ASSERT_EQ(device.error, "");
  Reference want = layer.reference(test);
  for (int64_t o = 0; o < 32; ++o) {
    EXPECT_NEAR(
        out[o], want.values[o],
        5 * std::sqrt(grouped() ? want.bytes[o] : want.down[o] * 0x1p-16 / 3));
    EXPECT_EQ(out[32 + o], 0);
    EXPECT_EQ(out[64 + o], 0);
    EXPECT_TRUE(std::isnan(out[96 + o]));
    EXPECT_TRUE(std::isnan(out[128 + o]));
  }
}

/// Every code alone, to the last bit: a matrix whose rows have one, times 1.
/// As a hidden value of 8 bits, that is 448 times the f32 nearest to 1 / 448.
TEST_P(CodedKernels, EveryFp8Number) {
  for (RowCoding coding : {RowCoding::F8E4M3, RowCoding::F8ByF8})
    for (Element element : {Element::BF16, Element::F16}) {
      LayerShape shape{1, 16, 32, 256, 1, false, Activation::Relu};
      shape.element = element;
      shape.hasUpBias = true;
      shape.downCoded = CodedRows{coding, RowScale::F32, 32};
      Layer layer(shape, {0});
      layer.onHopper = onHopper();
      // Hidden values are 1, 0, 0 and so on.
      std::fill(layer.up[0].values.begin(), layer.up[0].values.end(), 0);
      for (int64_t h = 0; h < 32; ++h)
        layer.upBias[0][h] = h == 0;
      for (int64_t code = 0; code < 256; ++code) {
        for (int64_t i = 0; i < 4; ++i)
          layer.down[0].scales[code * 4 + i] = i == 3   ? 0x3F
                                               : i == 2 ? 0x80
                                                        : 0;
        for (int64_t h = 0; h < 32; ++h)
          layer.down[0].codes[code * 32 + h] = h == 0 ? code : 0;
      }
      Case test = layer.makeCase(1);
      test.weights[0] = 1;
      std::vector<double> want, allowed;
      for (int64_t code = 0; code < 256; ++code) {
        int64_t exponent = code >> 3 & 15, fraction = code & 7;
        double size = exponent ? std::ldexp(8 + fraction, int(exponent) - 10)
                               : std::ldexp(fraction, -9);
        want.push_back(code % 128 == 127 ? NAN : code < 128 ? size : -size);
        allowed.push_back(shape.hiddenBytes() && grouped() ? size * 0x1p-23
                                                           : 0);
      }
      test::Device device(context, layer, grouped());
      device.expected = {want, allowed};
      std::vector<float> out = device.run(test);
      ASSERT_EQ(device.error, "");
      for (int64_t code = 0; code < 256; ++code)
        if (std::isnan(want[code]))
          EXPECT_TRUE(std::isnan(out[code])) << code;
        else
          EXPECT_NEAR(out[code], want[code], allowed[code]) << code;
    }
}

/// The ends of E8M0: 255 is no number, 0 is 2^-127.
TEST_P(CodedKernels, ScalesAtTheEnds) {
  LayerShape shape{1, 64, 32, 32, 1};
  shape.downCoded = CodedRows{RowCoding::Fp4, RowScale::E8M0, 32};
  Layer layer(shape, {0});
  layer.onHopper = onHopper();
  layer.down[0].scales[3] = 255;
  layer.down[0].scales[20] = 0;
  Case test = layer.makeCase(2);
  test::Device device(context, layer, grouped());
  std::vector<float> out = device.run(test);
  ASSERT_EQ(device.error, "");
  for (int64_t i = 0; i < 2 * 32; ++i) {
    EXPECT_EQ(std::isnan(out[i]), i % 32 == 3) << i;
    // Denormal: the sum of products of codes and hidden values is some 10.
    EXPECT_EQ(out[i] != 0 && std::abs(out[i]) < 0x1p-118f, i % 32 == 20) << i;
  }
}

TEST_P(CodedKernels, MatricesOfDifferentKinds) {
  CodedRows int4{RowCoding::Int4, RowScale::F16, 64, true};
  CodedRows int8{RowCoding::Int8, RowScale::F32, 32};
  check(int4, int8, Element::BF16);
  check(int8, std::nullopt, Element::F16);
}

TEST_P(CodedKernels, ManyTokensAndColumns) {
  for (RowCoding coding : {RowCoding::Int8, RowCoding::Int4}) {
    LayerShape shape{3, 72, 100, 300, 2};
    shape.upCoded = shape.downCoded =
        CodedRows{coding, RowScale::F16, 32, true};
    Layer layer(shape, {0, 1, 2});
    layer.onHopper = onHopper();
    checkLayer(context, layer, layer.makeCase(130), grouped());
  }
}

/// Nothing shares a bank of shared memory; with few tokens codes are read once,
/// in whole sectors.
TEST_P(CodedKernels, MoveNoMoreThanTheyMust) {
  for (RowCoding coding : {RowCoding::Int8, RowCoding::Int4, RowCoding::F8E4M3,
                           RowCoding::F8ByF8}) {
    LayerShape shape{4, 512, 64, 512, 2};
    shape.upCoded = shape.downCoded =
        CodedRows{coding, RowScale::F16, 32,
                  coding == RowCoding::Int8 || coding == RowCoding::Int4};
    Layer layer(shape, {0, 1, 2, 3});
    layer.onHopper = onHopper();
    Case test = layer.makeCase(grouped() ? 40 : 1);
    test::Device device(context, layer, grouped());
    if (device.recorder)
      device.expected = expectedOf(layer, test, grouped());
    device.options.count = true;
    device.run(test);
    ASSERT_EQ(device.error, "");
    uint64_t codes = 2 * (2 * 64 * 512 + 512 * 64), found = 0;
    for (const emu::SiteCounts &site : device.counts.sites) {
      EXPECT_EQ(site.bankConflicts, 0u) << site.site;
      if (site.site.find("streaming") == std::string::npos)
        continue;
      EXPECT_EQ(site.sectors * 32, site.global.bytesRead) << site.site;
      found += site.global.bytesRead;
    }
    EXPECT_EQ(found, grouped()                   ? 0
                     : coding == RowCoding::Int4 ? codes / 2
                                                 : codes);
  }
}

INSTANTIATE_TEST_SUITE_P(, CodedKernels,
                         testing::Values(Kind::Few, Kind::Portable,
                                         Kind::Hopper),
                         [](const testing::TestParamInfo<Kind> &info) {
                           return info.param == Kind::Few        ? "Decode"
                                  : info.param == Kind::Portable ? "Grouped"
                                                                 : "Hopper";
                         });
} // namespace
