// The kernels of a MoE layer, for few tokens and for many, in the emulator,
// against the same in f64.
#include "test/unit/codegen/LayerCases.h"
#include "test/unit/codegen/Schedules.h"
#include <cstdlib>

using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

namespace {
class LayerKernels : public LayerCases, public testing::TestWithParam<bool> {
protected:
  LayerKernels() : LayerCases(GetParam()) {}
};

/// test/tools/check-usage.test asks for some.
TEST(Schedules, AsManyAsTheEnvironmentSays) {
  const char *text = std::getenv("MOE_EMULATOR_SEEDS");
  size_t late = text ? std::strtoul(text, nullptr, 10) : 1;
  ASSERT_EQ(schedules().size(), 1 + late);
  for (size_t i = 0; i <= late; ++i) {
    EXPECT_EQ(schedules()[i].seed, i);
    EXPECT_EQ(schedules()[i].late, i > 0);
  }
}

TEST_P(LayerKernels, CountsOfTokens) {
  Layer layer({8, 96, 40, 96, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  for (int64_t tokens : {0, 1, 2, 7, 33, 150})
    check(layer, layer.makeCase(tokens));
}

TEST_P(LayerKernels, AllTokensToOneExpert) { allTokensToOneExpert(19); }

TEST_P(LayerKernels, NullExpertsAndAliases) { nullExpertsAndAliases(); }

TEST_P(LayerKernels, OddSizes) {
  oddSizes();
  Layer wide({40, 1100, 24, 20, 4}, [] {
    std::vector<int32_t> entries;
    for (int32_t e = 0; e < 40; ++e)
      entries.push_back(39 - e);
    return entries;
  }());
  check(wide, wide.makeCase(5));
}

TEST_P(LayerKernels, Activations) {
  for (auto each : {Activation::Identity, Activation::Relu, Activation::Relu2,
                    Activation::Silu, Activation::GeluTanh, Activation::Gelu})
    activation(each);
  activationsWithLimits();
}

TEST_P(LayerKernels, Biases) { biases(); }

TEST_P(LayerKernels, NaNStays) {
  for (auto each : {Activation::Relu, Activation::Relu2, Activation::Silu,
                    Activation::GeluTanh, Activation::Gelu})
    nanStays(each);
}

/// Numbers other than bf16, ragged and wide enough for every loop.
TEST_P(LayerKernels, Elements) {
  for (auto [element, tf32] : {std::pair(Element::F16, false),
                               {Element::F32, false},
                               {Element::F32, true}}) {
    LayerShape shape{4, 1100, 37, 50, 2};
    shape.element = element;
    shape.tf32 = tf32;
    shape.hasUpBias = shape.hasDownBias = true;
    Layer layer(shape, {0, 1, -1, 2, 3, 1});
    for (int64_t tokens : {0, 1, 13})
      check(layer, layer.makeCase(tokens));
    shape.inputs = 64, shape.hidden = 19, shape.outputs = 140;
    shape.hasUpBias = shape.hasDownBias = false;
    Layer wide(shape, {0, 1, 2, 3});
    for (int64_t tokens : {1, 150})
      check(wide, wide.makeCase(tokens));
    shape.activation = Activation::Gelu;
    Layer gelu(shape, {0, 1, 2, 3});
    check(gelu, gelu.makeCase(5));
  }
}

/// Weights that multiply what experts read, also of slots that share an expert.
TEST_P(LayerKernels, WeightsOfInputs) {
  for (Element element : {Element::BF16, Element::F16, Element::F32})
    for (bool isGlu : {false, true}) {
      if (element != Element::BF16 && !isGlu)
        continue;
      LayerShape shape{3, 40, 19, 50, 2, isGlu};
      shape.element = element;
      shape.scaleInput = true;
      shape.outputScale = 0.5;
      shape.hasUpBias = shape.hasDownBias = isGlu;
      Layer layer(shape, {0, -1, 1, 2, 1});
      for (int64_t tokens : {1, 9, 70})
        check(layer, layer.makeCase(tokens));
    }
  LayerShape shape{2, 64, 24, 32, 1};
  shape.scaleInput = true;
  Layer one(shape, {1, 0});
  check(one, one.makeCase(12));
}

/// Matrices in two factors: either or both, of ranks that fill no tile.
TEST_P(LayerKernels, Factors) {
  for (auto [upRank, downRank, element] : {std::tuple(5, 0, Element::BF16),
                                           {0, 12, Element::F32},
                                           {20, 3, Element::F16},
                                           {33, 70, Element::BF16},
                                           {33, 70, Element::F32}}) {
    LayerShape shape{4, 72, 90, 50, 2, upRank != 5};
    shape.element = element;
    shape.upRank = upRank;
    shape.downRank = downRank;
    shape.hasUpBias = shape.hasDownBias = upRank == 20;
    shape.scaleInput = downRank == 70;
    Layer layer(shape, {0, 1, -1, 2, 3, 1});
    for (int64_t tokens : {0, 1, 80})
      check(layer, layer.makeCase(tokens));
  }
}

/// Nothing shares a bank of shared memory; with few tokens weights are read in
/// whole sectors, and once.
TEST_P(LayerKernels, MovesNoMoreThanItMust) {
  for (Element element : {Element::BF16, Element::F16, Element::F32}) {
    LayerShape shape{4, 512, 64, 512, 2};
    shape.element = element;
    Layer layer(shape, {0, 1, 2, 3});
    Case test = layer.makeCase(GetParam() ? 40 : 1);
    emu::Counts counts = count(layer, test);
    // Two experts of the token.
    uint64_t weights =
        2 * (2 * 64 * 512 + 512 * 64) * (element == Element::F32 ? 4 : 2);
    uint64_t found = 0, shared = 0;
    for (const emu::SiteCounts &site : counts.sites) {
      EXPECT_EQ(site.bankConflicts, 0u) << site.site;
      shared += site.shared.requests;
      if (site.site.find("streaming") == std::string::npos)
        continue;
      EXPECT_EQ(site.sectors * 32, site.global.bytesRead) << site.site;
      found += site.global.bytesRead;
    }
    EXPECT_GT(shared, 0u);
    EXPECT_EQ(found, GetParam() ? 0 : weights);
  }
}

INSTANTIATE_TEST_SUITE_P(, LayerKernels, testing::Bool(),
                         [](const testing::TestParamInfo<bool> &info) {
                           return info.param ? "Grouped" : "Decode";
                         });
} // namespace
