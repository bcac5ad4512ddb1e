#include "codegen/Report/ExpertSimilarity.h"

#include "dialects/RegisterDialects.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "passes/Analysis/WeightSource.h"
#include "runtime/Bank/Profile.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

using namespace mlir;

namespace {

constexpr int experts = 4, width = 8, hidden = 16, rows = 200;

float draw(uint64_t &state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<float>(static_cast<double>(state >> 11) * 0x1p-52 - 1);
}

std::vector<float> drawn(size_t n, uint64_t seed) {
  std::vector<float> out(n);
  for (float &value : out)
    value = draw(seed);
  return out;
}

std::string dense(const std::vector<float> &values, const std::string &type) {
  std::string hex;
  llvm::raw_string_ostream os(hex);
  os << "dense<\"0x"
     << llvm::toHex(llvm::StringRef(
            reinterpret_cast<const char *>(values.data()), values.size() * 4))
     << "\"> : " << type;
  return hex;
}

/// The layer with these matrices, compared on a sample of random rows.
llvm::json::Object compare(const std::vector<float> &up,
                           const std::vector<float> &down,
                           const std::vector<float> &router,
                           const char *last = "ffn relu up @up[3] down "
                                              "@down[3]") {
  DialectRegistry registry;
  moe::registerAllDialects(registry);
  MLIRContext context(registry);
  std::string text = "moe.bank @up recipe(" + dense(up, "tensor<4x16x8xf32>") +
                     ") : tensor<4x16x8xf32>\nmoe.bank @down recipe(" +
                     dense(down, "tensor<4x8x16xf32>") +
                     ") : tensor<4x8x16xf32>\nmoe.bank @router recipe(" +
                     dense(router, "tensor<4x8xf32>") +
                     R"mlir() : tensor<4x8xf32>
    moe.pool @ffn {
      moe.expert @e0 ffn relu up @up[0] down @down[0]
      moe.expert @e1 ffn relu up @up[1] down @down[1]
      moe.expert @e2 ffn relu up @up[2] down @down[2]
      moe.expert @e3 )mlir" +
                     last + R"mlir(
    }
    func.func @main(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
      %w = moe.weight @router : tensor<4x8xf32>
      %z = moe.router linear %x weight(%w : tensor<4x8xf32>) : tensor<?x8xf32> -> tensor<?x4xf32>
      %ids, %g = moe.gate softmax %z over @ffn top_k 2 layer "l" : tensor<?x4xf32>
      %y = moe.apply @ffn %x ids %ids weights %g
          : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x8xf32>
      return %y : tensor<?x8xf32>
    })mlir";
  auto module = parseSourceString<ModuleOp>(text, &context);
  EXPECT_TRUE(module);
  std::vector<float> x = drawn(rows * width, 99);
  moe::rt::Profile profile;
  profile.layers.push_back(
      {"l",
       {{"sample",
         MOE_F32,
         {rows, width},
         std::string(reinterpret_cast<const char *>(x.data()),
                     x.size() * 4)}}});
  moe::WeightSource source;
  llvm::json::Array layers = moe::expertSimilarity(*module, source, profile);
  EXPECT_EQ(layers.size(), 1u);
  // Nothing of the comparison stays behind.
  EXPECT_EQ(llvm::range_size(module->getBody()->getOperations()), 5u);
  return *layers[0].getAsObject();
}

double at(const llvm::json::Object &layer, const char *key, int i, int j) {
  return *(*layer.getArray(key))[i * experts + j].getAsNumber();
}

} // namespace

