// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @state
func.func @state(%new: tensor<2xf32>) -> (tensor<2xf32>, tensor<?x2x?x32xf32>) {
  // CHECK: moe.state "posterior" init dense<5.000000e-01> : tensor<2xf32> -> tensor<2xf32>
  // CHECK: moe.state "posterior" = %{{.*}} : tensor<2xf32>
  %prior = moe.state "posterior" init dense<0.5> : tensor<2xf32> -> tensor<2xf32>
  moe.state "posterior" = %new : tensor<2xf32>
  // CHECK: moe.state "layers.0.k" -> tensor<?x2x?x32xf32>
  %k = moe.state "layers.0.k" -> tensor<?x2x?x32xf32>
  return %prior, %k : tensor<2xf32>, tensor<?x2x?x32xf32>
}

// CHECK-LABEL: func.func @layers
func.func @layers(%h: tensor<?x64xf32>, %k: tensor<4xf32>) -> (tensor<?x64xf32>, tensor<4xf32>) {
  // CHECK: moe.layer moe "layers.3.moe" bypass(%{{.*}} : tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK:   moe.yield %{{.*}} : tensor<?x64xf32>
  %y = moe.layer moe "layers.3.moe" bypass(%h : tensor<?x64xf32>) -> tensor<?x64xf32> {
    %sum = arith.addf %h, %h : tensor<?x64xf32>
    moe.yield %sum : tensor<?x64xf32>
  }
  // A block with a second result, which vanishes with it.
  // CHECK: moe.layer block "layers.4" bypass(%{{.*}} : tensor<?x64xf32>) -> tensor<?x64xf32>, tensor<4xf32> {
  %z:2 = moe.layer block "layers.4" bypass(%y : tensor<?x64xf32>) -> tensor<?x64xf32>, tensor<4xf32> {
    moe.yield %y, %k : tensor<?x64xf32>, tensor<4xf32>
  }
  // CHECK: moe.layer ffn "empty" {
  // CHECK-NEXT: }
  moe.layer ffn "empty" {
    moe.yield
  }
  return %z#0, %z#1 : tensor<?x64xf32>, tensor<4xf32>
}
