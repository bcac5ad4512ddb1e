// The kernels of moert.attention.
#include "test/unit/codegen/OpFixture.h"
#include <cmath>

using namespace mlir;
using namespace moe;
using namespace moe::test;

namespace {
struct Form {
  int64_t heads, keyHeads, features;
  bool causal = true;
  int64_t window = 0;
  double softcap = 0;
  std::string mask = "", bias = ""; ///< element types, where there are any
  bool uniform = false;
  std::string type = "f32";
  int64_t biasBatch = 1, biasHeads = 1;
  int64_t spare = 0; ///< rows of keys and values behind those of a head
  std::string spread = "";

  std::string text() const;
};

constexpr double kScale = 0.3;

std::string Form::text() const {
  std::string h = std::to_string(heads), g = std::to_string(keyHeads);
  std::string d = std::to_string(features) + "x" + type + ">";
  std::string q = "memref<?x?x" + h + "x" + d, kv = "memref<?x" + g + "x?x" + d;
  if (!spread.empty())
    kv.replace(kv.size() - 1, 1, ", strided<[" + spread + "]>>");
  std::string m = "memref<?x?x" + (mask.empty() ? "i1" : mask) + ">";
  std::string b = "memref<?x?x?x?x" + (bias.empty() ? "f32" : bias) + ">";
  return "func.func @f(%q: " + q + ", %k: " + kv + ", %v: " + kv +
         ", %m: " + m + ", %b: " + b + ", %y: " + q +
         ") {\n moert.attention ins(%q, %k, %v : " + q + ", " + kv + ", " + kv +
         ") " + (mask.empty() ? "" : "key_mask(%m : " + m + ") ") +
         (bias.empty() ? "" : "bias(%b : " + b + ") ") + "outs(%y : " + q +
         ") scale " + std::to_string(kScale) + (causal ? " causal" : "") +
         " {window = " + std::to_string(window) +
         " : i64, softcap = " + std::to_string(softcap) + " : f64" +
         (uniform ? ", masked_row = 1 : i32" : "") + "}\n return\n}";
}

class AttentionKernel : public OpKernels {
protected:
  /// `past` keys, then those of `queries` queries; `change` may change any.
  void check(const Form &form, int64_t batch, int64_t queries, int64_t past,
             std::function<void(std::vector<Array> &)> change = nullptr);
};

void AttentionKernel::check(const Form &form, int64_t batch, int64_t queries,
                            int64_t past,
                            std::function<void(std::vector<Array> &)> change) {
  SCOPED_TRACE(form.text() + " batch " + std::to_string(batch) + " queries " +
               std::to_string(queries) + " past " + std::to_string(past));
  int64_t keys = past + queries, D = form.features;
  std::vector<Array> given = {
      random({batch, queries, form.heads, D}),
      random({batch, form.keyHeads, keys, D}),
      random({batch, form.keyHeads, keys, D}),
      Array({batch, keys}, [](int64_t i) { return i % 3 != 1; }),
      random({form.biasBatch, form.biasHeads, queries, keys}),
      Array({batch, queries, form.heads, D}, [](int64_t) { return NAN; })};
  for (Array *rows : {&given[1], &given[2]})
    if (form.spare)
      rows->room = {batch, form.keyHeads, keys + form.spare, D};
  if (change)
    change(given);
  auto out = run(form.text(), given);
  if (out.empty())
    return;
  Array q = out[0], k = out[1], v = out[2], mask = out[3], bias = out[4];
  std::vector<double> want;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t s = 0; s < queries; ++s)
      for (int64_t h = 0; h < form.heads; ++h) {
        int64_t g = h / (form.heads / form.keyHeads);
        std::vector<double> scores, sums(D);
        double top = -INFINITY, total = 0;
        for (int64_t l = 0; l < keys; ++l) {
          double score = 0;
          for (int64_t d = 0; d < D; ++d)
            score += kScale * q.at({b, s, h, d}) * k.at({b, g, l, d});
          if (form.softcap > 0)
            score = form.softcap * std::tanh(score / form.softcap);
          if (!form.bias.empty())
            score += bias.at({b % form.biasBatch, h % form.biasHeads, s, l});
          bool seen = (!form.causal || l <= s + past) &&
                      (form.window == 0 || l > s + past - form.window) &&
                      (form.mask.empty() || mask.at({b, l}) != 0);
          scores.push_back(seen ? score : -INFINITY);
          top = std::max(top, scores.back());
        }
        bool isBlind = top == -INFINITY;
        for (int64_t l = 0; l < keys; ++l) {
          double w = isBlind ? form.uniform : std::exp(scores[l] - top);
          total += w;
          for (int64_t d = 0; d < D && w != 0; ++d)
            sums[d] += w * v.at({b, g, l, d});
        }
        for (double sum : sums)
          want.push_back(isBlind && !form.uniform ? 0 : sum / total);
      }
  // Sums of products grow like a random walk, and each step rounds: at one
  // sigma by features / sqrt(2) halves of the last bit of one product. A weight
  // is off by as much, and by what exp is (2 units). Five sigma are allowed.
  double square = 0;
  for (double x : q.values)
    square += x * x / static_cast<double>(q.size());
  double sums =
      kScale * std::sqrt(square) * static_cast<double>(D) * M_SQRT1_2 * 0x1p-24;
  double relative = 5 * (sums + 0x1p-22), absolute = relative;
  if (form.type != "f32")
    relative += 0x1p-8, absolute += 1e-5;
  // Weights and values have 11 bits, and so have the factors of products: a sum
  // of these is off by sqrt(2 features / 3) halves of the last bit at one
  // sigma; five are allowed.
  if (mayRound) {
    double product = std::sqrt(2.0 * form.features / 3) * 0x1p-11;
    relative += 0x1p-10, absolute += 0x1p-10 + 5 * kScale * product;
  }
  expectNear(out[5], want, relative, absolute);
}

