// What compression leaves of published models, in parameters: counted by the
// ledger on modules without a byte of weights.
#include "dialects/RegisterDialects.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Analysis/WeightSource.h"
#include "passes/Compress/Inputs.h"
#include "passes/Compress/Ledger.h"
#include "passes/Compress/Passes.h"
#include "passes/Compress/Profile.h"
#include "llvm/Support/FileSystem.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace moe;

namespace {
/// A model of blocks `x + attention(x)`, `h + MoE(norm(h))`, of Mixtral's
/// numbers unless they are changed; each block gives its keys as a result.
struct Sizes {
  int64_t layers = 32, experts = 8, features = 4096, hidden = 14336;
  int64_t keys = 1024, words = 32000;
};

std::string matrix(int64_t rows, int64_t columns) {
  return "tensor<" + std::to_string(rows) + "x" + std::to_string(columns) +
         "xbf16>";
}

std::string textOf(const Sizes &sizes) {
  std::string banks, body, results, resultTypes;
  auto number = [](int64_t n) { return std::to_string(n); };
  int64_t h = sizes.features, k = sizes.keys, e = sizes.experts;
  std::string x = "tensor<?x" + number(h) + "xbf16>";
  std::string keys = "tensor<?x" + number(k) + "xbf16>";
  int64_t next = 0;
  auto weight = [&](int64_t rows, int64_t columns) {
    std::string n = number(next++), type = matrix(rows, columns);
    banks +=
        "moe.bank @w" + n + " in \"m\" key \"w" + n + "\" : " + type + "\n";
    body += "%w" + n + " = moe.weight @w" + n + " : " + type + "\n";
    return "%w" + n;
  };
  auto node = [&](const std::string &name, const std::string &op, int version,
                  const std::string &a, const std::string &aType,
                  const std::string &b, const std::string &bType,
                  const std::string &to) {
    body += name + " = onnx.node \"" + op + "\" v " + number(version) + " (" +
            a + ", " + b + ") : (" + aType + ", " + bType + ") -> " + to + "\n";
  };
  body += "%two = onnx.constant dense<2.0> : tensor<bf16>\n";
  body += "%last = onnx.constant dense<-1> : tensor<1xi64>\n";
  auto norm = [&](const std::string &name, const std::string &from) {
    std::string one = "tensor<?x1xbf16>";
    node(name + "p", "Pow", 15, from, x, "%two", "tensor<bf16>", x);
    body += name + "m = onnx.node \"ReduceMean\" v 18 (" + name +
            "p, %last) {keepdims = 1 : i64} : (" + x + ", tensor<1xi64>) -> " +
            one + "\n";
    body += name + "r = onnx.node \"Sqrt\" v 13 (" + name + "m) : (" + one +
            ") -> " + one + "\n";
    node(name + "d", "Div", 14, from, x, name + "r", one, x);
    std::string scale = weight(1, h);
    node(name, "Mul", 14, name + "d", x, scale, matrix(1, h), x);
  };
  std::string stream = "%x";
  for (int64_t l = 0; l < sizes.layers; ++l) {
    std::string n = number(l), pool = "@ffn" + n;
    for (auto [name, rows, columns] : {std::tuple{"gate", sizes.hidden, h},
                                       {"up", sizes.hidden, h},
                                       {"down", h, sizes.hidden}}) {
      std::string bank = std::string(name) + n;
      banks += "moe.bank @" + bank + " in \"m\" key \"" + bank +
               "\" : tensor<" + number(e) + "x" + number(rows) + "x" +
               number(columns) + "xbf16>\n";
    }
    banks += "moe.pool " + pool + " {\n";
    for (int64_t i = 0; i < e; ++i) {
      std::string at = n + "[" + number(i) + "]";
      banks += "moe.expert @e" + number(i) + " glu silu gate @gate" + at +
               " up @up" + at + " down @down" + at + "\n";
    }
    banks += "}\n";
    norm("%a" + n, stream);
    auto multiply = [&](const std::string &name, const std::string &from,
                        int64_t in, int64_t out) {
      std::string w = weight(in, out);
      node(name, "MatMul", 13, from, in == h ? x : keys, w, matrix(in, out),
           out == h ? x : keys);
    };
    multiply("%q" + n, "%a" + n, h, h);
    multiply("%k" + n, "%q" + n, h, k);
    multiply("%v" + n, "%k" + n, k, h);
    multiply("%o" + n, "%v" + n, h, h);
    node("%h" + n, "Add", 14, stream, x, "%o" + n, x, x);
    norm("%n" + n, "%h" + n);
    std::string router = weight(e, h),
                logits = "tensor<?x" + number(e) + "xbf16>";
    body += "%z" + n + " = moe.router linear %n" + n + " weight(" + router +
            " : " + matrix(e, h) + ") : " + x + " -> " + logits + "\n";
    body += "%i" + n + ", %g" + n + " = moe.gate softmax %z" + n + " over " +
            pool + " top_k 2 norm selected layer \"l" + n + "\" : " + logits +
            "\n";
    body += "%y" + n + " = moe.apply " + pool + " %n" + n + " ids %i" + n +
            " weights %g" + n + " layer \"l" + n + "\" : (" + x +
            ", tensor<?x2xi32>, tensor<?x2xbf16>) -> " + x + "\n";
    node("%s" + n, "Add", 14, "%y" + n, x, "%h" + n, x, x);
    stream = "%s" + n;
    results += ", %k" + n;
    resultTypes += ", " + keys + " {moe.name = \"keys." + n + "\"}";
  }
  norm("%last_norm", stream);
  // Words in and out.
  std::string in = weight(h, sizes.words), out = weight(sizes.words, h);
  std::string words = "tensor<?x" + number(sizes.words) + "xbf16>";
  node("%wide", "MatMul", 13, "%last_norm", x, in, matrix(h, sizes.words),
       words);
  node("%final", "MatMul", 13, "%wide", words, out, matrix(sizes.words, h), x);
  return banks + "func.func @main(%x: " + x + ") -> (" + x +
         " {moe.name = \"y\"}" + resultTypes + ") {\n" + body +
         "return %final" + results + " : " + x +
         [&] {
           std::string types;
           for (int64_t l = 0; l < sizes.layers; ++l)
             types += ", " + keys;
           return types;
         }() +
         "\n}\n";
}

/// Experts in use by falling number; layers l0, l1... change the stream less
/// and less.
std::unique_ptr<Profile> profileOf(const Sizes &sizes) {
  rt::Profile stored;
  stored.model = "m";
  for (int64_t l = 0; l < sizes.layers; ++l) {
    rt::ProfileLayer layer;
    layer.name = "l" + std::to_string(l);
    std::vector<int64_t> counts;
    for (int64_t e = 0; e < sizes.experts; ++e)
      counts.push_back(1000 - e);
    std::vector<double> cosine{100 * (.5 + .01 * static_cast<double>(l)), 100};
    auto add = [&](const char *name, int32_t type, int64_t size,
                   const void *data) {
      layer.tensors.push_back(
          {name,
           type,
           {size},
           std::string(static_cast<const char *>(data), 8 * size),
           0});
    };
    add("counts", MOE_I64, sizes.experts, counts.data());
    add("sublayer_cosine", MOE_F64, 2, cosine.data());
    add("block_cosine", MOE_F64, 2, cosine.data());
    stored.layers.push_back(std::move(layer));
  }
  llvm::SmallString<128> path;
  EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("cost", "moeprof", path));
  EXPECT_TRUE(rt::writeProfile(stored, path.str().str()).ok());
  auto loaded = Profile::load(path);
  llvm::sys::fs::remove(path);
  EXPECT_TRUE(bool(loaded));
  return std::move(*loaded);
}

