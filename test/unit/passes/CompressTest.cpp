// The plain functions behind the compress passes, on fixtures whose answers
// can be worked out by hand or by brute force.
#include "passes/Compress/Compress.h"
#include "dialects/RegisterDialects.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "passes/Analysis/LinearAlgebra.h"
#include "passes/Analysis/Quantization.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Assignment.h"
#include "passes/Compress/Profile.h"
#include "passes/Compress/Scores.h"
#include "passes/Compress/Similarity.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

using namespace mlir;
using namespace moe;

namespace {
Numbers matrix(int64_t rows, int64_t columns, std::vector<double> values) {
  Numbers numbers(rows, columns);
  EXPECT_EQ(values.size(), numbers.values.size());
  numbers.values = std::move(values);
  return numbers;
}

Numbers drawn(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Numbers numbers(rows, columns);
  for (double &number : numbers.values)
    number = normal(random);
  return numbers;
}

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

TEST(LinearAlgebra, FullRankReproducesTheMatrix) {
  for (auto [rows, columns] : {std::pair{7, 5}, {5, 7}, {6, 6}}) {
    Numbers w = drawn(rows, columns, rows), left, right;
    for (bool weighted : {false, true}) {
      std::vector<double> moments;
      if (weighted)
        for (int64_t c = 0; c < columns; ++c)
          moments.push_back(0.01 + static_cast<double>(c * c));
      ASSERT_TRUE(factorize(w, std::min(rows, columns), moments, left, right));
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) {
          double sum = 0;
          for (int64_t i = 0; i < left.columns; ++i)
            sum += left.at(r, i) * right.at(i, c);
          EXPECT_NEAR(sum, w.at(r, c), 1e-12);
        }
    }
  }
}

TEST(LinearAlgebra, WeightedFactorsFavourInputsThatMatter) {
  // Two directions; rank 1 keeps the longer one, unless the other's input is
  // worth more.
  Numbers w = matrix(2, 2, {2, 0, 0, 1}), left, right;
  ASSERT_TRUE(factorize(w, 1, {}, left, right));
  EXPECT_NEAR(left.at(0, 0) * right.at(0, 0), 2, 1e-12);
  EXPECT_NEAR(left.at(1, 0) * right.at(0, 1), 0, 1e-12);
  ASSERT_TRUE(factorize(w, 1, {1, 100}, left, right));
  EXPECT_NEAR(left.at(0, 0) * right.at(0, 0), 0, 1e-12);
  EXPECT_NEAR(left.at(1, 0) * right.at(0, 1), 1, 1e-12);
}

TEST(LinearAlgebra, RefusesWhatIsNotFinite) {
  Numbers w = drawn(4, 4, 5), left, right;
  w.at(2, 1) = std::nan("");
  EXPECT_FALSE(factorize(w, 2, {}, left, right));
}

TEST(Quantization, RoundTripsRepresentableNumbers) {
  // One row of each format that its codes hold exactly; the greatest sets a
  // scale that f16 (or a power of two) holds.
  struct Case {
    QuantFormat format;
    std::vector<double> row;
  };
  for (auto &[format, row] : std::vector<Case>{
           {{8, 4, "int", false}, {127, -3, 64, 0}},
           {{8, 2, "int", false}, {63.5, -12.5, -254, 2}},
           {{4, 4, "int", false}, {7, -1, 0, -7}},
           {{4, 4, "int", true}, {0, 15, 3, 9}},
           {{4, 4, "int", true}, {-4, 11, 0, 1}},
           {{8, 2, "int", true}, {0, 255, -127.5, 0}},
           {{4, 4, "fp4", false}, {6, -1.5, 0.5, -4}},
           {{4, 4, "fp4", false}, {48, -12, 4, 0}},
           {{4, 3, "nf4", false}, {-1, 0, 1}},
           {{8, 4, "fp8", false}, {448, -0.875, 26, 0}},
       }) {
    Numbers w = matrix(1, static_cast<int64_t>(row.size()), row);
    Numbers back = dequantize(quantize(w, format, {}), format);
    EXPECT_EQ(back.values, row) << format.code << format.bits;
  }
}