TEST_F(AttentionKernel, PrefillAndDecode) {
  Form form{6, 2, 32};
  check(form, 2, 5, 0);
  check(form, 1, 1, 0);
  check(form, 2, 1, 40);
  check(form, 1, 37, 3);
  check(form, 1, 0, 4);
  check(form, 0, 3, 0);
  check(form, 1, 70, 0);
  // Several blocks of keys to a warp; long pasts, which few tiles would read.
  check(form, 1, 1, 300);
  check({8, 1, 16}, 1, 3, 530);
}

// Rows whose keys several blocks have, some of which see none.
TEST_F(AttentionKernel, LongPasts) {
  Form form{4, 2, 20};
  check(form, 1, 1, 600);
  check(form, 2, 2, 511);
  form.mask = "i1", form.uniform = true;
  check(form, 2, 1, 599, [](std::vector<Array> &given) {
    for (int64_t l = 0; l < 600; ++l)
      given[3].at({0, l}) = 0, given[3].at({1, l}) = l < 7 || l > 520;
  });
  form.mask = "", form.window = 60;
  check(form, 1, 1, 700);
}

TEST_F(AttentionKernel, Heads) {
  check({1, 1, 5}, 2, 7, 2);
  check({4, 4, 64}, 1, 9, 1);
  check({8, 1, 80}, 1, 3, 35);
  check({3, 3, 100, false}, 1, 4, 4);
}

// Heads that share keys are one block's, up to eight and as many as there are
// registers for; those behind the last are nobody's.
TEST_F(AttentionKernel, SharedKeys) {
  for (int64_t group : {2, 3, 4, 5, 8, 12})
    check({2 * group, 2, 24}, 2, 1, 45);
  check({7, 1, 64}, 1, 2, 290);
  check({8, 1, 256}, 1, 1, 40);
  check({6, 2, 300}, 1, 1, 33);
  Form form{10, 2, 16};
  form.mask = "i1", form.uniform = true, form.bias = "f32", form.biasHeads = 10;
  check(form, 2, 1, 530, [](std::vector<Array> &given) {
    for (int64_t l = 0; l < 531; ++l)
      given[3].at({0, l}) = 0;
  });
}

// Numbers of features by which 32 keys cannot be divided evenly.
TEST_F(AttentionKernel, OddNumbersOfFeatures) {
  for (int64_t features : {130, 144, 160, 192, 320})
    check({1, 1, features}, 1, 1, 40);
  check({4, 2, 192}, 1, 1, 70);
}

TEST_F(AttentionKernel, WindowCapAndMasks) {
  Form form{4, 2, 16};
  form.window = 9;
  check(form, 1, 50, 0);
  check(form, 1, 1, 60);
  form.causal = false;
  check(form, 1, 20, 3);
  form.window = 0, form.softcap = 1.5;
  check(form, 1, 12, 20);
  for (const char *type : {"i1", "i64", "f32"}) {
    form.mask = type;
    form.causal = !form.causal;
    check(form, 2, 7, 4);
  }
  form.bias = "f32";
  check(form, 2, 7, 4);
  form.biasBatch = 2, form.biasHeads = 4;
  form.bias = "bf16", form.mask = "";
  check(form, 2, 5, 40);
}

TEST_F(AttentionKernel, RowsThatSeeNothing) {
  for (bool uniform : {false, true}) {
    Form form{2, 1, 33};
    form.mask = "i1", form.uniform = uniform;
    check(form, 2, 4, 3, [](std::vector<Array> &given) {
      for (int64_t l = 0; l < 5; ++l)
        given[3].at({1, l}) = 0;
    });
  }
}

