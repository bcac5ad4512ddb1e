#include "runtime/Core/ChooseToken.h"
#include "runtime/Runner/Random.h"
#include "gtest/gtest.h"

#include <cmath>
#include <map>

using namespace moe::rt;

namespace {

TEST(ChooseToken, ZeroTemperatureIsTheLowestMaximum) {
  double logits[] = {1, 5, 5, -INFINITY};
  for (double uniform : {0.0, 0.5, 0.99})
    EXPECT_EQ(chooseToken(logits, 4, 0, 0, uniform), 1);
  double one[] = {-INFINITY};
  EXPECT_EQ(chooseToken(one, 1, 0, 0, 0), 0);
}

TEST(ChooseToken, FollowsTheDistribution) {
  double logits[] = {0, std::log(2.0), std::log(5.0), -INFINITY};
  // In the order of ids: up to 1/8, 3/8, 1.
  EXPECT_EQ(chooseToken(logits, 4, 1, 0, 0), 0);
  EXPECT_EQ(chooseToken(logits, 4, 1, 0, 0.1249), 0);
  EXPECT_EQ(chooseToken(logits, 4, 1, 0, 0.1251), 1);
  EXPECT_EQ(chooseToken(logits, 4, 1, 0, 0.3749), 1);
  EXPECT_EQ(chooseToken(logits, 4, 1, 0, 0.3751), 2);
  EXPECT_EQ(chooseToken(logits, 4, 1, 0, 0.9999999), 2);
  std::map<int64_t, int> counts;
  Random random(42);
  for (int i = 0; i < 8000; ++i)
    ++counts[chooseToken(logits, 4, 1, 0, random.unit())];
  EXPECT_NEAR(counts[0], 1000, 130); // 4 standard deviations
  EXPECT_NEAR(counts[1], 2000, 155);
  EXPECT_NEAR(counts[2], 5000, 175);
  EXPECT_EQ(counts[3], 0);
}

TEST(ChooseToken, HonoursTopKAndTemperature) {
  double logits[] = {0, 3, 2, 1};
  // Nearly equal weights of the two largest.
  EXPECT_EQ(chooseToken(logits, 4, 100, 2, 0.49), 1);
  EXPECT_EQ(chooseToken(logits, 4, 100, 2, 0.51), 2);
  EXPECT_EQ(chooseToken(logits, 4, 100, 9, 0.99), 3);
  EXPECT_EQ(chooseToken(logits, 4, 0.01, 0, 0.999), 1);
  EXPECT_EQ(chooseToken(logits, 4, 5, 1, 0.999), 1);
}

TEST(ChooseToken, KeepsTheLowerOfEqualLogits) {
  double logits[] = {1, 1, 2, 1};
  for (double uniform : {0.0, 0.3, 0.6, 0.999})
    EXPECT_NE(chooseToken(logits, 4, 1000, 3, uniform), 3);
  EXPECT_EQ(chooseToken(logits, 4, 1000, 3, 0.999), 2);
  EXPECT_EQ(chooseToken(logits, 4, 1000, 3, 0.5), 1);
}

TEST(ChooseToken, KnowsInfinitiesAndNaN) {
  double certain[] = {0, INFINITY};
  EXPECT_EQ(chooseToken(certain, 2, 1, 0, 0.5), 1);
  double two[] = {INFINITY, 0, INFINITY};
  EXPECT_EQ(chooseToken(two, 3, 1, 0, 0.49), 0);
  EXPECT_EQ(chooseToken(two, 3, 1, 0, 0.51), 2);
  double none[] = {-INFINITY, -INFINITY};
  EXPECT_EQ(chooseToken(none, 2, 1, 0, 0.51), 1);
  double broken[] = {0, NAN};
  EXPECT_EQ(chooseToken(broken, 2, 1, 0, 0.5), -2);
  EXPECT_EQ(chooseToken(broken, 2, 0, 0, 0.5), -2);
}

} // namespace
