// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

moe.bank @up in "m" key "up" : tensor<2x128x64xf32>
moe.bank @down in "m" key "down" : tensor<2x64x128xf32>

moe.pool @ffn0 {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
}

moe.pool @functions {
  moe.expert_fn @a calls @f states [0]
  moe.expert_fn @b calls @f states [1] input 1
}

func.func private @f(tensor<?x64xf32>, tensor<?xi64>, tensor<?x8xf32>) -> (tensor<?x64xf32>, tensor<?x8xf32>)

// CHECK-LABEL: func.func @forms
func.func @forms(%x: tensor<?x64xf32>, %x1: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %weights: tensor<?x2xf32>, %one: tensor<?x1xi32>,
                 %p: tensor<?x2xf32>, %q: tensor<?x1xf32>, %pos: tensor<?xi64>, %s: tensor<?x8xf32>, %batch: tensor<?x?x64xf32>) {
  // CHECK: moe.apply @ffn0 %{{.*}} ids %{{.*}} weights %{{.*}} : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  // Dense; and two dense gates with subsets over one pool.
  // CHECK: moe.apply @ffn0 %{{.*}} weights %{{.*}} : (tensor<?x64xf32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  %1 = moe.apply @ffn0 %x weights %p : (tensor<?x64xf32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  // CHECK: moe.apply @ffn0 %{{.*}} weights %{{.*}}, %{{.*}} subsets [array<i64: 1, 0>, array<i64: 1>] : (tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x1xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>)
  %2:2 = moe.apply @ffn0 %x weights %p, %q subsets [array<i64: 1, 0>, array<i64: 1>]
      : (tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x1xf32>) -> (tensor<?x64xf32>, tensor<?x64xf32>)
  // From a table, without weights.
  // CHECK: moe.apply @ffn0 %{{.*}} ids %{{.*}} combine replace layer "l0" : (tensor<?x64xf32>, tensor<?x1xi32>) -> tensor<?x64xf32>
  %3 = moe.apply @ffn0 %x ids %one combine replace layer "l0" : (tensor<?x64xf32>, tensor<?x1xi32>) -> tensor<?x64xf32>
  // CHECK: scale_input prescale 2.000000e+00
  %4 = moe.apply @ffn0 %x ids %ids weights %weights scale_input prescale 2.0
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  // One input per group, an extra operand, states, probabilities.
  // CHECK: moe.apply @functions %{{.*}}, %{{.*}} weights %{{.*}} extras %{{.*}} states %{{.*}}, %{{.*}} combine probability
  %5:3 = moe.apply @functions %x, %x1 weights %p extras %pos states %s, %s combine probability
      : (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x2xf32>, tensor<?xi64>, tensor<?x8xf32>, tensor<?x8xf32>)
      -> (tensor<?x64xf32>, tensor<?x8xf32>, tensor<?x8xf32>)
  // Whole sequences are routed: one row of ids per batch entry.
  // CHECK: moe.apply @ffn0 %{{.*}} ids %{{.*}} : (tensor<?x?x64xf32>, tensor<?x1xi32>) -> tensor<?x?x64xf32>
  %6 = moe.apply @ffn0 %batch ids %one : (tensor<?x?x64xf32>, tensor<?x1xi32>) -> tensor<?x?x64xf32>
  return
}
