// What compress passes compute of a layer, against plain loops.
#include "SmallLayer.h"
#include "dialects/Onnx/OnnxOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Analysis/Hidden.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Ledger.h"
#include "passes/Compress/Matrices.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Scores.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace moe;

TEST(Subsets, AreCounted) {
  EXPECT_EQ(countSubsets(16, 14), 120);
  EXPECT_EQ(countSubsets(16, 8), 12870);
  EXPECT_EQ(countSubsets(5, 5), 1);
  EXPECT_EQ(countSubsets(5, 1), 5);
  EXPECT_EQ(countSubsets(256, 128), int64_t(1e15)); // saturates
}

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

TEST(Subsets, ExpertsThatNobodyChoseGoForNothing) {
  // Lu et al. 2024, arXiv 2402.14800, section 3.1: 2 and 4 have columns that
  // are never among the best two, so dropping them changes nothing.
  SmallLayer small([](SmallLayer &layer) {
    for (int64_t r = 0; r < SmallLayer::rows; ++r)
      layer.sample.at(r, 0) = 5 + std::abs(layer.sample.at(r, 0));
    for (int64_t e : {2, 4})
      layer.router.at(e, 0) = -50;
  });
  auto calibration =
      Calibration::of(small.layers[0], *small.profile, small.weights, 1024);
  ASSERT_TRUE(succeeded(calibration));
  auto reconstruction = Reconstruction::of(*calibration, 6, small.weights);
  ASSERT_TRUE(succeeded(reconstruction));
  EXPECT_LE(reconstruction->loss({0, 1, 3, 5}), 1e-10);
  EXPECT_EQ(searchSubset(*reconstruction, 6, 4, 0),
            (std::vector<int64_t>{0, 1, 3, 5}));
  EXPECT_LE(small.loss({0, 1, 3, 5}), 1e-10);
}

TEST(Subsets, GrowTooManyForAnExhaustiveSearch) {
  EXPECT_EQ(countSubsets(8, 6), 28); // Mixtral's
  EXPECT_EQ(countSubsets(8, 4), 70);
  EXPECT_EQ(countSubsets(32, 6), 906192);
}

TEST(Skips, MedianOfTheRatiosIsTheBound) {
  // arXiv 2402.14800, section 3.3: of second weights .9, .5, .2, .6, .3 times
  // the first, the median is .5; two of five tokens lose their second expert.
  SmallLayer small([](SmallLayer &layer) {
    const double ratios[] = {.9, .5, .2, .6, .3};
    for (int64_t r = 0; r < SmallLayer::rows; ++r) {
      layer.sample.at(r, 0) = 1, layer.sample.at(r, 2) = 0;
      layer.sample.at(r, 1) = std::log(ratios[r % 5]);
    }
    for (int64_t e = 0; e < SmallLayer::experts; ++e)
      for (int64_t c = 0; c < 3; ++c)
        layer.router.at(e, c) = e > 1 && c == 0 ? -50 : e == 1 && c == 1;
  });
  CompressInputs &inputs = CompressInputs::of(&small.context);
  inputs.weights = &small.weights, inputs.profile = small.profile.get();
  SkipExpertsPassOptions options;
  options.rows = 20; // each ratio four times
  PassManager pm(&small.context);
  pm.addPass(createSkipExpertsPass(options));
  ASSERT_TRUE(succeeded(pm.run(*small.module)));
  GateOp gate = small.layers[0].gate;
  ASSERT_TRUE(gate.getSkipRatio());
  EXPECT_NEAR(gate.getSkipRatio()->convertToDouble(), .5, 1e-7);
  auto calibration =
      Calibration::of(small.layers[0], *small.profile, small.weights, 20);
  ASSERT_TRUE(succeeded(calibration));
  EXPECT_EQ(calibration->slotsPerToken(), 8.0 / 5);
}

