// Which experts are alike, on fixtures whose answers can be worked out by hand
// or by brute force.
#include "passes/Compress/Similarity.h"
#include "CompressFixtures.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Compress/Assignment.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace moe;

namespace {
double gainOf(const Numbers &gain, const std::vector<int64_t> &order) {
  double sum = 0;
  for (int64_t i = 0; i < gain.rows; ++i)
    sum += gain.at(i, order[i]);
  return sum;
}
} // namespace

TEST(Assignment, IsAsGoodAsTheBestOfAllPermutations) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    int64_t n = 1 + seed % 7;
    Numbers gain = drawn(n, n, seed);
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    double best = gainOf(gain, order);
    while (std::next_permutation(order.begin(), order.end()))
      best = std::max(best, gainOf(gain, order));
    std::vector<int64_t> found = assign(gain);
    EXPECT_NEAR(gainOf(gain, found), best, 1e-12) << "seed " << seed;
    std::sort(found.begin(), found.end());
    for (int64_t i = 0; i < n; ++i)
      EXPECT_EQ(found[i], i);
  }
}

TEST(Assignment, UndoesAPermutation) {
  // Products of rows with themselves are the greatest, by Cauchy-Schwarz.
  int64_t n = 40;
  Numbers rows = drawn(n, 64, 1), shuffled(n, 64);
  std::vector<int64_t> place(n);
  std::iota(place.begin(), place.end(), 0);
  std::shuffle(place.begin(), place.end(), std::mt19937(2));
  for (int64_t r = 0; r < n; ++r)
    for (int64_t c = 0; c < 64; ++c)
      shuffled.at(place[r], c) = rows.at(r, c);
  EXPECT_EQ(assign(timesTransposed(rows, shuffled)), place);
}

TEST(Assignment, TakesEqualAndNegativeGains) {
  std::vector<int64_t> order = assign(matrix(3, 3, std::vector<double>(9, -4)));
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2}));
}

TEST(Similarity, LeadersGatherWhatIsMostLikeThem) {
  Numbers alike = matrix(5, 5, {1,  .1, .9, .2, .3, //
                                .1, 1,  .2, .8, .4, //
                                .9, .2, 1,  .1, .1, //
                                .2, .8, .1, 1,  .5, //
                                .3, .4, .1, .5, 1});
  // Most used: 2, then 3. Expert 4 is more like 3, expert 0 like 2.
  EXPECT_EQ(groupByLeaders({.1, .05, .5, .3, .05}, alike, 2),
            (Groups{{2, 0}, {3, 1, 4}}));
  // Equal use: the lower number leads.
  EXPECT_EQ(groupByLeaders({.2, .2, .2, .2, .2}, alike, 2),
            (Groups{{0, 2}, {1, 3, 4}}));
  EXPECT_EQ(groupByLeaders({.2, .2, .2, .2, .2}, alike, 5),
            (Groups{{0}, {1}, {2}, {3}, {4}}));
}

TEST(Similarity, LinkageJoinsByMeans) {
  // 0-1 first, then 2-3. {0, 1} to 4 has the mean .5, {2, 3} to 4 .45, although
  // 3-4 is the closest single pair that is left.
  Numbers alike = matrix(5, 5, {1,  .9, .1, .1, .5, //
                                .9, 1,  .1, .1, .5, //
                                .1, .1, 1,  .8, .2, //
                                .1, .1, .8, 1,  .7, //
                                .5, .5, .2, .7, 1});
  EXPECT_EQ(groupByLinkage(alike, 5), (Groups{{0}, {1}, {2}, {3}, {4}}));
  EXPECT_EQ(groupByLinkage(alike, 3), (Groups{{0, 1}, {2, 3}, {4}}));
  EXPECT_EQ(groupByLinkage(alike, 2), (Groups{{0, 1, 4}, {2, 3}}));
  EXPECT_EQ(groupByLinkage(alike, 1), (Groups{{0, 1, 2, 3, 4}}));
  // Ties go to the lowest pair.
  EXPECT_EQ(groupByLinkage(matrix(3, 3, std::vector<double>(9, 1)), 2),
            (Groups{{0, 1}, {2}}));
}

