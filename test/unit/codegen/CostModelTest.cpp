// The cost model against the table of floors that targets were made from, and
// against what it must keep to whatever the numbers are.
#include "codegen/CUDA/CostModel.h"
#include "codegen/CUDA/TileShapes.h"
#include "runtime/Device/KernelChoice.h"
#include "gtest/gtest.h"
#include <numeric>

using namespace moe;
using namespace moe::cuda;

namespace {
struct Model {
  const char *name;
  LayerShape shape;
};
const Model kMixtral = {"Mixtral-8x7B", {8, 4096, 14336, 4096, 2}},
            kQwen = {"Qwen3-30B-A3B", {128, 2048, 768, 2048, 8}},
            kDeepSeek = {"DeepSeek-V3", {256, 7168, 2048, 7168, 8}},
            kGptOss = {"gpt-oss-20b", {32, 2880, 2880, 2880, 4}};

/// Microseconds, simulated apart from this model and rounded.
struct Row {
  const Model &model;
  int64_t tokens;
  double active, bytes, flops;
};
const Row kFloors[] = {
    {kMixtral, 1, 2, 164, 0.9},         {kMixtral, 16, 8, 656, 14},
    {kMixtral, 64, 8, 656, 57},         {kMixtral, 512, 8, 657, 457},
    {kMixtral, 4096, 8, 671, 3653},     {kMixtral, 16384, 8, 718, 14614},
    {kQwen, 1, 8, 17.6, 0.1},           {kQwen, 16, 81.7, 179, 1.5},
    {kQwen, 64, 125.6, 276, 6},         {kQwen, 512, 128, 282, 49},
    {kQwen, 4096, 128, 289, 391},       {kQwen, 16384, 128, 312, 1566},
    {kDeepSeek, 1, 8, 164, 0.9},        {kDeepSeek, 16, 101, 2069, 14},
    {kDeepSeek, 64, 220.7, 4521, 57},   {kDeepSeek, 512, 256, 5247, 457},
    {kDeepSeek, 4096, 256, 5271, 3653}, {kDeepSeek, 16384, 256, 5353, 14614},
    {kGptOss, 1, 4, 46.3, 0.3},         {kGptOss, 16, 28.4, 329, 4},
    {kGptOss, 64, 32, 371, 16},         {kGptOss, 512, 32, 372, 129},
    {kGptOss, 4096, 32, 381, 1032},     {kGptOss, 16384, 32, 414, 4128},
};

Routing routing(const Model &model, int64_t tokens, uint64_t seed = 1) {
  return uniformRouting(model.shape.experts, model.shape.topK, tokens, seed);
}

TEST(CostModel, FloorsAreThoseOfTheTable) {
  for (const Row &row : kFloors) {
    SCOPED_TRACE(std::string(row.model.name) + " " +
                 std::to_string(row.tokens));
    double active = 0, bytes = 0, flops = 0;
    int draws = row.tokens > 64 ? 1 : 64;
    for (int seed = 1; seed <= draws; ++seed) {
      Routing drawn = routing(row.model, row.tokens, seed);
      Floor floor = floorOf(Gpu(), row.model.shape, drawn);
      active += double(drawn.active()) / draws;
      bytes += floor.bytes * 1e6 / draws;
      flops += floor.flops * 1e6 / draws;
    }
    EXPECT_NEAR(active, row.active, 0.02 * row.active);
    EXPECT_NEAR(bytes, row.bytes, 0.02 * row.bytes);
    // The table has two digits where there is one microsecond.
    EXPECT_NEAR(flops, row.flops, std::max(0.02 * row.flops, 0.5));
  }
}

TEST(CostModel, RoutingChoosesDifferentExperts) {
  Routing all = uniformRouting(5, 5, 7, 3);
  for (int64_t count : all.counts)
    EXPECT_EQ(count, 7);
  Routing some = uniformRouting(128, 8, 100, 3);
  EXPECT_EQ(some.slots(), 800);
  EXPECT_EQ(some.counts, uniformRouting(128, 8, 100, 3).counts);
  EXPECT_NE(some.counts, uniformRouting(128, 8, 100, 4).counts);
}

TEST(CostModel, NothingIsFasterThanItsFloor) {
  for (const Row &row : kFloors)
    for (Family family : {Family::MmaSync, Family::Wgmma}) {
      Routing drawn = routing(row.model, row.tokens);
      LayerCost cost = predictLayer(Gpu(), row.model.shape, family, drawn);
      EXPECT_GT(cost.seconds(),
                floorOf(Gpu(), row.model.shape, drawn).seconds())
          << row.model.name << " " << row.tokens;
      ASSERT_EQ(cost.kernels.size(), 4u);
      double sum = 0;
      for (const KernelCost &kernel : cost.kernels)
        sum += kernel.seconds();
      EXPECT_DOUBLE_EQ(cost.seconds(), sum);
    }
}

TEST(CostModel, TakesTheKernelsThatTheRuntimeTakes) {
  for (const Row &row : kFloors) {
    const LayerShape &shape = row.model.shape;
    bool few = rt::areFewTokens(row.tokens, shape.topK, shape.experts);
    LayerCost cost = predictLayer(Gpu(), shape, Family::MmaSync,
                                  routing(row.model, row.tokens));
    EXPECT_EQ(cost.variant.rfind("few", 0) == 0, few) << row.tokens;
    EXPECT_TRUE(cost.isThere);
  }
  EXPECT_FALSE(rt::areFewTokens(49, 8, 64));
  EXPECT_TRUE(rt::areFewTokens(48, 8, 64));
}

TEST(CostModel, PortableTilesAreThoseOfTheKernels) {
  const ProductVariant &portable = chooseVariant(Family::MmaSync, 1000);
  EXPECT_EQ(portable.slots, GroupedShape::kRows);
  EXPECT_EQ(portable.rows, GroupedShape::kColumns);
  EXPECT_EQ(portable.stages, GroupedShape::kStages);
  EXPECT_EQ(portable.threads, kLayerThreads);
  const ProductVariant &hopper = chooseVariant(Family::Wgmma, 1000);
  EXPECT_EQ(hopper.slots, HopperShape::kSlots);
  EXPECT_EQ(HopperShape::rowsOf(2 * 14336), 256);
  EXPECT_EQ(HopperShape::rowsOf(2 * 2880), 192);
  // The range of every family has no holes.
  for (Family family : {Family::MmaSync, Family::Wgmma})
    for (int64_t slots : {1, 7, 64, 65, 100000})
      EXPECT_EQ(chooseVariant(family, slots).family, family) << slots;
}

/// Weights of active experts are read once, and nothing of the others.
TEST(CostModel, FewTokensReadWeightsOnce) {
  Product up{"up", 1536, 2048, true, 1536, 12, 1};
  Routing drawn{2, {1, 0, 1, 0, 0, 2}};
  KernelCost cost = decodeCost(Gpu(), up, drawn);
  EXPECT_EQ(cost.memoryBytes, 3 * 2.0 * 1536 * 2048);
  // Nine slots are two groups, which both read them from L2.
  Routing nine{9, {9}}, eight{8, {8}};
  double one = decodeCost(Gpu(), up, eight).l2Bytes;
  EXPECT_EQ(decodeCost(Gpu(), up, nine).l2Bytes - one,
            2.0 * 1536 * 2048 + 96 * 2 * 2048);
  EXPECT_EQ(decodeCost(Gpu(), up, nine).memoryBytes, 2.0 * 1536 * 2048);
}

/// A slot too many for a tile costs as much as a tile.
TEST(CostModel, TilesAreWhole) {
  Product up{"up", 1536, 2048, true, 1536, 12, 1};
  const ProductVariant &portable = chooseVariant(Family::MmaSync, 1000);
  auto processors = [&](int64_t count) {
    Routing drawn{count * 64, std::vector<int64_t>(64, count)};
    return groupedCost(Gpu(), up, portable, drawn).processors;
  };
  EXPECT_NEAR(processors(33), processors(64), 0.02 * processors(64));
  EXPECT_GT(processors(65), 1.8 * processors(64));
  // One tile takes as long as 132 do: a wave.
  Routing one{64, {64}};
  Product narrow{"up", 128, 2048, true, 128, 12, 1};
  Routing wave{64 * 132, std::vector<int64_t>(132, 64)};
  EXPECT_NEAR(groupedCost(Gpu(), narrow, portable, one).processors,
              groupedCost(Gpu(), narrow, portable, wave).processors, 1e-12);
}

/// A matrix that L2 does not hold is read once for every tile of slots that
/// walks along it.
TEST(CostModel, LargeMatricesAreReadAgain) {
  Product large{"up", 28672, 4096, true, 0, 12, 1},
      small{"up", 1536, 2048, true, 0, 12, 1};
  ProductVariant alone = chooseVariant(Family::MmaSync, 1000);
  Routing drawn{640, {640}};
  EXPECT_EQ(groupedCost(Gpu(), large, alone, drawn).memoryBytes,
            10 * 2.0 * 28672 * 4096);
  EXPECT_EQ(groupedCost(Gpu(), small, alone, drawn).memoryBytes,
            2.0 * 1536 * 2048);
  // sm_90a: slots walk first, so weights are read once.
  EXPECT_EQ(groupedCost(Gpu(), large, chooseVariant(Family::Wgmma, 1000), drawn)
                .memoryBytes,
            2.0 * 28672 * 4096);
  alone.together = 10;
  EXPECT_EQ(groupedCost(Gpu(), large, alone, drawn).memoryBytes,
            2.0 * 28672 * 4096);
}

/// Each expert counts by its own number of slots, in one launch.
TEST(CostModel, ExpertsAreOfSeveralKinds) {
  Product up{"up", 1536, 2048, true, 1536, 12, 1};
  const ProductVariant &some = chooseVariant(Family::Wgmma, 64),
                       &many = chooseVariant(Family::Wgmma, 65);
  ASSERT_NE(&some, &many);
  auto cost = [&](int64_t ofSome, int64_t ofMany) {
    Routing drawn{1000, {}};
    drawn.counts.assign(ofSome, 40);
    drawn.counts.insert(drawn.counts.begin(), ofMany, 300);
    return groupedCost(Gpu(), up, Family::Wgmma, drawn);
  };
  KernelCost both = cost(11, 22), first = cost(11, 0), second = cost(0, 22);
  EXPECT_EQ(both.operations, first.operations + second.operations);
  EXPECT_EQ(both.l2Bytes, first.l2Bytes + second.l2Bytes);
  // 22 x 18 tiles are three waves, 11 x 12 one.
  EXPECT_NEAR(both.processors, first.processors + second.processors, 1e-12);
  Routing alike{1000, std::vector<int64_t>(20, 40)};
  EXPECT_EQ(groupedCost(Gpu(), up, some, alike).seconds(),
            groupedCost(Gpu(), up, Family::Wgmma, alike).seconds());
  // Blocks end with small tiles where there is one for each.
  EXPECT_GT(first.ends, Gpu().memoryLatency / Gpu().clock);
  EXPECT_GT(cost(40, 1).memory, cost(40, 1).processors);
  EXPECT_EQ(cost(40, 1).ends, first.ends);
  // What is left of a wave is filled by small tiles.
  EXPECT_LT(cost(1, 15).processors, 1.001 * cost(0, 15).processors);

  LayerShape shape = kQwen.shape;
  auto layer = [&](int64_t ofSome, int64_t ofMany) {
    Routing drawn{4000, std::vector<int64_t>(128)};
    std::fill_n(drawn.counts.begin(), ofSome, 40);
    std::fill_n(drawn.counts.begin() + ofSome, ofMany, 65);
    return predictLayer(Gpu(), shape, Family::Wgmma, drawn).variant;
  };
  EXPECT_EQ(layer(100, 0), some.name);
  EXPECT_EQ(layer(0, 100), many.name);
  EXPECT_EQ(layer(28, 100), "64 or 128 slots, wgmma");
}

/// Two steps of depth are one stage for some slots.
TEST(CostModel, StepsOfZerosAreMultipliedOnly) {
  Product odd{"down", 2048, 192, false, 1536, 4, 0}, even = odd;
  even.depth = 256;
  Routing drawn{40, {40}};
  auto cost = [&](const Product &product) {
    return groupedCost(Gpu(), product, Family::Wgmma, drawn);
  };
  EXPECT_EQ(cost(odd).operations, cost(even).operations);
  EXPECT_EQ(cost(odd).l2Bytes, cost(even).l2Bytes * 3 / 4);
}

TEST(CostModel, NoTokensCostLaunchesAlone) {
  Routing none{0, std::vector<int64_t>(8)};
  LayerCost cost = predictLayer(Gpu(), kMixtral.shape, Family::MmaSync, none);
  EXPECT_LT(cost.seconds(), 5 * (Gpu().kernelGap + 1e-6));
  EXPECT_GT(cost.seconds(), 4 * Gpu().kernelGap);
}
} // namespace
