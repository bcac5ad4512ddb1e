// The kernels of a MoE layer for more than few tokens on sm_90a, in the
// emulator, against the same in f64.
#include "codegen/CUDA/HopperTile.h"
#include "test/unit/codegen/LayerCases.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

namespace {
class HopperKernels : public LayerCases,
                      public testing::TestWithParam<OnHopper> {
protected:
  HopperKernels() : LayerCases(GetParam()) {}
};

class HopperCounts : public testing::Test {
protected:
  test::Context context;
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
    // Tiles for some slots have one width.
    if (GetParam() == OnHopper::ByCount && columns != 64 && hidden != 180)
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
  // Or by both, of slots that are columns, with two steps to a stage.
  EXPECT_EQ(products, GetParam() == OnHopper::Many ? 4u * (8 * 1 + 1 * 2)
                                                   : 2 * 4u * (8 * 1 + 2 * 4));
}

/// Each expert has the tiles for its own number of slots, and weights are read
/// once for each tile of slots. Experts with many come first.
TEST_F(HopperCounts, EachExpertByItsOwn) {
  const int64_t counts[] = {64, 200, 0, 1, 65, 63, 129};
  // Depths of one stage and of several, whole and not; biases.
  for (auto [inputs, hidden, outputs] :
       {std::tuple(200, 72, 208), {300, 40, 32}}) {
    LayerShape shape{7, inputs, hidden, outputs, 1};
    shape.hasUpBias = shape.hasDownBias = true;
    Layer layer(shape, {0, 1, 2, 3, 4, 5, 6});
    Case test = layer.makeCase(64 + 200 + 1 + 65 + 63 + 129);
    test.ids.clear();
    for (int32_t e = 0; e < 7; ++e)
      test.ids.insert(test.ids.end(), counts[e], e);
    std::shuffle(test.ids.begin(), test.ids.end(), std::mt19937(3));
    layer.onHopper = OnHopper::ByCount;
    checkLayer(context, layer, test, /*grouped=*/true);

    test::Device device(context, layer, true);
    device.options.count = true;
    device.run(test);
    ASSERT_EQ(device.error, "");
    EXPECT_EQ(device.active, (std::vector<int32_t>{1, 4, 6, 0, 3, 5}));
    uint64_t found = 0, tiles = 0;
    for (const emu::SiteCounts &site : device.counts.sites) {
      EXPECT_EQ(site.bankConflicts, 0u) << site.site;
      if (site.site.find("tensor_load") != std::string::npos)
        found += site.global.bytesRead;
    }
    for (int64_t count : counts)
      tiles += (count + 127) / 128;
    EXPECT_EQ(found, tiles *
                         (shape.upTiles() * 16 * shape.paddedInputs() +
                          shape.paddedOutputs() * shape.paddedHidden()) *
                         2);
  }
}

/// Of bytes, each tile has the form that suits its slots; experts of all
/// counts. Where scales of rows change within a block of slots all tiles have
/// 64 slots.
TEST_F(HopperCounts, BytesByTheSlotsOfATile) {
  const int64_t counts[] = {64, 200, 0, 1, 65, 63, 129, 2};
  for (auto [block, isGlu] :
       {std::pair(128, true), {64, true}, {32, true}, {128, false}}) {
    // Depths of one stage and of several, whole and not.
    LayerShape shape{8, 200, isGlu ? 72 : 270, isGlu ? 208 : 32, 1, isGlu};
    shape.hasUpBias = shape.hasDownBias = true;
    shape.upCoded = shape.downCoded =
        rt::CodedRows{rt::RowCoding::F8ByF8, rt::RowScale::F32, block};
    Layer layer(shape, {0, 1, 2, 3, 4, 5, 6, 7});
    std::vector<int32_t> ids;
    for (int32_t e = 0; e < 8; ++e)
      ids.insert(ids.end(), counts[e], e);
    std::shuffle(ids.begin(), ids.end(), std::mt19937(3));
    Case test = layer.makeCase(static_cast<int64_t>(ids.size()));
    test.ids = ids;
    layer.onHopper = OnHopper::ByCount;
    checkLayer(context, layer, test, /*grouped=*/true);
    if (!isGlu)
      continue;

    test::Device device(context, layer, true);
    device.options.count = true;
    device.run(test);
    ASSERT_EQ(device.error, "");
    std::vector<uint64_t> products, want;
    for (const emu::SiteCounts &site : device.counts.sites) {
      EXPECT_EQ(site.bankConflicts, 0u) << site.site;
      if (site.mma)
        products.push_back(site.mma);
    }
    // Of 128 slots: two of 200, and of 65 and 129 one. Of 64: the others, or
    // all. By both warpgroups, two tiles of rows each; of the first product two
    // stages. A part of a stage with scales of its own is a site: hidden values
    // have two at least.
    auto expect = [&](bool hasMany, int64_t sites, uint64_t each) {
      for (uint64_t tiles : hasMany ? std::vector{4, 5} : std::vector{13})
        want.insert(want.end(), sites, tiles * each);
    };
    expect(block >= 128, 128 / block, 2 * 2 * 2);
    expect(block >= 64, std::max(2, 128 / block), 2 * 2);
    std::sort(products.begin(), products.end());
    std::sort(want.begin(), want.end());
    EXPECT_EQ(products, want);
  }
}

/// Sorting more experts than a warp has lanes, with many slots or few.
TEST_F(HopperCounts, ManyComeFirst) {
  LayerShape shape{75, 8, 8, 16, 1};
  std::vector<int32_t> entries(75);
  std::iota(entries.begin(), entries.end(), 0);
  Layer layer(shape, entries);
  for (auto isMany : {+[](int64_t e) { return e % 31 == 12; },
                      +[](int64_t e) { return e == 74 || e == 0; },
                      +[](int64_t) { return false; }}) {
    std::vector<int32_t> ids, many, some;
    for (int32_t e = 0; e < 75; ++e) {
      int64_t count = isMany(e) ? 65 + e : e % 3;
      ids.insert(ids.end(), count, e);
      if (count)
        (count > 64 ? many : some).push_back(e);
    }
    Case test = layer.makeCase(ids.size());
    test.ids = ids;
    layer.onHopper = OnHopper::ByCount;
    checkLayer(context, layer, test, /*grouped=*/true);
    test::Device device(context, layer, true);
    device.run(test);
    many.insert(many.end(), some.begin(), some.end());
    EXPECT_EQ(device.active, many);
  }
}

INSTANTIATE_TEST_SUITE_P(, HopperKernels,
                         testing::Values(OnHopper::ByCount, OnHopper::Many),
                         [](const testing::TestParamInfo<OnHopper> &info) {
                           return info.param == OnHopper::Many ? "Many"
                                                               : "ByCount";
                         });
} // namespace
