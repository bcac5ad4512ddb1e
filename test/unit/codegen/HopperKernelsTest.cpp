// The kernels of a MoE layer for some and many tokens on sm_90a, in the
// emulator, against the same in f64.
#include "codegen/CUDA/HopperTile.h"
#include "test/unit/codegen/LayerFixture.h"
#include <cmath>

using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

namespace {
class HopperKernels : public testing::TestWithParam<OnHopper> {
protected:
  test::Context context;

  void check(Layer &layer, const Case &test) {
    layer.onHopper = GetParam();
    checkLayer(context, layer, test, /*grouped=*/true);
  }
};

/// One step of depth and several, whole and not; one tile of rows and more.
TEST_P(HopperKernels, CountsOfTokens) {
  Layer layer({4, 136, 40, 96, 2}, {0, 1, 2, 3});
  for (int64_t tokens : {0, 1, 2, 33, 300})
    check(layer, layer.makeCase(tokens));
}

/// More steps than stages, in several tiles of a block.
TEST_P(HopperKernels, Deep) {
  Layer layer({2, 1100, 340, 70, 1}, {0, 1});
  check(layer, layer.makeCase(140));
}

/// Tiles of every width, with columns beyond the matrix.
TEST_P(HopperKernels, Widths) {
  for (auto [isGlu, hidden, columns] : {std::tuple(true, 24, 64),
                                        {true, 60, 128},
                                        {true, 92, 192},
                                        {true, 124, 256},
                                        {true, 136, 64},
                                        {false, 180, 192},
                                        {false, 250, 256},
                                        {false, 500, 256}}) {
    // Tiles for some tokens have one width.
    if (GetParam() == OnHopper::Some && columns != 64 && hidden != 180)
      continue;
    LayerShape shape{2, 64, hidden, 2 * hidden, 1, isGlu};
    EXPECT_EQ(HopperForm::many(ExpertMatrix::up(shape)).rows, columns);
    Layer layer(shape, {0, 1});
    check(layer, layer.makeCase(9));
  }
}

TEST_P(HopperKernels, AllTokensToOneExpert) {
  Layer layer({4, 64, 32, 64, 2}, {0, 1, 2, 3});
  Case test = layer.makeCase(150);
  for (size_t i = 0; i < test.ids.size(); ++i)
    test.ids[i] = i % 2 ? 3 : 1;
  check(layer, test);
}

TEST_P(HopperKernels, NullExpertsAndAliases) {
  Layer layer({3, 64, 32, 64, 3}, {-1, 0, 1, -1, 2, 1});
  check(layer, layer.makeCase(9));
  // Skipped slots, and tokens without any expert.
  Case test = layer.makeCase(9);
  for (size_t i = 0; i < test.ids.size(); ++i)
    if (i < 6 || i % 4 == 0)
      test.ids[i] = i % 2 ? -1 : 0;
  check(layer, test);
}

TEST_P(HopperKernels, OddSizes) {
  Layer layer({5, 37, 19, 50, 2}, {0, 1, 2, 3, 4});
  check(layer, layer.makeCase(6));
}

TEST_P(HopperKernels, Activations) {
  for (cuda::Activation activation :
       {cuda::Activation::Identity, cuda::Activation::Relu,
        cuda::Activation::Relu2, cuda::Activation::Silu,
        cuda::Activation::GeluTanh, cuda::Activation::Gelu})
    for (bool isGlu : {false, true}) {
      // They are the same for some tokens and for many.
      if (GetParam() == OnHopper::Some && activation != Activation::Gelu)
        continue;
      Layer layer({3, 64, 24, 32, 2, isGlu, activation}, {0, 1, 2});
      check(layer, layer.makeCase(4));
    }
  // gpt-oss.
  Layer layer({3, 64, 24, 32, 2, true, cuda::Activation::Silu, 1.702, 1, 0.7},
              {0, 1, 2});
  check(layer, layer.makeCase(4));
}

TEST_P(HopperKernels, Biases) {
  for (bool isGlu : {false, true}) {
    LayerShape shape{3, 40, 19, 50, 2, isGlu};
    shape.hasUpBias = true;
    Layer up(shape, {0, -1, 1, 2});
    check(up, up.makeCase(7));
    shape.hasDownBias = true;
    Layer both(shape, {0, -1, 1, 2});
    check(both, both.makeCase(7));
  }
}

/// What is no number in an input is none in what comes of it, and nowhere else.
TEST_P(HopperKernels, NaNStays) {
  for (bool isGlu : {false, true}) {
    Layer layer({3, 40, 24, 32, 2, isGlu}, {0, 1, 2});
    layer.onHopper = GetParam();
    Case test = layer.makeCase(5);
    test.x[2 * 40 + 7] = NAN;
    test::Device device(context, layer, true);
    std::vector<float> out = device.run(test);
    ASSERT_EQ(device.error, "");
    for (int64_t i = 0; i < 5 * 32; ++i)
      EXPECT_EQ(std::isnan(out[i]), i / 32 == 2) << i;
  }
}

/// Weights that multiply what experts read; several tiles of slots.
TEST_P(HopperKernels, WeightsOfInputs) {
  for (bool isGlu : {false, true}) {
    LayerShape shape{3, 40, 100, 50, 2, isGlu};
    shape.scaleInput = true;
    shape.hasUpBias = isGlu;
    Layer layer(shape, {0, -1, 1, 2, 1});
    for (int64_t tokens : {1, 9, 170})
      check(layer, layer.makeCase(tokens));
  }
}

/// Matrices in two factors, of ranks that fill no tile.
TEST_P(HopperKernels, Factors) {
  for (auto [upRank, downRank] : {std::pair(5, 0), {0, 12}, {70, 140}}) {
    LayerShape shape{4, 72, 90, 50, 2};
    shape.upRank = upRank;
    shape.downRank = downRank;
    shape.scaleInput = downRank == 140;
    Layer layer(shape, {0, 1, -1, 2, 3, 1});
    for (int64_t tokens : {0, 1, 80})
      check(layer, layer.makeCase(tokens));
  }
}

TEST_P(HopperKernels, F16) {
  LayerShape shape{4, 200, 37, 50, 2};
  shape.element = Element::F16;
  shape.hasUpBias = shape.hasDownBias = true;
  Layer layer(shape, {0, 1, -1, 2, 3, 1});
  for (int64_t tokens : {0, 1, 13})
    check(layer, layer.makeCase(tokens));
  EXPECT_TRUE(hasHopperUp(shape) && hasHopperDown(shape));
  shape.element = Element::F32;
  EXPECT_FALSE(hasHopperUp(shape) || hasHopperDown(shape));
}

/// Nothing shares a bank of shared memory, and rows of the result are written
/// in whole sectors; each weight is read once for each tile of rows.
TEST_P(HopperKernels, MovesNoMoreThanItMust) {
  LayerShape shape{4, 512, 64, 512, 2};
  Layer layer(shape, {0, 1, 2, 3});
  layer.onHopper = GetParam();
  Case test = layer.makeCase(40);
  test::Device device(context, layer, true);
  device.options.count = true;
  device.run(test);
  ASSERT_EQ(device.error, "");
  uint64_t found = 0, products = 0;
  for (const emu::SiteCounts &site : device.counts.sites) {
    EXPECT_EQ(site.bankConflicts, 0u) << site.site;
    products += site.mma;
    if (site.site.find("tensor_load") != std::string::npos)
      found += site.global.bytesRead;
    else if (site.site.rfind("down", 0) == 0 && site.global.bytesWritten) {
      EXPECT_EQ(site.sectors * 32, site.global.bytesWritten) << site.site;
    }
  }
  EXPECT_EQ(found, 4u * (2 * 64 * 512 + 512 * 64) * 2);
  // Steps and tiles of four experts, by the one warpgroup that has rows.
  // Or by both, of slots that are columns.
  EXPECT_EQ(products, GetParam() == OnHopper::Many ? 4u * (8 * 1 + 1 * 2)
                                                   : 2 * 4u * (8 * 1 + 1 * 4));
}

INSTANTIATE_TEST_SUITE_P(, HopperKernels,
                         testing::Values(OnHopper::Some, OnHopper::Many),
                         [](const testing::TestParamInfo<OnHopper> &info) {
                           return info.param == OnHopper::Many ? "Many"
                                                               : "Some";
                         });
} // namespace