TEST_F(AttentionKernel, WhatIsHiddenCountsForNothing) {
  Form form{2, 1, 16};
  form.mask = "i1";
  check(form, 1, 3, 3, [](std::vector<Array> &given) {
    given[3].at({0, 2}) = 0;
    for (int64_t d = 0; d < 16; ++d)
      given[1].at({0, 0, 2, d}) = given[2].at({0, 0, 2, d}) = NAN;
  });
  // A number that is none stays one where it is seen.
  form.mask = "";
  Array q = random({1, 3, 2, 16}), kv = random({1, 1, 3, 16}), v = kv;
  v.at({0, 0, 1, 4}) = NAN;
  Array out =
      run(form.text(), {q, kv, v, random({1, 3}), random({1, 1, 3, 3}), q})[5];
  for (int64_t s = 0; s < 3; ++s)
    EXPECT_EQ(std::isnan(out.at({0, s, 0, 4})), s >= 1);
}

TEST_F(AttentionKernel, LargeScores) {
  check({2, 2, 32}, 1, 3, 60, [](std::vector<Array> &given) {
    for (double &x : given[0].values)
      x *= 30;
  });
}

TEST_F(AttentionKernel, NarrowTypes) {
  for (const char *type : {"bf16", "f16"}) {
    Form form{4, 2, 64};
    form.type = type;
    check(form, 1, 9, 30);
    check(form, 2, 1, 33);
  }
}

// Keys and values of a cache, which has room for more.
TEST_F(AttentionKernel, ByTheTensorCore) {
  mayRound = true;
  check({6, 2, 32}, 2, 6, 0);
  check({6, 2, 32}, 2, 70, 3);
  check({1, 1, 20}, 1, 150, 0);
  check({2, 2, 5}, 1, 30, 40);
  check({8, 1, 144}, 1, 3, 90);
  check({2, 1, 256}, 1, 9, 20);
  Form form{4, 2, 64};
  form.type = "bf16";
  form.spread = "?, ?, 64, 1", form.spare = 9;
  check(form, 1, 33, 60);
  form.type = "f32", form.window = 9;
  check(form, 1, 50, 0);
  form.causal = false, form.softcap = 1.5, form.window = 0;
  form.mask = "i64", form.bias = "f32";
  check(form, 2, 20, 80);
}

TEST_F(AttentionKernel, ByTheTensorCoreWhatIsHidden) {
  mayRound = true;
  for (bool uniform : {false, true}) {
    Form form{4, 1, 33};
    form.mask = "i1", form.uniform = uniform;
    check(form, 2, 8, 3, [](std::vector<Array> &given) {
      for (int64_t l = 0; l < 5; ++l)
        given[3].at({1, l}) = 0;
      for (int64_t d = 0; d < 33; ++d)
        given[1].at({1, 0, 2, d}) = given[2].at({1, 0, 2, d}) = NAN;
    });
  }
}

// Numbers that are none, or none in f16, are so where they are seen.
TEST_F(AttentionKernel, ByTheTensorCoreWhatIsNoNumber) {
  mayRound = true;
  Form form{4, 1, 16};
  for (double odd : {double(NAN), double(INFINITY), 1e5})
    for (int64_t feature : {0, 1, 2, 3, 13}) {
      Array q = random({1, 6, 4, 16}), kv = random({1, 1, 6, 16}), v = kv;
      v.at({0, 0, 3, feature}) = odd;
      Array out = run(form.text(),
                      {q, kv, v, random({1, 6}), random({1, 1, 6, 6}), q})[5];
      for (int64_t s = 0; s < 6; ++s)
        for (int64_t d = 0; d < 16; ++d)
          ASSERT_EQ(std::isnan(out.at({0, s, 2, d})), d == feature && s >= 3)
              << odd << " at feature " << feature;
    }
}

TEST_F(AttentionKernel, RowsWithRoomBehindThem) {
  Form form{6, 2, 32};
  form.spread = "?, ?, 32, 1", form.spare = 27;
  check(form, 2, 5, 0);
  check(form, 2, 1, 40);
  check(form, 1, 37, 3);
  form.type = "bf16";
  check(form, 2, 3, 20);
}

TEST_F(AttentionKernel, Refusals) {
  Form apart{6, 2, 32};
  apart.spread = "?, ?, 64, 1";
  EXPECT_EQ(refusal(apart.text()), "rows of keys or values are not dense");
  apart.spread = "?, ?, ?, 1";
  EXPECT_EQ(refusal(apart.text()), "rows of keys or values are not dense");
  EXPECT_EQ(refusal(Form{1, 1, 513}.text()),
            "heads have more than 512 features, none, or no known number of "
            "them");
}
} // namespace
