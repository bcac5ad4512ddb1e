// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// BAM (arXiv 2408.08274): a parallel block x + Attn(LN(x)) + FFN(LN(x)), both made
// of N = 4 models (seed and three domains). FFN: top 1, raw softmax weight.
// Attention: all four, softmax weights. Each attention expert has its own keys
// and values, so a cache (two states) of its own.

moe.bank @ln in "m" key "ln" : tensor<64xf32>
moe.bank @ffn_router in "m" key "ffn_router" : tensor<4x64xf32>
moe.bank @attn_router in "m" key "attn_router" : tensor<4x64xf32>
moe.bank @gate in "m" key "gate" : tensor<4x128x64xf32>
moe.bank @up in "m" key "up" : tensor<4x128x64xf32>
moe.bank @down in "m" key "down" : tensor<4x64x128xf32>

func.func private @attention0(tensor<?x64xf32>, tensor<?x?xi64>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
    -> (tensor<?x64xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
func.func private @attention1(tensor<?x64xf32>, tensor<?x?xi64>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
    -> (tensor<?x64xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
func.func private @attention2(tensor<?x64xf32>, tensor<?x?xi64>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
    -> (tensor<?x64xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
func.func private @attention3(tensor<?x64xf32>, tensor<?x?xi64>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
    -> (tensor<?x64xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)

// CHECK-LABEL: moe.pool @attention
// CHECK-NEXT:    moe.expert_fn @seed calls @attention0 states [0, 1]
// CHECK-NEXT:    moe.expert_fn @code calls @attention1 states [2, 3]
moe.pool @attention {
  moe.expert_fn @seed calls @attention0 states [0, 1]
  moe.expert_fn @code calls @attention1 states [2, 3]
  moe.expert_fn @law calls @attention2 states [4, 5]
  moe.expert_fn @maths calls @attention3 states [6, 7]
}

// CHECK-LABEL: moe.pool @ffn
moe.pool @ffn {
  moe.expert @seed glu silu gate @gate[0] up @up[0] down @down[0]
  moe.expert @code glu silu gate @gate[1] up @up[1] down @down[1]
  moe.expert @law glu silu gate @gate[2] up @up[2] down @down[2]
  moe.expert @maths glu silu gate @gate[3] up @up[3] down @down[3]
}

// CHECK-LABEL: func.func @block
func.func @block(%x: tensor<?x64xf32>, %positions: tensor<?x?xi64>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %scale = moe.weight @ln : tensor<64xf32>
  // CHECK: %[[U:.*]] = moert.layer_norm
  %u = moert.layer_norm ins(%x, %scale : tensor<?x64xf32>, tensor<64xf32>) outs(%init : tensor<?x64xf32>)
      epsilon 1.0e-5 -> tensor<?x64xf32>

  %wa = moe.weight @attn_router : tensor<4x64xf32>
  %za = moe.router linear %u weight(%wa : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  // CHECK: %[[P:.*]] = moe.gate softmax %{{.*}} over @attention dense : tensor<?x4xf32>
  %p = moe.gate softmax %za over @attention dense : tensor<?x4xf32>
  // CHECK-COUNT-8: moe.state "layers.0.{{.*}}" -> tensor<1x2x?x32xf32>
  %k0 = moe.state "layers.0.seed.k" -> tensor<1x2x?x32xf32>
  %v0 = moe.state "layers.0.seed.v" -> tensor<1x2x?x32xf32>
  %k1 = moe.state "layers.0.code.k" -> tensor<1x2x?x32xf32>
  %v1 = moe.state "layers.0.code.v" -> tensor<1x2x?x32xf32>
  %k2 = moe.state "layers.0.law.k" -> tensor<1x2x?x32xf32>
  %v2 = moe.state "layers.0.law.v" -> tensor<1x2x?x32xf32>
  %k3 = moe.state "layers.0.maths.k" -> tensor<1x2x?x32xf32>
  %v3 = moe.state "layers.0.maths.v" -> tensor<1x2x?x32xf32>
  // CHECK: %[[A:.*]]:9 = moe.apply @attention %[[U]] weights %[[P]] extras %{{.*}} states
  %a:9 = moe.apply @attention %u weights %p extras %positions states %k0, %v0, %k1, %v1, %k2, %v2, %k3, %v3
      : (tensor<?x64xf32>, tensor<?x4xf32>, tensor<?x?xi64>,
         tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>,
         tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
      -> (tensor<?x64xf32>,
         tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>,
         tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>, tensor<1x2x?x32xf32>)
  // CHECK-COUNT-8: moe.state "layers.0.{{.*}}" = %[[A]]#
  moe.state "layers.0.seed.k" = %a#1 : tensor<1x2x?x32xf32>
  moe.state "layers.0.seed.v" = %a#2 : tensor<1x2x?x32xf32>
  moe.state "layers.0.code.k" = %a#3 : tensor<1x2x?x32xf32>
  moe.state "layers.0.code.v" = %a#4 : tensor<1x2x?x32xf32>
  moe.state "layers.0.law.k" = %a#5 : tensor<1x2x?x32xf32>
  moe.state "layers.0.law.v" = %a#6 : tensor<1x2x?x32xf32>
  moe.state "layers.0.maths.k" = %a#7 : tensor<1x2x?x32xf32>
  moe.state "layers.0.maths.v" = %a#8 : tensor<1x2x?x32xf32>

  %wf = moe.weight @ffn_router : tensor<4x64xf32>
  %zf = moe.router linear %u weight(%wf : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn top_k 1 : tensor<?x4xf32>
  %ids, %weights = moe.gate softmax %zf over @ffn top_k 1 : tensor<?x4xf32>
  // CHECK: %[[F:.*]] = moe.apply @ffn %[[U]]
  %f = moe.apply @ffn %u ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x64xf32>

  // CHECK: arith.addf %{{.*}}, %[[A]]#0
  %xa = arith.addf %x, %a#0 : tensor<?x64xf32>
  // CHECK: arith.addf %{{.*}}, %[[F]]
  %y = arith.addf %xa, %f : tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
