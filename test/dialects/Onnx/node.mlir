// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// Operators of the default domain, of another one, and with subgraphs.

// CHECK-LABEL: func.func @nodes
func.func @nodes(%a: tensor<?x8xf32>, %b: tensor<4x8xf32>, %c: tensor<i1>) -> tensor<?x4xf32> {
  // CHECK: onnx.node "Gemm" v 13 (%{{.*}}, %{{.*}}) {transB = 1 : i64} : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Gemm" v 13 (%a, %b) {transB = 1 : i64}
      : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  // CHECK: onnx.none
  %none = onnx.none
  // CHECK: onnx.constant dense<[0, 1]> : tensor<2xi64>
  %axes = onnx.constant dense<[0, 1]> : tensor<2xi64>
  // CHECK: onnx.node "com.microsoft" "QuickGelu" v 1
  %g = onnx.node "com.microsoft" "QuickGelu" v 1 (%y) {alpha = 1.0 : f32} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: onnx.node "If" v 16 (%{{.*}}) do {
  %i = onnx.node "If" v 16 (%c) do {
    onnx.yield %g : tensor<?x4xf32>
  } do {
    onnx.yield %y : tensor<?x4xf32>
  } : (tensor<i1>) -> tensor<?x4xf32>
  return %i : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @loop
func.func @loop(%y: tensor<?xf32>, %n: tensor<i64>, %c: tensor<i1>) -> tensor<?xf32> {
  // CHECK: onnx.node "Loop" v 16
  %r = onnx.node "Loop" v 16 (%n, %c, %y) do {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %x: tensor<?xf32>):
    // CHECK: onnx.yield %{{.*}}, %{{.*}} : tensor<i1>, tensor<?xf32>
    onnx.yield %go, %x : tensor<i1>, tensor<?xf32>
  } : (tensor<i64>, tensor<i1>, tensor<?xf32>) -> tensor<?xf32>
  // CHECK: onnx.node "If" v 16
  %s = onnx.node "If" v 16 (%c) do {
    // CHECK: onnx.yield %{{.*}} : tensor<?xf32>
    onnx.yield %y : tensor<?xf32>
  } do {
    onnx.yield %r : tensor<?xf32>
  } : (tensor<i1>) -> tensor<?xf32>
  return %s : tensor<?xf32>
}
