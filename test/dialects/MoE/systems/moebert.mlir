// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// MoEBERT (NAACL 2022; SimiaoZuo/MoEBERT): the FFN sub-layer of BERT, residual and
// norm included, becomes two experts, LN(W2 gelu(W1 x + b1) + b2 + x). Hidden
// units are sorted by importance, here as they stand; the first two go to every
// expert, the rest is dealt round robin, and each expert keeps six. A table from
// token ids to experts routes (hash), so there are no weights, and an expert's
// row replaces the token's.

moe.bank @w1 in "m" key "intermediate.weight" : tensor<12x64xf32>
moe.bank @b1 in "m" key "intermediate.bias" : tensor<12xf32>
moe.bank @w2 in "m" key "output.weight" : tensor<64x12xf32>
moe.bank @b2 in "m" key "output.bias" : tensor<64xf32>
moe.bank @ln in "m" key "ln.weight" : tensor<64xf32>
moe.bank @ln_b in "m" key "ln.bias" : tensor<64xf32>
moe.bank @hash in "m" key "hash" : tensor<1000xi32>

// CHECK: moe.bank @w1_0 recipe(#moe.permute<#moe.slice<@w1>, dim = 0, order = [0, 1, 2, 4, 6, 8]>) : tensor<6x64xf32>
moe.bank @w1_0 recipe(#moe.permute<#moe.slice<@w1>, dim = 0, order = [0, 1, 2, 4, 6, 8]>) : tensor<6x64xf32>
moe.bank @b1_0 recipe(#moe.permute<#moe.slice<@b1>, dim = 0, order = [0, 1, 2, 4, 6, 8]>) : tensor<6xf32>
moe.bank @w2_0 recipe(#moe.permute<#moe.slice<@w2>, dim = 1, order = [0, 1, 2, 4, 6, 8]>) : tensor<64x6xf32>
// CHECK: order = [0, 1, 3, 5, 7, 9]
moe.bank @w1_1 recipe(#moe.permute<#moe.slice<@w1>, dim = 0, order = [0, 1, 3, 5, 7, 9]>) : tensor<6x64xf32>
moe.bank @b1_1 recipe(#moe.permute<#moe.slice<@b1>, dim = 0, order = [0, 1, 3, 5, 7, 9]>) : tensor<6xf32>
moe.bank @w2_1 recipe(#moe.permute<#moe.slice<@w2>, dim = 1, order = [0, 1, 3, 5, 7, 9]>) : tensor<64x6xf32>

// An FFN inside of an expert is itself a pool of one.
moe.pool @inner0 {
  moe.expert @ffn ffn gelu up @w1_0 up_bias @b1_0 down @w2_0 down_bias @b2
}
moe.pool @inner1 {
  moe.expert @ffn ffn gelu up @w1_1 up_bias @b1_1 down @w2_1 down_bias @b2
}

// CHECK-LABEL: func.func private @expert0
func.func private @expert0(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %ones = tensor.splat %one[%n] : tensor<?x1xf32>
  %f = moe.apply @inner0 %x weights %ones : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  // CHECK: %[[S:.*]] = arith.addf
  %s = arith.addf %f, %x : tensor<?x64xf32>
  %scale = moe.weight @ln : tensor<64xf32>
  %bias = moe.weight @ln_b : tensor<64xf32>
  %init = tensor.empty(%n) : tensor<?x64xf32>
  // CHECK: moert.layer_norm ins(%[[S]],
  %y = moert.layer_norm ins(%s, %scale : tensor<?x64xf32>, tensor<64xf32>) bias(%bias : tensor<64xf32>)
      outs(%init : tensor<?x64xf32>) epsilon 1.0e-12 -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
func.func private @expert1(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %c0 = arith.constant 0 : index
  %one = arith.constant 1.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  %ones = tensor.splat %one[%n] : tensor<?x1xf32>
  %f = moe.apply @inner1 %x weights %ones : (tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  %s = arith.addf %f, %x : tensor<?x64xf32>
  %scale = moe.weight @ln : tensor<64xf32>
  %bias = moe.weight @ln_b : tensor<64xf32>
  %init = tensor.empty(%n) : tensor<?x64xf32>
  %y = moert.layer_norm ins(%s, %scale : tensor<?x64xf32>, tensor<64xf32>) bias(%bias : tensor<64xf32>)
      outs(%init : tensor<?x64xf32>) epsilon 1.0e-12 -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: moe.pool @layer0
// CHECK-NEXT:    moe.expert_fn @e0 calls @expert0
moe.pool @layer0 {
  moe.expert_fn @e0 calls @expert0
  moe.expert_fn @e1 calls @expert1
}

// CHECK-LABEL: func.func @hash_routing
func.func @hash_routing(%x: tensor<?x64xf32>, %tokens: tensor<?xi64>) -> tensor<?x64xf32> {
  %table = moe.weight @hash : tensor<1000xi32>
  // CHECK: %[[I:.*]] = moe.router table %{{.*}} weight(%{{.*}} : tensor<1000xi32>) : tensor<?xi64> -> tensor<?x1xi32>
  %ids = moe.router table %tokens weight(%table : tensor<1000xi32>) : tensor<?xi64> -> tensor<?x1xi32>
  // CHECK: moe.apply @layer0 %{{.*}} ids %[[I]] combine replace :
  %y = moe.apply @layer0 %x ids %ids combine replace : (tensor<?x64xf32>, tensor<?x1xi32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// A sentence-level gate: one row of logits, from the masked mean, per sequence; the
// output, after its norm, is multiplied by the probability.

// CHECK-LABEL: func.func @gate_sentence
func.func @gate_sentence(%x: tensor<?x?x64xf32>, %mean: tensor<?x64xf32>, %w: tensor<2x64xf32>) -> tensor<?x?x64xf32> {
  %logits = moe.router linear %mean weight(%w : tensor<2x64xf32>) : tensor<?x64xf32> -> tensor<?x2xf32>
  // CHECK: moe.gate softmax %{{.*}} over @layer0 top_k 1 granularity sequence
  %ids, %weights = moe.gate softmax %logits over @layer0 top_k 1 granularity sequence : tensor<?x2xf32>
  // CHECK: moe.apply @layer0 %{{.*}} ids %{{.*}} weights %{{.*}} combine replace :
  %y = moe.apply @layer0 %x ids %ids weights %weights combine replace
      : (tensor<?x?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}
