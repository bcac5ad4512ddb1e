// The kernel of moert.route.
#include "test/unit/codegen/OpFixture.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace moe;
using namespace moe::test;

namespace {
struct Routing {
  int64_t experts, choices;
  std::string score = "softmax";
  bool selectFirst = false, normalize = false, hasBias = false;
  double epsilon = 0, scale = 1;
  int64_t groups = 0, topGroups = 0;
  bool groupTop2 = false;
  double maskValue = 0;
  bool tiesHigh = false;
  double skipRatio = -1;
  int64_t count = 0; ///< given by the host, where it is not 0

  std::string text() const;
  /// Ids and weights of a token.
  void token(const double *logits, const double *bias, std::vector<double> &ids,
             std::vector<double> &weights) const;
};

std::string typed(const char *name, double value) {
  std::string text(64, '\0');
  text.resize(std::snprintf(text.data(), text.size(), ", %s = %.17e : f64",
                            name, value));
  return text;
}

std::string Routing::text() const {
  std::string e = std::to_string(experts), k = std::to_string(choices);
  std::string l = "memref<?x" + e + "xf32>", b = "memref<" + e + "xf32>";
  std::string i = "memref<?x" + k + "xi32>", w = "memref<?x" + k + "xf32>";
  auto flag = [](bool is, const char *name) {
    return is ? std::string(", ") + name : std::string();
  };
  return "func.func @f(%l: " + l + ", %b: " + b + ", %n: index, %i: " + i +
         ", %w: " + w + ") {\n moert.route " + score + " ins(%l : " + l + ") " +
         (hasBias ? "choice_bias(%b : " + b + ") " : "") +
         (count ? "dynamic %n " : "") + "outs(%i, %w : " + i + ", " + w +
         ") {layer = \"the layer\"" + flag(selectFirst, "select_first") +
         flag(normalize, "normalize") + flag(groupTop2, "group_top2") +
         flag(tiesHigh, "ties_high") + typed("norm_epsilon", epsilon) +
         typed("scale", scale) + ", groups = " + std::to_string(groups) +
         " : i64, top_groups = " + std::to_string(topGroups) + " : i64" +
         typed("group_mask_value", maskValue) +
         (skipRatio >= 0 ? typed("skip_ratio", skipRatio) : "") +
         "}\n return\n}";
}

void softmax(std::vector<double> &values) {
  double top = *std::max_element(values.begin(), values.end()), sum = 0;
  for (double &v : values)
    sum += v = std::exp(v - top);
  for (double &v : values)
    v /= sum;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// The best of `values`, ties to the lower one or the higher one.
std::vector<int64_t> sorted(const std::vector<double> &values, bool high) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (values[a] != values[b])
      return values[a] > values[b];
    return high ? a > b : a < b;
  });
  return order;
}

void Routing::token(const double *logits, const double *bias,
                    std::vector<double> &ids,
                    std::vector<double> &weights) const {
  std::vector<double> scores(logits, logits + experts);
  if (!selectFirst && score == "softmax")
    softmax(scores);
  if (!selectFirst && score == "sigmoid")
    for (double &s : scores)
      s = sigmoid(s);
  std::vector<double> choice = scores;
  for (int64_t e = 0; hasBias && e < experts; ++e)
    choice[e] += bias[e];
  if (groups) {
    int64_t size = experts / groups;
    std::vector<double> ranks;
    for (int64_t g = 0; g < groups; ++g) {
      std::vector<double> members(choice.begin() + g * size,
                                  choice.begin() + (g + 1) * size);
      std::sort(members.rbegin(), members.rend());
      ranks.push_back(members[0] + (groupTop2 && size > 1 ? members[1] : 0));
    }
    std::vector<int64_t> order = sorted(ranks, false);
    for (int64_t r = topGroups; r < groups; ++r)
      std::fill_n(choice.begin() + order[r] * size, size, maskValue);
  }
  std::vector<int64_t> order = sorted(choice, tiesHigh);
  int64_t most = count ? count : choices;
  std::vector<double> chosen;
  for (int64_t j = 0; j < most; ++j)
    chosen.push_back(scores[order[j]]);
  if (selectFirst && score == "softmax")
    softmax(chosen);
  if (selectFirst && score == "sigmoid")
    for (double &s : chosen)
      s = sigmoid(s);
  auto divide = [&](double sum) {
    for (double &c : chosen)
      c = sum == 0 ? 0 : c / sum;
  };
  if (normalize)
    divide(std::accumulate(chosen.begin(), chosen.end(), epsilon));
  std::vector<bool> isEmpty(choices);
  if (skipRatio >= 0) {
    double least = chosen[0] * skipRatio;
    bool any = false;
    for (int64_t j = 1; j < most; ++j)
      if (chosen[j] < least)
        chosen[j] = 0, isEmpty[j] = any = true;
    if (any && (normalize || (selectFirst && score == "softmax")))
      divide(std::accumulate(chosen.begin(), chosen.end(), 0.0));
  }
  for (int64_t j = 0; j < choices; ++j) {
    bool is = j < most && !isEmpty[j];
    ids.push_back(is ? order[j] : -1);
    weights.push_back(is ? chosen[j] * scale : 0);
  }
}

class RouteKernel : public OpKernels {
protected:
  void check(const Routing &routing, Array logits);
  void check(const Routing &routing, int64_t tokens = 5) {
    check(routing, random({tokens, routing.experts}, 2));
  }
};

