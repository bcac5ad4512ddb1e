// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// HyperMoE (arXiv 2402.12656; Bumble666/Hyper_MoE) on a Switch layer: top 1, raw weight, tokens of
// full experts go on themselves, scaled. An adapter is added whose weights a
// network makes from the experts that a token did not select. The layer
// embedding is part of the network here. With k fixed there are only E over k
// adapters, and a table replaces the network.

moe.bank @router in "m" key "router" : tensor<8x64xf32>
moe.bank @wi in "m" key "wi" : tensor<8x128x64xf32>
moe.bank @wo in "m" key "wo" : tensor<8x64x128xf32>
moe.bank @emb in "m" key "expert_embedding" : tensor<8x128xf32>

// CHECK-LABEL: moe.pool @ffn1
moe.pool @ffn1 {
  moe.expert @e0 ffn relu up @wi[0] down @wo[0]
  moe.expert @e1 ffn relu up @wi[1] down @wo[1]
  moe.expert @e2 ffn relu up @wi[2] down @wo[2]
  moe.expert @e3 ffn relu up @wi[3] down @wo[3]
  moe.expert @e4 ffn relu up @wi[4] down @wo[4]
  moe.expert @e5 ffn relu up @wi[5] down @wo[5]
  moe.expert @e6 ffn relu up @wi[6] down @wo[6]
  moe.expert @e7 ffn relu up @wi[7] down @wo[7]
}

// Linear, ReLU, Linear; with the layer's embedding beside it Linear, ReLU and four heads.
func.func private @hyper(tensor<?x128xf32>) -> (tensor<?x64x16xf32>, tensor<?x16xf32>, tensor<?x16x64xf32>, tensor<?x64xf32>)

// CHECK-LABEL: func.func @generated
func.func @generated(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<8x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<8x64xf32>) : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: %[[G:.*]]:2 = moe.gate softmax %{{.*}} over @ffn1 top_k 1 capacity 64 overflow pass : tensor<?x8xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn1 top_k 1 capacity 64 overflow pass : tensor<?x8xf32>
  // The adapter asks what was selected, before anything overflows.
  // CHECK: %[[C:.*]]:2 = moe.gate softmax %{{.*}} over @ffn1 top_k 1 : tensor<?x8xf32>
  %chosen, %p = moe.gate softmax %logits over @ffn1 top_k 1 : tensor<?x8xf32>
  // CHECK: moe.apply @ffn1 %{{.*}} ids %[[G]]#0 weights %[[G]]#1
  %y = moe.apply @ffn1 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  %emb = moe.weight @emb : tensor<8x128xf32>
  // CHECK: moe.hyper_adapter %{{.*}} ids %[[C]]#0 experts 8 generator @hyper embeddings %{{.*}} :
  %a = moe.hyper_adapter %x ids %chosen experts 8 generator @hyper embeddings %emb
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<8x128xf32>) -> tensor<?x64xf32>
  %z = arith.addf %y, %a : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @folded
func.func @folded(%x: tensor<?x64xf32>, %chosen: tensor<?x1xi32>, %down: tensor<8x64x16xf32>, %down_bias: tensor<8x16xf32>,
                  %up: tensor<8x16x64xf32>, %up_bias: tensor<8x64xf32>) -> tensor<?x64xf32> {
  // CHECK: moe.hyper_adapter %{{.*}} ids %{{.*}} experts 8 table %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} :
  %a = moe.hyper_adapter %x ids %chosen experts 8 table %down, %down_bias, %up, %up_bias
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<8x64x16xf32>, tensor<8x16xf32>, tensor<8x16x64xf32>, tensor<8x64xf32>) -> tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}