TEST(Quantization, StaysWithinHalfAStep) {
  Numbers w = drawn(16, 128, 6);
  for (bool asymmetric : {false, true})
    for (int64_t bits : {4, 8})
      for (int64_t block : {0, 32, 64, 128}) {
        QuantFormat format{bits, block, "int", asymmetric};
        QuantizedMatrix coded = quantize(w, format, {});
        ASSERT_EQ(coded.blocks, block ? 128 / block : 1);
        Numbers back = dequantize(coded, format);
        int64_t steps = (1 << bits) - 1;
        for (int64_t r = 0; r < w.rows; ++r)
          for (int64_t c = 0; c < w.columns; ++c) {
            double scale =
                coded.scales[r * coded.blocks + c / (block ? block : 128)];
            // A scale rounded down to f16 cuts the ends by 2^-11 of the range;
            // a zero point that was rounded shifts them by half a step.
            double cut = scale * static_cast<double>(steps) * 0x1p-11 +
                         (asymmetric ? scale / 2 : 0);
            EXPECT_LE(std::abs(back.at(r, c) - w.at(r, c)), scale / 2 + cut);
          }
      }
}

TEST(Quantization, FloatsTakeTheNearestCode) {
  Numbers w = drawn(8, 64, 7);
  for (const char *code : {"fp4", "nf4", "fp8"}) {
    QuantFormat format{code == std::string("fp8") ? 8 : 4, 32, code, false};
    QuantizedMatrix coded = quantize(w, format, {});
    auto values = codeValues(format);
    for (int64_t r = 0; r < w.rows; ++r)
      for (int64_t c = 0; c < w.columns; ++c) {
        double scale = coded.scales[r * 2 + c / 32], least = INFINITY;
        for (int i = 0; i < 1 << format.bits; ++i)
          if (std::isfinite(values[i]))
            least = std::min(least, std::abs(values[i] * scale - w.at(r, c)));
        double own = values[coded.codes[r * 64 + c]] * scale;
        EXPECT_NEAR(std::abs(own - w.at(r, c)), least, 1e-12) << code;
      }
  }
}

TEST(Quantization, ZeroBlocksAndNegativeExtremes) {
  for (auto &format : std::vector<QuantFormat>{{8, 4, "int", false},
                                               {4, 4, "int", false},
                                               {4, 4, "int", true},
                                               {4, 4, "fp4", false},
                                               {4, 4, "nf4", false},
                                               {8, 4, "fp8", false}}) {
    Numbers w = matrix(1, 8, {0, 0, 0, 0, -8, -8, -8, -8});
    QuantizedMatrix coded = quantize(w, format, {});
    EXPECT_EQ(coded.scales[0], 0);
    Numbers back = dequantize(coded, format);
    for (int64_t c = 0; c < 8; ++c) {
      // The scale is stored with 11 bits.
      double slack = c < 4 ? 0 : 8 * 0x1p-10;
      EXPECT_NEAR(back.values[c], w.values[c], slack) << format.code << c;
    }
  }
}

TEST(Quantization, ScalesAreF16OrPowersOfTwo) {
  Numbers w = drawn(4, 64, 8);
  for (double &number : w.values)
    number *= 0.01;
  QuantFormat int8{8, 32, "int", false}, fp4{4, 32, "fp4", false};
  for (float scale : quantize(w, int8, {}).scales) {
    llvm::APFloat half(scale);
    bool lost = false;
    half.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven,
                 &lost);
    EXPECT_FALSE(lost);
  }
  for (float scale : quantize(w, fp4, {}).scales)
    EXPECT_EQ(std::ldexp(1.0, std::ilogb(scale)), scale);
  // Numbers too small for f16's least scale, and too large for its greatest.
  Numbers ends = matrix(2, 2, {1e-9, -1e-9, 1e9, -1e9});
  QuantFormat pair{8, 2, "int", false};
  auto scales = quantize(ends, pair, {}).scales;
  EXPECT_EQ(scales[0], 0x1p-24f);
  EXPECT_EQ(scales[1], 65504.0f);
}