void RouteKernel::check(const Routing &routing, Array logits) {
  int64_t tokens = logits.shape[0];
  // What the kernel sees of them; differences decide.
  for (double &l : logits.values)
    l = roundedTo(Float32Type::get(&context), l);
  Array bias({routing.experts}, [](int64_t e) { return e * 37 % 16 / 64.0; });
  Array slots({tokens, routing.choices}, [](int64_t) { return 77; });
  auto out =
      run(routing.text(), {logits, bias, Array(routing.count), slots, slots});
  if (out.empty())
    return;
  std::vector<double> ids, weights;
  for (int64_t t = 0; t < tokens; ++t)
    routing.token(logits.values.data() + t * routing.experts,
                  bias.values.data(), ids, weights);
  expectNear(out[3], ids, 0);
  expectNear(out[4], weights, 2e-6, 1e-12);
  expectFault(0);
}

TEST_F(RouteKernel, Scores) {
  for (const char *score : {"softmax", "sigmoid", "none"})
    for (bool selectFirst : {false, true})
      for (bool normalize : {false, true}) {
        SCOPED_TRACE(score + std::string(selectFirst ? " late" : "") +
                     (normalize ? " norm" : ""));
        Routing routing{40, 3, score, selectFirst, normalize};
        if (std::string(score) == "none" && normalize)
          continue; // sums that vanish
        check(routing);
      }
}

TEST_F(RouteKernel, Sizes) {
  check({1, 1});
  check({3, 3});
  check({16, 2, "softmax", true}, 0);
  check({16, 2, "softmax", true}, 1);
  check({16, 2, "softmax", true}, 29);
  check({128, 8, "softmax", false, true});
  check({513, 10, "softmax", true});
  check({70, 45, "sigmoid", false, true});
  check({70, 64, "softmax", true});
}

TEST_F(RouteKernel, BiasScaleAndGroups) {
  Routing routing{64, 6, "sigmoid", false, true, true, 1e-20, 2.5};
  check(routing);
  routing.groups = 8, routing.topGroups = 3;
  check(routing);
  routing.groupTop2 = true;
  check(routing);
  Routing deepseek{256,   8,   "sigmoid", false, true, true,
                   1e-20, 2.5, 8,         4,     true};
  deepseek.maskValue = -1e30;
  check(deepseek);
  check({12, 2, "softmax", false, false, false, 0, 16, 4, 2});
  check({5, 2, "softmax", false, false, false, 0, 1, 5, 3, true});
}

TEST_F(RouteKernel, CountsAndSkips) {
  for (int64_t count : {1, 2, 4}) {
    Routing routing{20, 4, "softmax", true};
    routing.count = count;
    check(routing);
    routing.selectFirst = false, routing.normalize = true;
    routing.skipRatio = 0.4;
    routing.scale = 1.5;
    check(routing, 12);
  }
  for (bool selectFirst : {false, true})
    for (bool normalize : {false, true}) {
      Routing routing{20, 4, "softmax", selectFirst, normalize};
      routing.skipRatio = 0.5;
      check(routing, 12);
    }
}

TEST_F(RouteKernel, Ties) {
  for (bool high : {false, true})
    for (const char *score : {"softmax", "none"}) {
      Routing routing{70, 5, score};
      routing.tiesHigh = high;
      check(routing, Array({6, 70}, [](int64_t i) {
              return i / 70 == 0 ? 1.0 : i * 31 % (i / 70 + 1);
            }));
    }
  Routing groups{12, 4, "none"};
  groups.groups = 4, groups.topGroups = 2;
  groups.maskValue = -5;
  check(groups, Array({2, 12}, [](int64_t i) { return i < 12 ? 1 : i % 3; }));
}

TEST_F(RouteKernel, Infinities) {
  // Masked experts: all but one, and all but fewer than are chosen.
  Routing routing{40, 3};
  Array logits = random({2, 40});
  for (int64_t e = 0; e < 40; ++e)
    if (e % 7)
      logits.at({0, e}) = -INFINITY;
  for (int64_t e = 0; e < 40; ++e)
    if (e != 35)
      logits.at({1, e}) = -INFINITY;
  check(routing, logits);
}

TEST_F(RouteKernel, NaNIsAFault) {
  Routing routing{40, 3, "softmax", true};
  Array logits = random({21, 40});
  logits.at({19, 38}) = NAN;
  Array slots({21, 3}, [](int64_t) { return 0; });
  auto out =
      run(routing.text(), {logits, random({40}), Array(0.0), slots, slots});
  expectFault(1 + 19);
  EXPECT_EQ(faultMessage,
            "a router logit of layer '%s' is not a number (token %lld)");
  EXPECT_EQ(faultWhere, "the layer");
  for (double id : out[3].values)
    EXPECT_TRUE(id >= 0 && id < 40);
  for (double &l : logits.values)
    l = NAN;
  out = run(routing.text(), {logits, random({40}), Array(0.0), slots, slots});
  EXPECT_GT(fault, 0);
  for (double id : out[3].values)
    EXPECT_TRUE(id >= 0 && id < 40);
}

TEST_F(RouteKernel, Refusals) {
  EXPECT_EQ(refusal(Routing{1025, 2}.text()),
            "it has more than 1024 experts, or none");
  Routing routing{66, 2};
  routing.groups = 33, routing.topGroups = 2;
  EXPECT_EQ(refusal(routing.text()), "it has more than 32 groups of experts");
}
} // namespace
