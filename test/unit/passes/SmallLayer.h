#ifndef MOE_TEST_UNIT_PASSES_SMALLLAYER_H
#define MOE_TEST_UNIT_PASSES_SMALLLAYER_H

#include "CompressFixtures.h"
#include "dialects/RegisterDialects.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Calibration.h"
#include "passes/Compress/Profile.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include <cmath>
#include <numeric>

namespace moe {
/// A profile of layer "l" with a sample, written and read back; `squares` are
/// sums of squares of inputs, `[experts, columns]`.
inline std::unique_ptr<Profile> profileOf(const Numbers &sample,
                                          std::vector<int64_t> counts,
                                          std::vector<double> squares = {}) {
  rt::Profile stored;
  stored.model = "small";
  rt::ProfileLayer layer;
  layer.name = "l";
  auto add = [&](const char *name, int32_t type, std::vector<int64_t> shape,
                 const void *data, size_t bytes) {
    layer.tensors.push_back(
        {name, type, std::move(shape),
         std::string(static_cast<const char *>(data), bytes), 0});
  };
  int64_t experts = static_cast<int64_t>(counts.size()), rows = sample.rows;
  std::vector<int64_t> tokens{rows};
  std::vector<float> values(sample.values.begin(), sample.values.end());
  std::vector<uint64_t> keys(rows);
  std::iota(keys.begin(), keys.end(), 1);
  add("counts", MOE_I64, {experts}, counts.data(), 8 * experts);
  add("tokens", MOE_I64, {1}, tokens.data(), 8);
  add("sample", MOE_F32, {rows, sample.columns}, values.data(),
      4 * values.size());
  add("sample_keys", MOE_U64, {rows}, keys.data(), 8 * rows);
  if (!squares.empty())
    add("input_square_sum", MOE_F64, {experts, sample.columns}, squares.data(),
        8 * squares.size());
  stored.layers.push_back(std::move(layer));
  llvm::SmallString<128> path;
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("compress", "moeprof", path));
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

/// A layer of six experts `relu(up x) down` of 3 features, and its calibration
/// on 24 rows.
struct SmallLayer {
  static constexpr int64_t experts = 6, rows = 24;
  Numbers up = drawn(experts * 4, 3, 11), down = drawn(experts * 3, 4, 12);
  Numbers router = drawn(experts, 3, 13), sample = drawn(rows, 3, 14);
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
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

  /// `change` may set its numbers otherwise first.
  explicit SmallLayer(llvm::function_ref<void(SmallLayer &)> change = nullptr) {
    if (change)
      change(*this);
    for (Numbers *numbers : {&up, &down, &router, &sample})
      for (double &number : numbers->values)
        number = static_cast<float>(number);
    mlir::DialectRegistry registry;
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
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    auto found = collectLayers(*module);
    EXPECT_TRUE(succeeded(found));
    layers = *found;
    profile = profileOf(sample, {10, 8, 12, 6, 7, 5});
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
} // namespace moe

#endif // MOE_TEST_UNIT_PASSES_SMALLLAYER_H
