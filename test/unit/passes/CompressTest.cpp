// Steps of --compress as text, and the ledger.
#include "passes/Compress/Compress.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace moe;

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
            "ratio=0.25 score=frequency}\ndedupe-experts -> "
            "moe-dedupe-experts{}");
  EXPECT_EQ(pipelines("quantize{int4, block=64}"),
            "quantize{int4, block=64} -> moe-quantize{ type=int4 block=64}");
  // As many digits as it takes; never a whole number.
  EXPECT_EQ(pipelines("narrow-experts{12.5%},narrow-experts{0.0025%}"),
            "narrow-experts{12.5%} -> moe-narrow-experts{ ratio=0.125}\n"
            "narrow-experts{0.0025%} -> moe-narrow-experts{ ratio=2.5e-05}");
  EXPECT_EQ(pipelines("prune-experts{keep=100%}"),
            "prune-experts{keep=100%} -> moe-prune-experts{ keep=1.0}");
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
            "add-null-experts, dedupe-experts, fold-lora, fold-batch-norm, "
            "strip-outputs, quantize-dense");
  EXPECT_EQ(pipelines("quantize{int4"), "--compress: 'quantize{' has no '}'");
  EXPECT_EQ(pipelines("quantize{int4} dedupe-experts"),
            "--compress: expected ',' before 'dedupe-experts'");
  EXPECT_EQ(pipelines("quantize{type=}"),
            "--compress: quantize: option 'type' has no value");
  EXPECT_EQ(pipelines("prune-experts{ratio=x%}"),
            "--compress: prune-experts: 'ratio=x%' is no percentage");
  EXPECT_EQ(pipelines("prune-experts{ratio=inf%}"),
            "--compress: prune-experts: 'ratio=inf%' is no percentage");
  EXPECT_EQ(pipelines("quantize{int4 8}"),
            "--compress: '8' is no option of quantize (name=value)");
  EXPECT_EQ(pipelines("reduce-top-k{layers=0 layers=2}"),
            "--compress: reduce-top-k: option 'layers' is given twice");
  EXPECT_EQ(pipelines("quantize{int4 nf4}"),
            "--compress: 'nf4' is no option of quantize (name=value)");
  EXPECT_EQ(pipelines("quantize{int8 type=int4}"),
            "--compress: quantize: option 'type' is given twice");
  EXPECT_EQ(pipelines("quantize{type=int4 int8}"),
            "--compress: 'int8' is no option of quantize (name=value)");
  EXPECT_EQ(pipelines("quantize{block=32 block=64}"),
            "--compress: quantize: option 'block' is given twice");
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
