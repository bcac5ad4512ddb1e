// RUN: moe-opt %s --convert-onnx-to-linalg --canonicalize | FileCheck %s

// All rows have their place at the start; the loop ends by its count alone.

// CHECK-LABEL: func.func @counted
// CHECK-SAME:    %[[N:[^:]+]]: tensor<i64>, %[[X:[^:]+]]: tensor<3xf32>
func.func @counted(%n: tensor<i64>, %x: tensor<3xf32>) -> (tensor<3xf32>, tensor<?x3xf32>) {
  // CHECK:     %[[TRIPS:.*]] = tensor.extract %[[N]][]
  // CHECK:     %[[ROWS:.*]] = tensor.empty(%{{.*}}) : tensor<?x3xf32>
  // CHECK:     scf.while (%[[I:.*]] = %{{.*}}, %[[A:.*]] = %[[X]], %[[R:.*]] = %[[ROWS]])
  // CHECK:       arith.cmpi slt, %{{.*}}, %[[TRIPS]]
  // CHECK:     } do {
  // CHECK:       tensor.insert_slice %{{.*}} into %{{.*}}[%{{.*}}, 0] [1, 3] [1, 1] : tensor<3xf32> into tensor<?x3xf32>
  // CHECK-NOT: tensor.extract_slice
  %none = onnx.none
  %r:2 = onnx.node "Loop" v 16 (%n, %none, %x) do {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %a: tensor<3xf32>):
    %on = onnx.node "Identity" v 16 (%go) : (tensor<i1>) -> tensor<i1>
    %b = onnx.node "Neg" v 13 (%a) : (tensor<3xf32>) -> tensor<3xf32>
    onnx.yield %on, %b, %b : tensor<i1>, tensor<3xf32>, tensor<3xf32>
  } : (tensor<i64>, none, tensor<3xf32>) -> (tensor<3xf32>, tensor<?x3xf32>)
  // CHECK: return
  return %r#0, %r#1 : tensor<3xf32>, tensor<?x3xf32>
}

// A condition that may end it early: rows are reserved for a small count, and
// cut off where they end.

// CHECK-LABEL: func.func @early
func.func @early(%go: tensor<i1>, %x: tensor<f32>) -> tensor<?xf32> {
  // CHECK: %[[ROWS:.*]] = tensor.empty() : tensor<8xf32>
  // CHECK: %[[L:.*]]:2 = scf.while
  // CHECK: tensor.extract_slice %[[L]]#1[0] [%[[L]]#0] [1]
  %n = onnx.constant dense<8> : tensor<i64>
  %r = onnx.node "Loop" v 16 (%n, %go) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>):
    %d = onnx.node "Less" v 13 (%i, %n) : (tensor<i64>, tensor<i64>) -> tensor<i1>
    onnx.yield %d, %x : tensor<i1>, tensor<f32>
  } : (tensor<i64>, tensor<i1>) -> tensor<?xf32>
  return %r : tensor<?xf32>
}

// No bound: rows grow.

// CHECK-LABEL: func.func @open
func.func @open(%go: tensor<i1>, %x: tensor<?xf32>) -> tensor<?x?xf32> {
  // CHECK: scf.while
  // CHECK: cf.assert %{{.*}}, "Loop: a scan output changes its shape"
  // CHECK: tensor.insert_slice
  // CHECK: tensor.insert_slice
  %none = onnx.none
  %r = onnx.node "Loop" v 16 (%none, %go) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>):
    %d = onnx.node "Not" v 1 (%c) : (tensor<i1>) -> tensor<i1>
    onnx.yield %d, %x : tensor<i1>, tensor<?xf32>
  } : (none, tensor<i1>) -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}