TEST(Quantization, MomentsLowerTheWeightedError) {
  Numbers w = drawn(8, 64, 9);
  std::vector<double> moments;
  for (int64_t c = 0; c < 64; ++c)
    moments.push_back(c % 7 == 0 ? 20 : 0.1);
  for (const char *code : {"int", "fp4", "nf4"}) {
    QuantFormat format{4, 32, code, false};
    auto error = [&](const Numbers &back) {
      double sum = 0;
      for (int64_t r = 0; r < w.rows; ++r)
        for (int64_t c = 0; c < 64; ++c)
          sum += moments[c] * std::pow(back.at(r, c) - w.at(r, c), 2);
      return sum;
    };
    double round = error(dequantize(quantize(w, format, {}), format));
    double aware = error(dequantize(quantize(w, format, moments), format));
    EXPECT_LT(aware, round) << code;
  }
}

TEST(Quantization, PacksLowBitsFirst) {
  QuantizedMatrix coded;
  coded.rows = 2, coded.columns = 3;
  coded.codes = {1, 2, 3, 15, 0, 9};
  EXPECT_EQ(coded.packed(4), std::string("\x21\x03\x0f\x09", 4));
  EXPECT_EQ(coded.packed(8), std::string("\1\2\3\17\0\11", 6));
}

TEST(Subsets, AreCounted) {
  EXPECT_EQ(countSubsets(16, 14), 120);
  EXPECT_EQ(countSubsets(16, 8), 12870);
  EXPECT_EQ(countSubsets(5, 5), 1);
  EXPECT_EQ(countSubsets(5, 1), 5);
  EXPECT_EQ(countSubsets(256, 128), int64_t(1e15)); // saturates
}

namespace {
/// A layer of six experts `relu(up x) down` of 3 features, and its calibration
/// on 24 rows.
struct SmallLayer {
  static constexpr int64_t experts = 6, rows = 24;
  Numbers up = drawn(experts * 4, 3, 11), down = drawn(experts * 3, 4, 12);
  Numbers router = drawn(experts, 3, 13), sample = drawn(rows, 3, 14);
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  WeightSource weights;
  std::unique_ptr<Profile> profile;
  std::vector<MoELayer> layers;

  static std::string dense(const Numbers &numbers, const std::string &shape) {
    std::vector<float> values(numbers.values.begin(), numbers.values.end());
    std::string hex = llvm::toHex(
        llvm::StringRef(reinterpret_cast<const char *>(values.data()),
                        values.size() * sizeof(float)));
    std::string type = "tensor<" + shape + "xf32>";
    return "recipe(dense<\"0x" + hex + "\"> : " + type + ") : " + type + "\n";
  }

  SmallLayer() {
    for (Numbers *numbers : {&up, &down, &router, &sample})
      for (double &number : numbers->values)
        number = static_cast<float>(number);
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    std::string text = "moe.bank @up " + dense(up, "6x4x3") +
                       "moe.bank @down " + dense(down, "6x3x4") +
                       "moe.bank @router " + dense(router, "6x3") +
                       "moe.pool @ffn {\n";
    for (int e = 0; e < experts; ++e) {
      std::string n = std::to_string(e);
      text += "moe.expert @e" + n + " ffn relu up @up[" + n + "] down @down[" +
              n + "]\n";
    }
    text += R"mlir(}
      func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
        %w = moe.weight @router : tensor<6x3xf32>
        %z = moe.router linear %x weight(%w : tensor<6x3xf32>) : tensor<?x3xf32> -> tensor<?x6xf32>
        %ids, %g = moe.gate softmax %z over @ffn top_k 2 norm selected layer "l" : tensor<?x6xf32>
        %y = moe.apply @ffn %x ids %ids weights %g layer "l"
            : (tensor<?x3xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x3xf32>
        return %y : tensor<?x3xf32>
      })mlir";
    module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    auto found = collectLayers(*module);
    EXPECT_TRUE(succeeded(found));
    layers = *found;
    profile = makeProfile();
  }