class Costs : public testing::Test {
protected:
  Costs() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
  }

  void parse(const std::string &text) {
    module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module);
  }
  void parse(const Sizes &sizes) {
    parse(textOf(sizes));
    profile = profileOf(sizes);
  }

  /// The cost after a pass, of the module as it is then.
  ModelCost after(std::unique_ptr<Pass> pass) {
    CompressInputs &inputs = CompressInputs::of(&context);
    inputs.weights = &weights, inputs.profile = profile.get();
    PassManager pm(&context);
    pm.addPass(std::move(pass));
    EXPECT_TRUE(succeeded(pm.run(*module)));
    return measureCost(*module);
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  WeightSource weights;
  std::unique_ptr<Profile> profile;
};

double billions(const ModelCost &cost) {
  return std::round(static_cast<double>(cost.params) / 1e6) / 1e3;
}
} // namespace

TEST_F(Costs, MixtralWithoutSomeExperts) {
  // He et al. 2024, arXiv 2406.02500, and Lu et al. 2024, arXiv 2402.14800:
  // Mixtral-8x7B has 46.7 billion parameters, 35.4 with six experts a layer,
  // 24.2 with four; columns of the router go too.
  parse(Sizes());
  EXPECT_EQ(billions(measureCost(*module)), 46.703);
  PruneExpertsPassOptions options;
  options.score = "frequency";
  options.keep = 6;
  EXPECT_EQ(billions(after(createPruneExpertsPass(options))), 35.428);
  options.keep = 4;
  EXPECT_EQ(billions(after(createPruneExpertsPass(options))), 24.154);
}

TEST_F(Costs, MixtralWithoutSomeLayers) {
  // arXiv 2406.02500, section 3.2: eight MoE layers, the most similar first.
  parse(Sizes());
  DropLayersPassOptions options;
  options.count = 8;
  EXPECT_EQ(billions(after(createDropLayersPass(options))), 35.428);
  EXPECT_TRUE(module->lookupSymbol("ffn23"));
  EXPECT_FALSE(module->lookupSymbol("ffn24"));
  EXPECT_FALSE(module->lookupSymbol("ffn31"));
}

