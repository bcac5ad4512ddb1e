#include "test/unit/codegen/LayerCases.h"
#include <cmath>

using namespace moe;
using namespace moe::test;

void LayerCases::check(Layer &layer, const Case &test) {
  layer.onHopper = onHopper;
  checkLayer(context, layer, test, grouped);
}

void LayerCases::allTokensToOneExpert(int64_t tokens) {
  Layer layer({4, 64, 32, 64, 2}, {0, 1, 2, 3});
  Case test = layer.makeCase(tokens);
  for (size_t i = 0; i < test.ids.size(); ++i)
    test.ids[i] = i % 2 ? 3 : 1;
  check(layer, test);
}

void LayerCases::nullExpertsAndAliases() {
  Layer layer({3, 64, 32, 64, 3}, {-1, 0, 1, -1, 2, 1});
  check(layer, layer.makeCase(9));
  // Skipped slots, and tokens without any expert.
  Case test = layer.makeCase(9);
  for (size_t i = 0; i < test.ids.size(); ++i)
    if (i < 6 || i % 4 == 0)
      test.ids[i] = i % 2 ? -1 : 0;
  check(layer, test);
}

void LayerCases::oddSizes() {
  Layer layer({5, 37, 19, 50, 2}, {0, 1, 2, 3, 4});
  check(layer, layer.makeCase(6));
}

void LayerCases::activation(cuda::Activation activation) {
  for (bool isGlu : {false, true}) {
    Layer layer({3, 64, 24, 32, 2, isGlu, activation}, {0, 1, 2});
    check(layer, layer.makeCase(4));
  }
}

void LayerCases::activationsWithLimits() {
  Layer clamped({3, 64, 24, 32, 2, false, cuda::Activation::Silu, 1.3, 0, 0.5},
                {0, 1, 2});
  check(clamped, clamped.makeCase(4));
  Layer layer({3, 64, 24, 32, 2, true, cuda::Activation::Silu, 1.702, 1, 0.7},
              {0, 1, 2});
  check(layer, layer.makeCase(4));
}

void LayerCases::biases() {
  for (bool isGlu : {false, true}) {
    cuda::LayerShape shape{3, 40, 19, 50, 2, isGlu};
    shape.hasUpBias = true;
    Layer up(shape, {0, -1, 1, 2});
    check(up, up.makeCase(7));
    shape.hasDownBias = true;
    Layer both(shape, {0, -1, 1, 2});
    check(both, both.makeCase(7));
    // Null experts have none.
    Case test = both.makeCase(3);
    std::fill(test.ids.begin(), test.ids.end(), 1);
    check(both, test);
  }
}

void LayerCases::nanStays(cuda::Activation activation) {
  for (bool isGlu : {false, true}) {
    Layer layer({3, 40, 24, 32, 2, isGlu, activation, 1, 0, 0.5}, {0, 1, 2});
    layer.onHopper = onHopper;
    Case test = layer.makeCase(5);
    test.x[2 * 40 + 7] = NAN;
    test::Device device(context, layer, grouped);
    device.expected = expectedOf(layer, test, grouped);
    std::vector<float> out = device.run(test);
    ASSERT_EQ(device.error, "");
    for (int64_t i = 0; i < 5 * 32; ++i)
      EXPECT_EQ(std::isnan(out[i]), i / 32 == 2) << i;
  }
}

emu::Counts LayerCases::count(Layer &layer, const Case &test) {
  layer.onHopper = onHopper;
  test::Device device(context, layer, grouped);
  if (device.recorder)
    device.expected = expectedOf(layer, test, grouped);
  device.options.count = true;
  device.run(test);
  EXPECT_EQ(device.error, "");
  return std::move(device.counts);
}
