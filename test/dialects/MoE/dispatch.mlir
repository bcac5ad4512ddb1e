// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

moe.bank @up in "m" key "up" : tensor<8x128x64xf32>
moe.bank @down in "m" key "down" : tensor<8x64x128xf32>

moe.pool @ffn0 {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
  moe.null_expert @e2 zero
  moe.expert @e3 ffn relu up @up[3] down @down[3]
  moe.alias @e4 of @e0
  moe.null_expert @e5 copy
  moe.expert @e6 ffn relu up @up[6] down @down[6]
  moe.expert @e7 ffn relu up @up[7] down @down[7]
}

// An apply in its three parts.

// CHECK-LABEL: func.func @expanded
func.func @expanded(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>) -> tensor<?x64xf32> {
  // CHECK: moe.dispatch @ffn0 %{{.*}} by %{{.*}} : (tensor<?x64xf32>, tensor<?x2xi32>) -> (tensor<?x64xf32>, tensor<9xi32>, tensor<?xi32>)
  %rows, %offsets, %slots = moe.dispatch @ffn0 %x by %ids
      : (tensor<?x64xf32>, tensor<?x2xi32>) -> (tensor<?x64xf32>, tensor<9xi32>, tensor<?xi32>)
  // CHECK: moe.expert_ffn @ffn0 %{{.*}} offsets %{{.*}} : (tensor<?x64xf32>, tensor<9xi32>) -> tensor<?x64xf32>
  %out = moe.expert_ffn @ffn0 %rows offsets %offsets
      : (tensor<?x64xf32>, tensor<9xi32>) -> tensor<?x64xf32>
  // CHECK: moe.combine @ffn0 %{{.*}} slots %{{.*}} ids %{{.*}} tokens %{{.*}} weights %{{.*}} :
  %y = moe.combine @ffn0 %out slots %slots ids %ids tokens %x weights %weights
      : (tensor<?x64xf32>, tensor<?xi32>, tensor<?x2xi32>, tensor<?x64xf32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Weights on the input (Llama 4).

// CHECK-LABEL: func.func @scale_input
func.func @scale_input(%x: tensor<?x64xf32>, %ids: tensor<?x1xi32>, %weights: tensor<?x1xf32>) -> tensor<?x64xf32> {
  // CHECK: moe.dispatch @ffn0 %{{.*}} by %{{.*}} weights %{{.*}} prescale 2.000000e+00 :
  %rows, %offsets, %slots = moe.dispatch @ffn0 %x by %ids weights %weights prescale 2.0
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> (tensor<?x64xf32>, tensor<9xi32>, tensor<?xi32>)
  %out = moe.expert_ffn @ffn0 %rows offsets %offsets
      : (tensor<?x64xf32>, tensor<9xi32>) -> tensor<?x64xf32>
  // CHECK: moe.combine @ffn0 %{{.*}} slots %{{.*}} ids %{{.*}} tokens %{{.*}} weights %{{.*}} scale_input prescale 2.000000e+00 :
  %y = moe.combine @ffn0 %out slots %slots ids %ids tokens %x weights %weights scale_input prescale 2.0
      : (tensor<?x64xf32>, tensor<?xi32>, tensor<?x1xi32>, tensor<?x64xf32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