TEST(ExpertSimilarity, FindsTwinsAndOpposites) {
  std::vector<float> up = drawn(experts * hidden * width, 1),
                     down = drawn(experts * width * hidden, 2),
                     router = drawn(experts * width, 3);
  // Expert 1 is expert 0, and 3 gives the opposite of 2.
  size_t half = hidden * width;
  std::copy(up.begin(), up.begin() + half, up.begin() + half);
  std::copy(down.begin(), down.begin() + half, down.begin() + half);
  std::copy(up.begin() + 2 * half, up.begin() + 3 * half,
            up.begin() + 3 * half);
  for (size_t i = 0; i < half; ++i)
    down[3 * half + i] = -down[2 * half + i];
  for (int i = 0; i < width; ++i)
    router[1 * width + i] = 2 * router[i];
  llvm::json::Object layer = compare(up, down, router);
  EXPECT_EQ(layer.getString("layer"), "l");
  EXPECT_EQ(layer.getInteger("rows"), rows);
  EXPECT_NEAR(at(layer, "weights", 0, 1), 1, 1e-4);
  EXPECT_NEAR(at(layer, "outputs", 0, 1), 1, 1e-4);
  EXPECT_NEAR(at(layer, "outputs", 2, 3), -1, 1e-4);
  EXPECT_NEAR(at(layer, "router", 0, 1), 1, 1e-4);
  EXPECT_LT(std::abs(at(layer, "weights", 0, 2)), 0.3);
  for (const char *key : {"weights", "outputs", "router"})
    for (int i = 0; i < experts; ++i)
      for (int j = 0; j < experts; ++j)
        EXPECT_EQ(at(layer, key, i, j), at(layer, key, j, i));
}

// Look-into-MoEs, arXiv 2406.18219: an expert whose down projection is ten
// times as large has the largest output for nearly all tokens, whatever the
// router thinks; every token ranks every expert once.
TEST(ExpertSimilarity, RanksOutputsAgainstLogits) {
  std::vector<float> up = drawn(experts * hidden * width, 1),
                     down = drawn(experts * width * hidden, 2),
                     router = drawn(experts * width, 3);
  llvm::json::Object plain = compare(up, down, router);
  size_t half = width * hidden;
  for (size_t i = 0; i < half; ++i)
    down[2 * half + i] *= 10;
  llvm::json::Object scaled = compare(up, down, router);
  double sum = 0, before = 0;
  for (int i = 0; i < experts; ++i)
    for (int j = 0; j < experts; ++j)
      sum += at(scaled, "ranks", i, j);
  EXPECT_EQ(sum, rows * experts);
  // The router ranks expert 2 as before; its output is first now.
  for (int i = 0; i < experts; ++i) {
    double line = 0, lineBefore = 0;
    for (int j = 0; j < experts; ++j) {
      line += at(scaled, "ranks", i, j);
      lineBefore += at(plain, "ranks", i, j);
    }
    EXPECT_EQ(line, rows);
    EXPECT_EQ(lineBefore, rows);
    before += at(plain, "ranks", i, 0);
  }
  EXPECT_EQ(before, rows);
  uint64_t first = 0;
  std::vector<float> x = drawn(rows * width, 99);
  // Counted by hand: how often each router rank belongs to expert 2.
  std::vector<double> wanted(experts);
  for (int t = 0; t < rows; ++t) {
    auto logit = [&](int e) {
      return std::inner_product(x.begin() + t * width,
                                x.begin() + (t + 1) * width,
                                router.begin() + e * width, 0.0);
    };
    int rank = 0;
    for (int e = 0; e < experts; ++e)
      rank += logit(e) > logit(2);
    ++wanted[rank];
  }
  for (int i = 0; i < experts; ++i) {
    // At most 5 % of the tokens have another largest expert.
    EXPECT_NEAR(at(scaled, "ranks", i, 0), wanted[i], 0.05 * rows);
    first += at(scaled, "ranks", i, 0) > 0;
  }
  EXPECT_GT(first, 1u);
}

TEST(ExpertSimilarity, SaysWhatItCannotCompare) {
  std::vector<float> up = drawn(experts * hidden * width, 1),
                     down = drawn(experts * width * hidden, 2),
                     router = drawn(experts * width, 3);
  llvm::json::Object layer = compare(up, down, router,
                                     "ffn relu up @up[3, 0:4] down "
                                     "@down[3, :, 0:4]");
  EXPECT_EQ(layer.getString("note"),
            "its experts are quantised, or differ in shape or kind");
  EXPECT_FALSE(layer.get("weights"));
}
