// The kernels of a MoE layer for some and many tokens on sm_90a, in the
// emulator, against the same in f64.
#include "codegen/CUDA/HopperTile.h"
#include "test/unit/codegen/LayerCases.h"

using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

namespace {
class HopperKernels : public LayerCases,
                      public testing::TestWithParam<OnHopper> {
protected:
  HopperKernels() : LayerCases(GetParam()) {}
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

TEST_P(HopperKernels, AllTokensToOneExpert) { allTokensToOneExpert(150); }

TEST_P(HopperKernels, NullExpertsAndAliases) { nullExpertsAndAliases(); }

TEST_P(HopperKernels, OddSizes) { oddSizes(); }

TEST_P(HopperKernels, Activations) {
  for (auto each : {Activation::Identity, Activation::Relu, Activation::Relu2,
                    Activation::Silu, Activation::GeluTanh, Activation::Gelu})
    // They are the same for some tokens and for many.
    if (GetParam() == OnHopper::Many || each == Activation::Gelu)
      activation(each);
  activationsWithLimits();
}

TEST_P(HopperKernels, Biases) { biases(); }

TEST_P(HopperKernels, NaNStays) { nanStays(Activation::Silu); }

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
  emu::Counts counts = count(layer, layer.makeCase(40));
  uint64_t found = 0, products = 0;
  for (const emu::SiteCounts &site : counts.sites) {
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