TEST(Skips, OnlyWhatIsBelowTheRatio) {
  SmallLayer small;
  GateOp gate = small.layers[0].gate;
  auto slots = [&](std::optional<double> beta) {
    if (beta)
      gate.setSkipRatioAttr(Builder(&small.context).getF64FloatAttr(*beta));
    else
      gate.removeSkipRatioAttr();
    auto calibration =
        Calibration::of(small.layers[0], *small.profile, small.weights, 1024);
    EXPECT_TRUE(succeeded(calibration));
    return *calibration;
  };
  Calibration plain = slots(std::nullopt);
  EXPECT_EQ(plain.slotsPerToken(), 2);
  EXPECT_EQ(slots(0).getGates().values, plain.getGates().values);
  // Above 1, the first expert alone, with all of the weight.
  Calibration one = slots(1.5);
  EXPECT_EQ(one.slotsPerToken(), 1);
  for (double weight : one.getGates().values)
    EXPECT_TRUE(weight == 0 || std::abs(weight - 1) < 1e-12);
  // In between, as many as have such a ratio; weights still add up to 1.
  const Numbers &gates = plain.getGates();
  int64_t stay = 0;
  for (int64_t r = 0; r < gates.rows; ++r) {
    std::vector<double> two;
    for (int64_t e = 0; e < gates.columns; ++e)
      if (gates.at(r, e) > 0)
        two.push_back(gates.at(r, e));
    ASSERT_EQ(two.size(), 2u);
    stay += std::min(two[0], two[1]) >= .4 * std::max(two[0], two[1]);
  }
  ASSERT_GT(stay, 0);
  ASSERT_LT(stay, gates.rows);
  Calibration some = slots(.4);
  EXPECT_DOUBLE_EQ(some.slotsPerToken(),
                   1 + static_cast<double>(stay) /
                           static_cast<double>(gates.rows));
  for (int64_t r = 0; r < gates.rows; ++r) {
    double sum = 0;
    for (int64_t e = 0; e < gates.columns; ++e)
      sum += some.getGates().at(r, e);
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(Storages, GoByTheShareOfHeavierExperts) {
  // Tang et al. 2024, arXiv 2411.01433, section 3.2, with T1 = .6, T2 = .9:
  // (.55, .45) twice as stored, (.7, .3) the second from few bits, (.95, .05)
  // the second not at all.
  auto chosen = [](std::vector<double> weights, double t1, double t2) {
    return chooseStorages(
               matrix(1, static_cast<int64_t>(weights.size()), weights),
               {t1, t2})
        .values;
  };
  using Values = std::vector<double>;
  EXPECT_EQ(chosen({.55, 0, .45}, .6, .9), (Values{0, -1, 0}));
  EXPECT_EQ(chosen({.3, 0, .7}, .6, .9), (Values{1, -1, 0}));
  EXPECT_EQ(chosen({.95, .05, 0}, .6, .9), (Values{0, -1, -1}));
  // Weights that do not add up to 1 count by their share.
  EXPECT_EQ(chosen({.06, .14, 0}, .6, .9), (Values{1, 0, -1}));
  // The first always runs; at 1 all do; equal ones by their number.
  EXPECT_EQ(chosen({.25, .25, .25, .25}, 0, 0), (Values{0, -1, -1, -1}));
  EXPECT_EQ(chosen({.25, .25, .25, .25}, .25, .5), (Values{0, 0, 1, -1}));
  EXPECT_EQ(chosen({.25, .25, .25, .25}, 1, 1), (Values{0, 0, 0, 0}));
  EXPECT_EQ(chosen({0, 0}, .6, .9), (Values{-1, -1}));
}

TEST(Recipe, HiddenUnitsAndTheirProducts) {
  SmallLayer small;
  auto expert = cast<ExpertOp>(small.layers[0].pool.getEntry(3).getOperation());
  std::string text = "moe.bank @x " + SmallLayer::dense(small.sample, "24x3");
  OwningOpRef<ModuleOp> rows =
      parseSourceString<ModuleOp>(text, &small.context);
  ASSERT_TRUE(rows);
  small.module->getBody()->push_front(rows->getBody()->front().clone());
  auto slice = SliceAttr::get(FlatSymbolRefAttr::get(&small.context, "x"));
  auto recipe = HiddenLayer::of(expert)->on(slice);
  auto hidden = evaluate(*small.module, recipe, small.weights);
  ASSERT_TRUE(succeeded(hidden));
  auto gram = evaluate(*small.module, GramAttr::get(&small.context, recipe),
                       small.weights);
  ASSERT_TRUE(succeeded(gram));
  ASSERT_EQ(hidden->rows, 24);
  ASSERT_EQ(hidden->columns, 4);
  ASSERT_EQ(gram->rows, 4);
  Numbers sums(4, 4), expected(24, 4);
  for (int64_t r = 0; r < 24; ++r) {
    for (int64_t h = 0; h < 4; ++h) {
      for (int64_t c = 0; c < 3; ++c)
        expected.at(r, h) += small.up.at(3 * 4 + h, c) * small.sample.at(r, c);
      expected.at(r, h) = std::max(expected.at(r, h), 0.0);
      EXPECT_NEAR(hidden->at(r, h), expected.at(r, h), 1e-12);
    }
    for (int64_t a = 0; a < 4; ++a)
      for (int64_t b = 0; b < 4; ++b)
        sums.at(a, b) += expected.at(r, a) * expected.at(r, b);
  }
  for (size_t i = 0; i < 16; ++i)
    EXPECT_NEAR(gram->values[i], sums.values[i], 1e-10);
  // Rows or columns times a vector.
  auto up = cast<SliceAttr>(expert.getUp());
  auto factors = SliceAttr::at(FlatSymbolRefAttr::get(&small.context, "x"), 5);
  auto scaled =
      evaluate(*small.module, ScaleAttr::get(&small.context, up, 1, factors),
               small.weights);
  ASSERT_TRUE(succeeded(scaled));
  for (int64_t h = 0; h < 4; ++h)
    for (int64_t c = 0; c < 3; ++c)
      EXPECT_EQ(scaled->at(h, c),
                small.up.at(3 * 4 + h, c) * small.sample.at(5, c));
  ScopedDiagnosticHandler quiet(&small.context, [](Diagnostic &diagnostic) {
    EXPECT_NE(diagnostic.str().find("has 3 factors for 4 rows"),
              std::string::npos)
        << diagnostic.str();
    return success();
  });
  EXPECT_TRUE(failed(evaluate(*small.module,
                              ScaleAttr::get(&small.context, up, 0, factors),
                              small.weights)));
}

TEST(Recipe, FactorsAndTheirRestAreTheMatrix) {
  // arXiv 2310.01334, section 3.3: W = U V + S where nothing of S is pruned,
  // for every rank.
  SmallLayer small;
  auto up = cast<SliceAttr>(
      cast<ExpertOp>(small.layers[0].pool.getEntry(2).getOperation()).getUp());
  Builder builder(&small.context);
  for (int64_t rank = 1; rank <= 3; ++rank) {
    auto part = [&](StringRef name) {
      auto numbers =
          evaluate(*small.module,
                   LowRankAttr::get(&small.context, up, rank,
                                    builder.getStringAttr(name), Attribute()),
                   small.weights);
      EXPECT_TRUE(succeeded(numbers));
      return *numbers;
    };
    Numbers left = part("left"), right = part("right"), rest = part("rest");
    for (int64_t h = 0; h < 4; ++h)
      for (int64_t c = 0; c < 3; ++c) {
        double sum = rest.at(h, c);
        for (int64_t i = 0; i < rank; ++i)
          sum += left.at(h, i) * right.at(i, c);
        EXPECT_NEAR(sum, small.up.at(2 * 4 + h, c), 1e-12);
        if (rank == 3)
          EXPECT_NEAR(rest.at(h, c), 0, 1e-12);
      }
  }
}

namespace {
/// A layer of which the sample is one token, sixteen times, and whose router
/// gives it the logits.
struct OneToken {
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  WeightSource weights;
  std::unique_ptr<Profile> profile;

  /// `entries` of a pool over two features; `gate` is what stands behind the
  /// logits.
  OneToken(const std::vector<double> &logits, const std::string &entries,
           const std::string &gate) {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    int64_t experts = static_cast<int64_t>(logits.size());
    std::string e = std::to_string(experts);
    Numbers router(experts, 2);
    for (int64_t i = 0; i < experts; ++i)
      router.at(i, 0) = logits[i];
    std::string k = gate.substr(gate.find("top_k ") + 6, 1);
    std::string text =
        "moe.bank @router " + SmallLayer::dense(router, e + "x2") +
        R"mlir(
      moe.bank @up recipe(dense<[[[1.0, 2.0], [0.5, -1.0]], [[1.0, 2.0], [0.5, -1.0]], [[-1.0, 1.0], [2.0, 0.5]], [[3.0, 1.0], [-0.5, 1.0]]]> : tensor<4x2x2xf32>) : tensor<4x2x2xf32>
      moe.bank @down recipe(dense<[[[1.0, 0.5], [0.0, -1.0]], [[1.0, 0.5], [0.0, -1.0]], [[0.25, 1.0], [1.0, 1.0]], [[-1.0, 2.0], [0.5, 0.5]]]> : tensor<4x2x2xf32>) : tensor<4x2x2xf32>
      moe.bank @v recipe(dense<[1.0, -1.0]> : tensor<2xf32>) : tensor<2xf32>
      moe.pool @ffn {)mlir" +
        entries +
        "}\nfunc.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {\n" +
        "%w = moe.weight @router : tensor<" + e + "x2xf32>\n" +
        "%z = moe.router linear %x weight(%w : tensor<" + e +
        "x2xf32>) : tensor<?x2xf32> -> tensor<?x" + e + "xf32>\n" +
        "%i, %g = moe.gate softmax %z over @ffn " + gate +
        " layer \"l\" : tensor<?x" + e + "xf32>\n" +
        "%y = moe.apply @ffn %x ids %i weights %g layer \"l\" : "
        "(tensor<?x2xf32>, tensor<?x" +
        k + "xi32>, tensor<?x" + k +
        "xf32>) -> tensor<?x2xf32>\nreturn %y : tensor<?x2xf32>\n}";
    module = parseSourceString<ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    Numbers sample(16, 2);
    for (int64_t r = 0; r < 16; ++r)
      sample.at(r, 0) = 1, sample.at(r, 1) = 0.5;
    profile = profileOf(sample, std::vector<int64_t>(experts, 16));
  }

  Calibration calibration() {
    auto layers = collectLayers(*module);
    EXPECT_TRUE(succeeded(layers));
    auto made = Calibration::of(layers->front(), *profile, weights, 1);
    EXPECT_TRUE(succeeded(made));
    return *made;
  }
  /// Weights of the columns.
  std::vector<double> gates() { return calibration().getGates().values; }
  /// The layer's output.
  std::vector<double> output() {
    auto made = calibration().layerOutput(weights);
    EXPECT_TRUE(succeeded(made));
    return made->values;
  }
  void run(std::unique_ptr<Pass> pass) {
    CompressInputs &inputs = CompressInputs::of(&context);
    inputs.weights = &weights, inputs.profile = profile.get();
    PassManager pm(&context);
    pm.addPass(std::move(pass));
    EXPECT_TRUE(succeeded(pm.run(*module)));
  }
};

void expectNear(const std::vector<double> &have,
                const std::vector<double> &want, double slack) {
  ASSERT_EQ(have.size(), want.size());
  for (size_t i = 0; i < have.size(); ++i)
    EXPECT_NEAR(have[i], want[i], slack) << i;
}
} // namespace

TEST(NullExperts, LeaveTheirWeightToTheOthers) {
  // Zeng et al. 2024, arXiv 2406.13233, section 3.1: p = (.347876, .210997 |
  // .284816, .156311), sums over real experts.
  std::string pool = "moe.expert @a ffn relu up @up[0] down @down[0]\n"
                     "moe.expert @b ffn relu up @up[2] down @down[2]\n"
                     "moe.null_expert @c zero\nmoe.null_expert @d zero\n";
  OneToken two({1, .5, .8, .2}, pool, "top_k 2 norm real");
  expectNear(two.gates(), {1, 0, 0, 0}, 1e-6);
  EXPECT_EQ(two.calibration().slotsPerToken(), 1);
  OneToken three({1, .5, .8, .2}, pool, "top_k 3 norm real");
  expectNear(three.gates(), {.622459, .377541, 0, 0}, 1e-6);
  EXPECT_EQ(three.calibration().slotsPerToken(), 2);
  OneToken raw({1, .5, .8, .2}, pool, "top_k 4");
  expectNear(raw.gates(), {.347876, .210997, .284816, .156311}, 1e-6);
  // None but null experts: nothing.
  OneToken none({0, -1, 1, 2}, pool, "top_k 2 norm real");
  EXPECT_EQ(none.output(), (std::vector<double>{0, 0}));
  EXPECT_EQ(none.calibration().slotsPerToken(), 0);
  // Without null experts, the same as the usual norm, to the bit.
  std::string real = "moe.expert @a ffn relu up @up[0] down @down[0]\n"
                     "moe.expert @b ffn relu up @up[2] down @down[2]\n"
                     "moe.expert @c ffn relu up @up[3] down @down[3]\n";
  EXPECT_EQ(OneToken({1, .5, .8}, real, "top_k 2 norm real").gates(),
            OneToken({1, .5, .8}, real, "top_k 2 norm selected").gates());
}

TEST(NullExperts, CostNoBytesAndNoRows) {
  SmallLayer small;
  ModelCost before = measureCost(*small.module);
  AddNullExpertsPassOptions options;
  options.count = 4, options.k = 3;
  PassManager pm(&small.context);
  pm.addPass(createAddNullExpertsPass(options));
  ASSERT_TRUE(succeeded(pm.run(*small.module)));
  ModelCost now = measureCost(*small.module);
  EXPECT_EQ(now.expertBytes, before.expertBytes);
  EXPECT_EQ(now.params - before.params, 4 * 3); // columns of the router
  auto layers = collectLayers(*small.module);
  auto calibration =
      Calibration::of(layers->front(), *small.profile, small.weights, 1024);
  ASSERT_TRUE(succeeded(calibration));
  // Rows that are dispatched are selections of real experts, no more.
  int64_t rows = 0;
  const Numbers &gates = calibration->getGates();
  for (int64_t r = 0; r < gates.rows; ++r) {
    std::vector<std::pair<double, int64_t>> order;
    for (int64_t e = 0; e < 10; ++e) {
      double logit = 0;
      for (int64_t c = 0; c < 3; ++c)
        logit += small.router.at(e % 6, c) * small.sample.at(r, c);
      order.push_back({-logit, e});
    }
    std::sort(order.begin(), order.end());
    for (int slot = 0; slot < 3; ++slot)
      rows += order[slot].second < 6;
  }
  EXPECT_LT(rows, 3 * gates.rows);
  EXPECT_DOUBLE_EQ(calibration->slotsPerToken() *
                       static_cast<double>(gates.rows),
                   static_cast<double>(rows));
}

TEST(NullExperts, OfThreeKindsByPaperAndByCode) {
  // Jin et al. 2024, arXiv 2410.07348: p = (.174371, .473991, .064148,
  // .287490) of an expert, a constant, a copy and a zero. The paper keeps the
  // raw weights; its code divides by their sum without the zero's.
  std::string pool = "moe.expert @a ffn relu up @up[0] down @down[0]\n"
                     "moe.null_expert @b constant value @v\n"
                     "moe.null_expert @c copy\nmoe.null_expert @d zero\n";
  std::vector<double> logits{1, 2, 0, 1.5};
  expectNear(OneToken(logits, pool, "top_k 4").gates(),
             {.174371, .473991, .064148, .287490}, 1e-6);
  expectNear(OneToken(logits, pool, "top_k 2").gates(), {0, .473991, 0, .28749},
             1e-6);
  expectNear(OneToken(logits, pool, "top_k 2 norm nonzero").gates(),
             {0, 1, 0, 0}, 1e-6);
}

TEST(Merging, RowsOfAGroupNeedTheLogarithmOfItsSize) {
  // Zhang et al. 2024, arXiv 2407.09590, with our bias: two equal experts of
  // logits (1, 1, 0, 0) weigh .731059 together; one row for both .576117, and
  // with + ln 2 .731059 again, if all experts are chosen.
  std::string pool = "moe.expert @a ffn relu up @up[0] down @down[0]\n"
                     "moe.expert @b ffn relu up @up[1] down @down[1]\n"
                     "moe.expert @c ffn relu up @up[2] down @down[2]\n"
                     "moe.expert @d ffn relu up @up[3] down @down[3]\n";
  auto merge = [](OneToken &token, bool bias) {
    MergeExpertsPassOptions options;
    options.method = "dek", options.similarity = "weights", options.keep = 3;
    options.rowBias = bias;
    token.run(createMergeExpertsPass(options));
  };
  OneToken whole({1, 1, 0, 0}, pool, "top_k 4");
  auto gates = whole.gates();
  EXPECT_NEAR(gates[0] + gates[1], .731059, 1e-6);
  OneToken plain({1, 1, 0, 0}, pool, "top_k 4");
  merge(plain, false);
  EXPECT_NEAR(plain.gates()[0], .576117, 1e-6);
  OneToken biased({1, 1, 0, 0}, pool, "top_k 4");
  ModelCost before = measureCost(*biased.module);
  merge(biased, true);
  EXPECT_NEAR(biased.gates()[0], .731059, 1e-6);
  expectNear(biased.output(), whole.output(), 1e-6);
  EXPECT_GT(std::abs(plain.output()[0] - whole.output()[0]), 1e-3);
  // Gone are one expert of 8 numbers and a row of 2; three numbers of bias
  // came.
  EXPECT_EQ(before.params - measureCost(*plain.module).params, 8 + 2);
  EXPECT_EQ(before.params - measureCost(*biased.module).params, 8 + 2 - 3);
}

TEST(Subsets, DroppedAsNullLeaveTheOthersAlone) {
  // What a token chose of them is gone from its sum, and nothing comes instead.
  SmallLayer small;
  auto calibration =
      Calibration::of(small.layers[0], *small.profile, small.weights, 1024);
  ASSERT_TRUE(succeeded(calibration));
  auto nulls = Reconstruction::of(*calibration, 6, small.weights, true);
  auto gone = Reconstruction::of(*calibration, 6, small.weights);
  ASSERT_TRUE(succeeded(nulls) && succeeded(gone));
  std::vector<Numbers> outputs;
  for (int64_t e = 0; e < 6; ++e)
    outputs.push_back(*calibration->outputs(e, small.weights));
  const Numbers &gates = calibration->getGates();
  auto lost = [&](ArrayRef<int64_t> kept) {
    double square = 0;
    for (int64_t r = 0; r < gates.rows; ++r)
      for (int64_t c = 0; c < 3; ++c) {
        double sum = 0;
        for (int64_t e = 0; e < 6; ++e)
          if (!llvm::is_contained(kept, e))
            sum += gates.at(r, e) * outputs[e].at(r, c);
        square += sum * sum;
      }
    return std::sqrt(square);
  };
  double least = INFINITY;
  std::vector<int64_t> best;
  for (int64_t a = 0; a < 6; ++a)
    for (int64_t b = a + 1; b < 6; ++b) {
      double loss = lost({a, b});
      EXPECT_NEAR(nulls->loss({a, b}), loss, 1e-9 * (1 + loss));
      if (loss < least)
        least = loss, best = {a, b};
    }
  EXPECT_EQ(searchSubset(*nulls, 6, 2, 0), best);
  EXPECT_GT(std::abs(gone->loss(best) - least), 1e-3);
}

TEST(Skips, SlotsStandInTheOrderOfChoice) {
  // Scores (.6, .3, .1) and biases that let the second be chosen first: it
  // stays, and the first is no smaller than .9 times it.
  std::string pool = "moe.expert @a ffn relu up @up[0] down @down[0]\n"
                     "moe.expert @b ffn relu up @up[2] down @down[2]\n"
                     "moe.expert @c ffn relu up @up[3] down @down[3]\n";
  std::vector<double> logits{std::log(.6), std::log(.3), std::log(.1)};
  auto layer = [&](const std::string &skip) {
    OneToken token(logits, pool, "top_k 2" + skip);
    token.context.getOrLoadDialect("onnx");
    OpBuilder builder(&token.context);
    GateOp gate = *token.module->lookupSymbol<func::FuncOp>("main")
                       .getBody()
                       .getOps<GateOp>()
                       .begin();
    builder.setInsertionPoint(gate);
    auto bias = onnx::ConstantOp::create(
        builder, gate.getLoc(),
        DenseElementsAttr::get(RankedTensorType::get({3}, builder.getF32Type()),
                               ArrayRef<float>{0, 1, 0}));
    gate.getChoiceBiasMutable().assign(bias.getResult());
    Calibration made = token.calibration();
    return std::pair(made.getGates().values, made.slotRatios());
  };
  auto [whole, ratios] = layer("");
  expectNear(whole, {.6, .3, 0}, 1e-6);
  expectNear(ratios, {2}, 1e-6);
  expectNear(layer(" skip_ratio 0.9").first, {.6, .3, 0}, 1e-6);
  expectNear(layer(" skip_ratio 2.5").first, {0, .3, 0}, 1e-6);
}

TEST(Aliases, ServeTheColumnsOfTheirTarget) {
  // Columns 0 and 2 are of one expert: what the profile counts for them, and
  // what their tokens read, is added up.
  std::string pool = "moe.expert @a ffn relu up @up[0] down @down[0]\n"
                     "moe.expert @b ffn relu up @up[3] down @down[3]\n"
                     "moe.alias @c of @a\n";
  OneToken token({1, .5, .8}, pool, "top_k 2 norm selected");
  Numbers sample(16, 2);
  for (int64_t r = 0; r < 16; ++r)
    sample.at(r, 0) = 1, sample.at(r, 1) = 0.5;
  token.profile = profileOf(sample, {20, 40, 30}, {20, 40, 80, 120, 180, 240});
  auto layers = collectLayers(*token.module);
  ASSERT_TRUE(succeeded(layers));
  PoolOp experts = layers->front().pool;
  EXPECT_EQ(columnsOf(experts, 0), (SmallVector<int64_t>{0, 2}));
  EXPECT_EQ(columnsOf(experts, 1), (SmallVector<int64_t>{1}));
  EXPECT_EQ(columnsOf(experts, 2), (SmallVector<int64_t>{0, 2}));
  auto score = [&](StringRef name) {
    auto scores = scoreExperts(layers->front(), name, token.profile.get(),
                               token.weights, 16);
    EXPECT_TRUE(scores && succeeded(*scores));
    return **scores;
  };
  auto use = score("frequency");
  EXPECT_EQ(use[0], use[2]);
  EXPECT_NEAR(use[0] / use[1], 50. / 40, 1e-12);
  auto norms = score("magnitude");
  EXPECT_EQ(norms[0], norms[2]);
  EXPECT_GT(norms[0], 0);
  // All tokens choose 0 and 2, so the whole weight is a's.
  auto worth = score("saliency");
  EXPECT_EQ(worth[0], worth[2]);
  auto output = token.output();
  EXPECT_NEAR(worth[0], std::hypot(output[0], output[1]), 1e-6);
  CompressInputs &inputs = CompressInputs::of(&token.context);
  inputs.weights = &token.weights, inputs.profile = token.profile.get();
  auto moments = LayerMoments::of(layers->front(), inputs, 16);
  ASSERT_TRUE(succeeded(moments));
  auto own =
      moments->get(0, cast<ExpertOp>(experts.getEntry(0).getOperation()));
  ASSERT_TRUE(succeeded(own));
  expectNear(own->input, {(20. + 180) / 50, (40. + 240) / 50}, 1e-12);
}

TEST(NullExperts, ConstantsAreSharesOfTokenAndValue) {
  // MoE++, arXiv 2410.07348, section 3.1: x = (1, .5), v = (1, -1), and mix x =
  // (2, 0), so that a1 = 1 / (1 + e^-2).
  std::string pool = "moe.null_expert @a constant value @v mix @up[0]\n"
                     "moe.null_expert @b constant value @v\n";
  double own = 1 / (1 + std::exp(-2.));
  OneToken mixed({1, 0}, pool, "top_k 1 norm selected");
  expectNear(mixed.output(), {own + (1 - own), .5 * own - (1 - own)}, 1e-6);
  OneToken plain({0, 1}, pool, "top_k 1 norm selected");
  expectNear(plain.output(), {1, -1}, 1e-6);
}

TEST(Weights, OfAnotherModuleAreNotRemembered) {
  // Two modules with banks of one name, one after the other.
  DialectRegistry registry;
  registerAllDialects(registry);
  MLIRContext context(registry);
  WeightSource weights;
  auto first = [&](const char *number) {
    std::string text = "moe.bank @m recipe(dense<" + std::string(number) +
                       "> : tensor<2xf32>) : tensor<2xf32>\n"
                       "moe.bank @made recipe(#moe.mix<[#moe.slice<@m>], "
                       "[1.0]>) : tensor<2xf32>";
    auto module = parseSourceString<ModuleOp>(text, &context);
    std::vector<float> numbers;
    for (StringRef name : {"m", "made"}) {
      auto bytes = weights.bytes(module->lookupSymbol<BankOp>(name));
      EXPECT_TRUE(succeeded(bytes));
      float number;
      memcpy(&number, bytes->data(), sizeof(number));
      numbers.push_back(number);
    }
    weights.forget();
    return numbers;
  };
  EXPECT_EQ(first("1.0"), (std::vector<float>{1, 1}));
  EXPECT_EQ(first("2.0"), (std::vector<float>{2, 2}));
}

TEST(Calibration, ScalesWhatExpertsRead) {
  // One expert of two, weight w; its hidden units read (2, 0) times w, times
  // the scale of all inputs.
  std::string pool = "moe.expert @a ffn silu up @up[0] down @down[0]\n"
                     "moe.expert @b ffn silu up @up[2] down @down[2]\n";
  OneToken token({1, 0}, pool, "top_k 1");
  double w = 1 / (1 + std::exp(-1.));
  auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  expectNear(token.output(), {w * silu(2), 0}, 1e-6);
  auto layers = collectLayers(*token.module);
  ApplyOp apply = layers->front().apply;
  apply.setScaleInput(true);
  expectNear(token.output(), {silu(2 * w), 0}, 1e-6);
  apply.setPrescale(APFloat(.5));
  expectNear(token.output(), {silu(w), 0}, 1e-6);
  // What one expert makes of the sample is another thing then.
  ScopedDiagnosticHandler quiet(&token.context, [](Diagnostic &diagnostic) {
    EXPECT_NE(diagnostic.str().find("scales what its experts read"),
              std::string::npos)
        << diagnostic.str();
    return success();
  });
  EXPECT_TRUE(failed(token.calibration().outputs(0, token.weights)));
}

TEST(Subsets, OfGroupsStayEqual) {
  // Experts 0 to 2 and 3 to 5 are groups, of which a token takes one. All but
  // those of the first are never chosen, so that without groups both of what
  // goes would be of the second.
  SmallLayer small([](SmallLayer &layer) {
    for (int64_t r = 0; r < SmallLayer::rows; ++r)
      layer.sample.at(r, 0) = 5 + std::abs(layer.sample.at(r, 0));
    for (int64_t e : {3, 4, 5})
      layer.router.at(e, 0) = -50;
  });
  GateOp gate = small.layers[0].gate;
  gate.setGroups(2), gate.setTopGroups(1);
  auto calibration =
      Calibration::of(small.layers[0], *small.profile, small.weights, 1024);
  ASSERT_TRUE(succeeded(calibration));
  auto reconstruction = Reconstruction::of(*calibration, 6, small.weights);
  ASSERT_TRUE(succeeded(reconstruction));
  for (int64_t width : {0, 1, 8}) {
    auto kept = searchSubset(*reconstruction, 6, 4, width);
    EXPECT_EQ(llvm::count_if(kept, [](int64_t e) { return e < 3; }), 2)
        << width;
  }
  // Of one expert per group, tokens choose among what their group has left.
  auto two = calibration->gateWeights({0, 3});
  for (int64_t r = 0; r < two.rows; ++r)
    EXPECT_NEAR(two.at(r, 0) + two.at(r, 3), 1, 1e-12);
}