  /// A profile file with the sample, read back.
  std::unique_ptr<Profile> makeProfile() {
    rt::Profile stored;
    stored.model = "small";
    rt::ProfileLayer layer;
    layer.name = "l";
    auto add = [&](const char *name, int32_t type, std::vector<int64_t> shape,
                   const void *data, size_t bytes) {
      layer.tensors.push_back(
          {name, type, std::move(shape),
           std::string(static_cast<const char *>(data), bytes)});
    };
    std::vector<int64_t> counts{10, 8, 12, 6, 7, 5}, tokens{24};
    std::vector<float> values(sample.values.begin(), sample.values.end());
    std::vector<uint64_t> keys(rows);
    std::iota(keys.begin(), keys.end(), 1);
    add("counts", MOE_I64, {experts}, counts.data(), 8 * experts);
    add("tokens", MOE_I64, {1}, tokens.data(), 8);
    add("sample", MOE_F32, {rows, 3}, values.data(), 4 * values.size());
    add("sample_keys", MOE_U64, {rows}, keys.data(), 8 * rows);
    stored.layers.push_back(std::move(layer));
    llvm::SmallString<128> path;
    EXPECT_FALSE(
        llvm::sys::fs::createTemporaryFile("compress", "moeprof", path));
    rt::Status written = rt::writeProfile(stored, path.str().str());
    EXPECT_TRUE(written.ok()) << written.message;
    auto loaded = Profile::load(path);
    llvm::sys::fs::remove(path);
    if (!loaded) {
      ADD_FAILURE() << llvm::toString(loaded.takeError());
      return nullptr;
    }
    return std::move(*loaded);
  }

  /// The layer's output for a row where only `kept` may be chosen, from the
  /// definition.
  std::vector<double> output(int64_t row, std::vector<int64_t> kept) const {
    auto logit = [&](int64_t e) {
      double sum = 0;
      for (int64_t c = 0; c < 3; ++c)
        sum += router.at(e, c) * sample.at(row, c);
      return sum;
    };
    std::sort(kept.begin(), kept.end(),
              [&](int64_t a, int64_t b) { return logit(a) > logit(b); });
    if (kept.size() > 2)
      kept.resize(2);
    double whole = 0;
    for (int64_t e : kept)
      whole += std::exp(logit(e));
    std::vector<double> y(3);
    for (int64_t e : kept)
      for (int64_t h = 0; h < 4; ++h) {
        double hidden = 0;
        for (int64_t c = 0; c < 3; ++c)
          hidden += up.at(e * 4 + h, c) * sample.at(row, c);
        for (int64_t o = 0; o < 3; ++o)
          y[o] += std::exp(logit(e)) / whole * std::max(hidden, 0.0) *
                  down.at(e * 3 + o, h);
      }
    return y;
  }

  double loss(const std::vector<int64_t> &kept) const {
    std::vector<int64_t> all(experts);
    std::iota(all.begin(), all.end(), 0);
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      auto before = output(r, all), after = output(r, kept);
      for (int o = 0; o < 3; ++o)
        sum += (after[o] - before[o]) * (after[o] - before[o]);
    }
    return std::sqrt(sum);
  }
};
} // namespace