TEST_F(Costs, MixtralWithoutSomeBlocks) {
  // Five blocks, with as many of 32 caches.
  parse(Sizes());
  DropBlocksPassOptions options;
  options.count = 5;
  EXPECT_EQ(billions(after(createDropBlocksPass(options))), 39.446);
  auto main = module->lookupSymbol<func::FuncOp>("main");
  EXPECT_EQ(main.getNumResults(), 1u + 27u);
}

TEST_F(Costs, NullExpertsKeepColumnsAlone) {
  // Chowdhury et al. 2024, arXiv 2405.16646: six of eight experts of 4,722,432
  // numbers in six layers of ViT-B are 648.53 MiB of f32.
  std::string text;
  for (int l = 0; l < 6; ++l) {
    std::string n = std::to_string(l);
    auto bank = [&](const char *name, const char *shape) {
      text += std::string("moe.bank @") + name + n + " in \"m\" key \"" + name +
              n + "\" : tensor<" + shape + "xf32>\n";
    };
    bank("up", "8x3072x768"), bank("up_bias", "8x3072");
    bank("down", "8x768x3072"), bank("down_bias", "8x768");
    bank("router", "8x768");
    text += "moe.pool @ffn" + n + " {\n";
    for (int e = 0; e < 8; ++e) {
      std::string at = n + "[" + std::to_string(e) + "]";
      text += "moe.expert @e" + std::to_string(e) + " ffn gelu up @up" + at +
              " up_bias @up_bias" + at + " down @down" + at +
              " down_bias @down_bias" + at + "\n";
    }
    text += "}\n";
  }
  text += "func.func @main(%x: tensor<?x768xf32>) -> tensor<?x768xf32> {\n";
  std::string x = "%x";
  for (int l = 0; l < 6; ++l) {
    std::string n = std::to_string(l);
    text += "%w" + n + " = moe.weight @router" + n +
            " : tensor<8x768xf32>\n%z" + n + " = moe.router linear " + x +
            " weight(%w" + n +
            " : tensor<8x768xf32>) : tensor<?x768xf32> -> tensor<?x8xf32>\n%i" +
            n + ", %g" + n + " = moe.gate softmax %z" + n + " over @ffn" + n +
            " top_k 2 layer \"l" + n + "\" : tensor<?x8xf32>\n%y" + n +
            " = moe.apply @ffn" + n + " " + x + " ids %i" + n + " weights %g" +
            n + " layer \"l" + n +
            "\" : (tensor<?x768xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> "
            "tensor<?x768xf32>\n";
    x = "%y" + n;
  }
  parse(text + "return " + x + " : tensor<?x768xf32>\n}\n");
  profile = profileOf({6, 8});
  ModelCost before = measureCost(*module);
  EXPECT_EQ(before.expertParams, 6 * 8 * 4722432);
  PruneExpertsPassOptions options;
  options.score = "frequency", options.semantics = "null", options.keep = 2;
  ModelCost now = after(createPruneExpertsPass(options));
  EXPECT_EQ(before.params - now.params, 170007552);
  EXPECT_NEAR(static_cast<double>(before.bytes - now.bytes) / (1 << 20), 648.53,
              .005);
}

TEST_F(Costs, FactorsWithSomeRows) {
  // Li et al. 2024, arXiv 2310.01334, table 1: Switch-base-32 merged in 11 of
  // 12 layers from 32 experts to 8, each then of rank 32 with a tenth of the
  // rows.
  parse(R"mlir(
    moe.bank @up recipe(dense<0.5> : tensor<1x3072x768xf32>) : tensor<1x3072x768xf32>
    moe.bank @down recipe(dense<0.5> : tensor<1x768x3072xf32>) : tensor<1x768x3072xf32>
    moe.pool @ffn { moe.expert @e0 ffn relu up @up[0] down @down[0] }
    func.func @main(%x: tensor<?x768xf32>, %z: tensor<?x1xf32>) -> tensor<?x768xf32> {
      %ids, %g = moe.gate softmax %z over @ffn top_k 1 layer "l0" : tensor<?x1xf32>
      %y = moe.apply @ffn %x ids %ids weights %g layer "l0"
          : (tensor<?x768xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x768xf32>
      return %y : tensor<?x768xf32>
    })mlir");
  int64_t whole = measureCost(*module).expertParams;
  EXPECT_EQ(whole, 4718592);
  FactorizeExpertsPassOptions options;
  options.rank = 32, options.rowsKept = 0.1;
  // 307 of 3072 and 77 of 768 rows.
  int64_t small = after(createFactorizeExpertsPass(options)).expertParams;
  EXPECT_EQ(small, 718080);
  auto millions = [](int64_t layers, int64_t experts, int64_t own) {
    return static_cast<double>(layers * experts * own) / 1e6;
  };
  double rest = 166.77, first = millions(1, 32, whole);
  EXPECT_NEAR(rest + millions(12, 32, whole), 1978.7, .05);
  EXPECT_NEAR(rest + first + millions(11, 8, whole), 733.0, .05);
  EXPECT_NEAR(rest + first + millions(11, 8, small), 380.95, .05);
}
