#include "codegen/Report/ModelFacts.h"

#include "dialects/RegisterDialects.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

using namespace mlir;

// Two experts of three 4x8 matrices, one of them chosen: 192 parameters in
// experts, 96 of them active, 32 in the router.
TEST(ModelFacts, CountsParametersAndWork) {
  DialectRegistry registry;
  moe::registerAllDialects(registry);
  MLIRContext context(registry);
  auto module = parseSourceString<ModuleOp>(R"mlir(
    module attributes {onnx.producer = "hand 1.0"} {
      moe.bank @gate_up in "a" at 0 length 512 : tensor<2x16x4xf32>
      moe.bank @down in "a" at 512 length 256 : tensor<2x4x8xf32>
      moe.bank @router in "a" at 768 length 32 : tensor<2x4xf32>
      moe.pool @ffn {
        moe.expert @e0 glu silu gate @gate_up[0, 0:8] up @gate_up[0, 8:16] down @down[0]
        moe.expert @e1 glu silu gate @gate_up[1, 0:8] up @gate_up[1, 8:16] down @down[1]
      }
      func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
        %w = moe.weight @router : tensor<2x4xf32>
        %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
        %ids, %g = moe.gate softmax %z over @ffn top_k 1 : tensor<?x2xf32>
        %y = moe.apply @ffn %x ids %ids weights %g
            : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
        return %y : tensor<?x4xf32>
      }
    })mlir",
                                            &context);
  ASSERT_TRUE(module);
  llvm::json::Object facts = moe::collectModelFacts(*module);
  EXPECT_EQ(facts.getString("producer"), "hand 1.0");
  EXPECT_EQ(facts.getInteger("parameters"), 128 + 64 + 8);
  EXPECT_EQ(facts.getInteger("active_parameters"), 96 + 8);
  EXPECT_EQ(facts.getInteger("weight_bytes"), 800);
  // One expert: 3 * 4 * 8 multiply-adds; router: 2 * 4.
  EXPECT_EQ(facts.getInteger("flops_per_token"), 2 * 96 + 2 * 8);
  const auto *layers = facts.getArray("layers");
  ASSERT_TRUE(layers && layers->size() == 1);
  const auto *layer = (*layers)[0].getAsObject();
  EXPECT_EQ(layer->getInteger("experts"), 2);
  EXPECT_EQ(layer->getInteger("top_k"), 1);
  EXPECT_EQ(layer->getInteger("hidden"), 4);
  EXPECT_EQ(layer->getInteger("inner"), 8);
  EXPECT_EQ(layer->getString("expert"), "silu glu");
  EXPECT_EQ(facts.get("experts_per_token_inputs"), nullptr);
}

// A gate that takes its number of experts from an argument of @main.
TEST(ModelFacts, NamesInputsForTheNumberOfExperts) {
  DialectRegistry registry;
  moe::registerAllDialects(registry);
  MLIRContext context(registry);
  auto module = parseSourceString<ModuleOp>(R"mlir(
    func.func @main(%z: tensor<?x4xf32>, %k: tensor<1xi32>, %other: index) -> tensor<?x3xf32> {
      %zero = arith.constant 0 : index
      %e = tensor.extract %k[%zero] : tensor<1xi32>
      %w = arith.extsi %e : i32 to i64
      %n = arith.index_cast %w : i64 to index
      %two = arith.constant 2 : index
      %ids, %a = moe.gate softmax %z top_k 3 dynamic %n : tensor<?x4xf32>
      %ids2, %b = moe.gate softmax %z top_k 3 dynamic %n select_first : tensor<?x4xf32>
      %ids3, %c = moe.gate softmax %z top_k 3 dynamic %two : tensor<?x4xf32>
      return %b : tensor<?x3xf32>
    })mlir",
                                            &context);
  ASSERT_TRUE(module);
  llvm::json::Object facts = moe::collectModelFacts(*module);
  const auto *inputs = facts.getArray("experts_per_token_inputs");
  ASSERT_TRUE(inputs);
  EXPECT_EQ(*inputs, llvm::json::Array({1}));
}