TEST(Subsets, LossIsTheDistanceOfOutputs) {
  SmallLayer small;
  ASSERT_TRUE(small.profile);
  auto calibration = Calibration::of(small.layers[0], *small.profile,
                                     small.weights, /*rows=*/1024);
  ASSERT_TRUE(succeeded(calibration));
  auto reconstruction = Reconstruction::of(*calibration, 6, small.weights);
  ASSERT_TRUE(succeeded(reconstruction));
  // Exhaustive: the best of all subsets of each size, by brute force.
  for (int64_t keep = 1; keep <= 6; ++keep) {
    double least = INFINITY;
    std::vector<int64_t> best;
    for (unsigned mask = 0; mask < 64; ++mask) {
      std::vector<int64_t> kept;
      for (int64_t e = 0; e < 6; ++e)
        if (mask >> e & 1)
          kept.push_back(e);
      if (static_cast<int64_t>(kept.size()) != keep)
        continue;
      double loss = small.loss(kept);
      EXPECT_NEAR(reconstruction->loss(kept), loss, 1e-6 * (1 + loss));
      if (loss < least)
        least = loss, best = kept;
    }
    EXPECT_EQ(searchSubset(*reconstruction, 6, keep, 0), best);
    // A beam as wide as there are subsets finds the same.
    EXPECT_EQ(searchSubset(*reconstruction, 6, keep, 64), best);
  }
  // Greedy: the least harmful expert goes, one at a time.
  std::vector<int64_t> kept{0, 1, 2, 3, 4, 5};
  while (kept.size() > 2) {
    double least = INFINITY;
    std::vector<int64_t> best;
    for (size_t out = 0; out < kept.size(); ++out) {
      std::vector<int64_t> fewer = kept;
      fewer.erase(fewer.begin() + out);
      if (double loss = small.loss(fewer); loss < least)
        least = loss, best = fewer;
    }
    kept = best;
    EXPECT_EQ(
        searchSubset(*reconstruction, 6, static_cast<int64_t>(kept.size()), 1),
        kept);
  }
}

TEST(Recipe, WandaKeepsWhatCountsMost) {
  // arXiv 2306.11695: |w| times the norm of the input; norms 1, .1, 3, .5.
  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry);
  auto module = parseSourceString<ModuleOp>(R"mlir(
    moe.bank @w recipe(dense<[[0.5, -2.0, 0.1, 1.0], [1.0, 0.2, -0.3, 0.4]]> : tensor<2x4xf32>) : tensor<2x4xf32>
    moe.bank @m recipe(dense<[1.0, 0.01, 9.0, 0.25]> : tensor<4xf32>) : tensor<4xf32>
    )mlir",
                                            &context);
  ASSERT_TRUE(module);
  WeightSource weights;
  auto slice = [&](StringRef name) {
    return SliceAttr::get(FlatSymbolRefAttr::get(&context, name));
  };
  auto kept = [&](int64_t n, int64_t m, SliceAttr moments) {
    auto numbers = evaluate(
        *module, SparsifyAttr::get(&context, slice("w"), n, m, moments),
        weights);
    EXPECT_TRUE(succeeded(numbers));
    std::vector<std::vector<int>> places(2);
    for (int r = 0; r < 2; ++r)
      for (int c = 0; c < 4; ++c)
        if (numbers->at(r, c) != 0)
          places[r].push_back(c);
    return places;
  };
  using Places = std::vector<std::vector<int>>;
  EXPECT_EQ(kept(2, 4, slice("m")), (Places{{0, 3}, {0, 2}}));
  EXPECT_EQ(kept(2, 4, {}), (Places{{1, 3}, {0, 3}}));
  EXPECT_EQ(kept(1, 2, {}), (Places{{1, 3}, {0, 3}}));
  EXPECT_EQ(kept(3, 0, slice("m")), (Places{{0, 2, 3}, {0, 2, 3}}));
}

static std::string pipelines(StringRef text) {
  auto steps = parseSteps(text);
  if (!steps)
    return llvm::toString(steps.takeError());
  std::string all;
  for (const CompressStep &step : *steps)
    all += (all.empty() ? "" : "\n") + step.text + " -> " + step.pipeline;
  return all;
}

TEST(Steps, AreTakenApart) {
  EXPECT_EQ(pipelines("prune-experts{keep=6}"),
            "prune-experts{keep=6} -> moe-prune-experts{ keep=6}");
  EXPECT_EQ(pipelines(" prune-experts{ratio=25% frequency} , dedupe-experts"),
            "prune-experts{ratio=25% frequency} -> moe-prune-experts{ "
            "ratio=0.250000 score=frequency}\ndedupe-experts -> "
            "moe-dedupe-experts{}");
  EXPECT_EQ(pipelines("quantize{int4, block=64}"),
            "quantize{int4, block=64} -> moe-quantize{ type=int4 block=64}");
  // Numbers behind a list go on with it.
  EXPECT_EQ(pipelines("reduce-top-k{k=1,layers=0,2}"),
            "reduce-top-k{k=1,layers=0,2} -> moe-reduce-top-k{ k=1 "
            "layers=0,2}");
  EXPECT_EQ(pipelines("strip-outputs{a,b}"),
            "strip-outputs{a,b} -> moe-strip-outputs{ names=a,b}");
}