TEST(Similarity, GlobalBudgetGoesWhereUseIsSpread) {
  using Use = std::vector<std::vector<double>>;
  // The most used expert of each layer always leads; behind them come .3, .28.
  EXPECT_EQ(spendGroups(Use{{.5, .3, .15, .05}, {.3, .28, .22, .20}}, 2),
            (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(spendGroups(Use{{.9, .05, .03, .02}, {.3, .28, .22, .20}}, 2),
            (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(spendGroups(Use{{.9, .1}, {.6, .4}}, 1),
            (std::vector<int64_t>{1, 1}));
  // All are kept where there is nothing to save; ties go to the lower layer.
  EXPECT_EQ(spendGroups(Use{{.9, .1}, {.6, .4}}, 2),
            (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(spendGroups(Use{{.25, .25, .25, .25}, {.25, .25, .25, .25}}, 3),
            (std::vector<int64_t>{4, 2}));
}

TEST(Similarity, CKAIgnoresRotationScaleAndShift) {
  Numbers a = drawn(30, 2, 3), b(30, 2), other = drawn(30, 2, 4);
  for (int64_t r = 0; r < a.rows; ++r) {
    b.at(r, 0) = 5 + 3 * (.6 * a.at(r, 0) - .8 * a.at(r, 1));
    b.at(r, 1) = -7 + 3 * (.8 * a.at(r, 0) + .6 * a.at(r, 1));
  }
  EXPECT_NEAR(linearCKA(a, b), 1, 1e-12);
  EXPECT_NEAR(linearCKA(a, other), linearCKA(b, other), 1e-12);
  EXPECT_NEAR(linearCKA(a, other), linearCKA(other, a), 1e-15);
  EXPECT_LT(linearCKA(a, other), 0.5);
  // By hand, centred: (-1, 0, 1) times (1, -2, 1) is 0; times (-1, -1, 2) / 3
  // it is 1, and |a^T b|^2 / (|a|^2 |b|^2) = 1 / (2 * 2/3).
  Numbers line = matrix(3, 1, {-1, 0, 1});
  EXPECT_NEAR(linearCKA(line, matrix(3, 1, {1, -2, 1})), 0, 1e-15);
  EXPECT_NEAR(linearCKA(line, matrix(3, 1, {1, 1, 2})), .75, 1e-15);
  // What does not vary is like nothing.
  EXPECT_EQ(linearCKA(line, matrix(3, 1, {2, 2, 2})), 0);
}

TEST(Similarity, PlantedPairsAreFound) {
  // arXiv 2407.09590: eight experts that are four, each twice under a rotation
  // and scale, which CKA of outputs does not see.
  std::vector<Numbers> outputs;
  for (unsigned e = 0; e < 8; ++e) {
    Numbers own = drawn(60, 2, 30 + e % 4), noise = drawn(60, 2, 40 + e);
    for (int64_t r = 0; r < 60; ++r) {
      double x = own.at(r, 0), y = own.at(r, 1);
      double c = std::cos(e), s = std::sin(e), scale = 1 + e;
      own.at(r, 0) = scale * (c * x - s * y) + .01 * noise.at(r, 0);
      own.at(r, 1) = scale * (s * x + c * y) + .01 * noise.at(r, 1);
    }
    outputs.push_back(std::move(own));
  }
  Numbers alike(8, 8);
  for (int64_t a = 0; a < 8; ++a)
    for (int64_t b = 0; b < 8; ++b)
      alike.at(a, b) = linearCKA(outputs[a], outputs[b]);
  EXPECT_EQ(groupByLinkage(alike, 4), (Groups{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
}

TEST(Assignment, FindsTheOrderOfHiddenUnits) {
  // arXiv 2406.18219, section 4: matrices of one function under another order
  // of hidden units look unrelated until they are aligned.
  int64_t hidden = 64, in = 32;
  Numbers w = drawn(hidden, in, 50), shuffled(hidden, in), gain(hidden, hidden);
  std::vector<int64_t> order(hidden);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(51));
  for (int64_t h = 0; h < hidden; ++h)
    for (int64_t c = 0; c < in; ++c)
      shuffled.at(order[h], c) = w.at(h, c);
  auto cosine = [&](const std::vector<int64_t> &places) {
    double both = 0, a = 0, b = 0;
    for (int64_t h = 0; h < hidden; ++h)
      for (int64_t c = 0; c < in; ++c) {
        both += w.at(h, c) * shuffled.at(places[h], c);
        a += w.at(h, c) * w.at(h, c);
        b += shuffled.at(h, c) * shuffled.at(h, c);
      }
    return both / std::sqrt(a * b);
  };
  std::vector<int64_t> same(hidden);
  std::iota(same.begin(), same.end(), 0);
  EXPECT_LT(std::abs(cosine(same)), .2);
  for (int64_t i = 0; i < hidden; ++i)
    for (int64_t j = 0; j < hidden; ++j)
      for (int64_t c = 0; c < in; ++c)
        gain.at(i, j) += w.at(i, c) * shuffled.at(j, c);
  EXPECT_EQ(assign(gain), order);
  EXPECT_NEAR(cosine(assign(gain)), 1, 1e-12);
}

TEST(Assignment, KendallTauCountsPairsOutOfOrder) {
  // arXiv 2406.18219, section 4.
  EXPECT_EQ(kendallTau({0, 1, 2, 3, 4}), 1);
  EXPECT_EQ(kendallTau({4, 3, 2, 1, 0}), -1);
  EXPECT_NEAR(kendallTau({1, 0, 2, 3}), .666667, 1e-6);
  EXPECT_EQ(kendallTau({0}), 1);
  // By brute force.
  std::vector<int64_t> order(50);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(52));
  int64_t sum = 0;
  for (size_t i = 0; i < 50; ++i)
    for (size_t j = 0; j < i; ++j)
      sum += order[j] < order[i] ? 1 : -1;
  EXPECT_NEAR(kendallTau(order), static_cast<double>(sum) / (50 * 49 / 2),
              1e-12);
}
