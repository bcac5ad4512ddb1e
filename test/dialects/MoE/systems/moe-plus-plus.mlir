// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// MoE++ (arXiv 2410.07348; SkyworkAI/MoE-plus-plus): zero, copy and constant experts beside
// FFNs, and logits that add a map of the logits of the layer before. The paper
// and its code differ; both can be said.

moe.bank @gate in "m" key "gate" : tensor<4x128x64xf32>
moe.bank @up in "m" key "up" : tensor<4x128x64xf32>
moe.bank @down in "m" key "down" : tensor<4x64x128xf32>
moe.bank @value in "m" key "constant_value" : tensor<2x64xf32>
moe.bank @mix in "m" key "constant_mix" : tensor<2x2x64xf32>
moe.bank @router in "m" key "router" : tensor<8x64xf32>
moe.bank @router1 in "m" key "router1" : tensor<64x64xf32>
moe.bank @residual in "m" key "gate_residual" : tensor<8x8xf32>

// The code's order: FFNs, constants, copy, zero.

// CHECK-LABEL: moe.pool @ffn1
// CHECK-COUNT-4: moe.expert
// CHECK-NEXT:    moe.null_expert @constant0 constant value @value[0] mix @mix[0]
// CHECK-NEXT:    moe.null_expert @constant1 constant value @value[1] mix @mix[1]
// CHECK-NEXT:    moe.null_expert @copy copy
// CHECK-NEXT:    moe.null_expert @zero zero
moe.pool @ffn1 {
  moe.expert @e0 glu silu gate @gate[0] up @up[0] down @down[0]
  moe.expert @e1 glu silu gate @gate[1] up @up[1] down @down[1]
  moe.expert @e2 glu silu gate @gate[2] up @up[2] down @down[2]
  moe.expert @e3 glu silu gate @gate[3] up @up[3] down @down[3]
  moe.null_expert @constant0 constant value @value[0] mix @mix[0]
  moe.null_expert @constant1 constant value @value[1] mix @mix[1]
  moe.null_expert @copy copy
  moe.null_expert @zero zero
}

// The paper: gating residual, raw probabilities of the top 2. Capacities per
// kind of expert: gamma 1.1, tau 0.75, overflow is dropped.

// CHECK-LABEL: func.func @paper
func.func @paper(%x: tensor<?x64xf32>, %before: tensor<?x8xf32>) -> (tensor<?x64xf32>, tensor<?x8xf32>) {
  %w = moe.weight @router : tensor<8x64xf32>
  %R = moe.weight @residual : tensor<8x8xf32>
  // CHECK: moe.router linear %{{.*}} residual(%{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<8x8xf32>)
  %logits = moe.router linear %x weight(%w : tensor<8x64xf32>) residual(%before, %R : tensor<?x8xf32>, tensor<8x8xf32>)
      : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn1 top_k 2 capacity_factor 1.100000e+00 capacity_tau 7.500000e-01 : tensor<?x8xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn1 top_k 2 capacity_factor 1.1 capacity_tau 0.75 : tensor<?x8xf32>
  // CHECK: moe.apply @ffn1
  %y = moe.apply @ffn1 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y, %logits : tensor<?x64xf32>, tensor<?x8xf32>
}

// The code: a router of two layers with tanh between, the zero expert's weight
// set to 0 and the pair renormalised, the input doubled for every expert.

// CHECK-LABEL: func.func @code
func.func @code(%x: tensor<?x64xf32>, %before: tensor<?x8xf32>) -> (tensor<?x64xf32>, tensor<?x8xf32>) {
  %w = moe.weight @router : tensor<8x64xf32>
  %h = moe.weight @router1 : tensor<64x64xf32>
  %R = moe.weight @residual : tensor<8x8xf32>
  // CHECK: moe.router linear_tanh_linear
  %logits = moe.router linear_tanh_linear %x weight(%w : tensor<8x64xf32>) hidden(%h : tensor<64x64xf32>)
      residual(%before, %R : tensor<?x8xf32>, tensor<8x8xf32>) : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn1 top_k 2 norm nonzero : tensor<?x8xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn1 top_k 2 norm nonzero : tensor<?x8xf32>
  // CHECK: moe.apply @ffn1 %{{.*}} ids %{{.*}} weights %{{.*}} prescale 2.000000e+00
  %y = moe.apply @ffn1 %x ids %ids weights %weights prescale 2.0
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y, %logits : tensor<?x64xf32>, tensor<?x8xf32>
}