TEST(Steps, SlipsAreNamed) {
  EXPECT_EQ(pipelines(""), "--compress: names no step");
  EXPECT_EQ(pipelines("prune-expert{keep=2}"),
            "--compress: unknown step 'prune-expert': known are "
            "prune-experts, skip-experts, reduce-top-k, align-experts, "
            "merge-experts, factorize-experts, sparsify-experts, "
            "narrow-experts, quantize, drop-layers, drop-blocks, "
            "add-null-experts, dedupe-experts, fold-lora, strip-outputs");
  EXPECT_EQ(pipelines("quantize{int4"), "--compress: 'quantize{' has no '}'");
  EXPECT_EQ(pipelines("quantize{int4} dedupe-experts"),
            "--compress: expected ',' before 'dedupe-experts'");
  EXPECT_EQ(pipelines("quantize{type=}"),
            "--compress: quantize: option 'type' has no value");
  EXPECT_EQ(pipelines("prune-experts{ratio=x%}"),
            "--compress: prune-experts: 'ratio=x%' is no percentage");
  EXPECT_EQ(pipelines("quantize{int4 nf4}"),
            "--compress: 'nf4' is no option of quantize (name=value)");
  EXPECT_EQ(pipelines("align-experts{all}"),
            "--compress: 'all' is no option of align-experts (name=value)");
  EXPECT_EQ(pipelines("quantize{'int4'}"),
            "--compress: ''int4'' is no option of quantize");
}

TEST(Ledger, PrintsWhatItKnows) {
  ModelCost before, after;
  before.params = 7'500'000, before.bytes = 30'000'000;
  before.expertParams = 7'000'000, before.expertBytes = 28'000'000;
  before.activeParams = 875'000, before.flopsPerToken = 1'750'000;
  after = before;
  after.bytes = 9'000'000, after.expertBytes = 7'000'000;
  auto printed = [](const Ledger &ledger) {
    std::string text;
    llvm::raw_string_ostream os(text);
    ledger.print(os);
    return text;
  };
  Ledger plain{{{"", before, std::nullopt, std::nullopt},
                {"quantize{int8}", after, std::nullopt, std::nullopt}}};
  EXPECT_EQ(printed(plain),
            "step             params/M  bytes/MB  experts/MB      %  active/M  "
            "read MB/token  MFLOP/token\n"
            "original            7.500    30.000      28.000 100.00     0.875  "
            "        0.000        "
            "1.750\n"
            "quantize{int8}      7.500     9.000       7.000  25.00     0.875  "
            "        0.000        "
            "1.750\n");
  Ledger measured = plain;
  measured.steps[1].outputError = 0.0125;
  measured.steps[0].bitsPerByte = 2.0;
  measured.steps[1].bitsPerByte = 2.015;
  EXPECT_EQ(printed(measured),
            "step             params/M  bytes/MB  experts/MB      %  active/M  "
            "read MB/token  MFLOP/token  output error  bits/byte     loss\n"
            "original            7.500    30.000      28.000 100.00     0.875  "
            "        0.000        "
            "1.750                   2.0000  +0.0000\n"
            "quantize{int8}      7.500     9.000       7.000  25.00     0.875  "
            "        0.000        "
            "1.750        0.0125     2.0150  +0.0150\n");
  llvm::json::Array list = measured.toJSON();
  ASSERT_EQ(list.size(), 2u);
  const llvm::json::Object *second = list[1].getAsObject();
  EXPECT_EQ(second->getString("step"), "quantize{int8}");
  EXPECT_EQ(second->getInteger("expert_bytes"), 7'000'000);
  EXPECT_EQ(second->getNumber("output_error"), 0.0125);
  EXPECT_EQ(list[0].getAsObject()->get("output_error"), nullptr);
}
