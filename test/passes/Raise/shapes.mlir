// RUN: moe-opt %s --moe-raise-shapes | FileCheck %s

// What a Reshape leaves open follows from its input; broadcasting knows that
// sizes of one name are equal.

// CHECK-LABEL: func.func @heads
func.func @heads(%ids: tensor<?x?xi64> {moe.dims = ["batch", "seq"]},
                 %x: tensor<?x?x192xf32> {moe.dims = ["batch", "seq", ""]}) -> tensor<?x?x?x?xf32> {
  %d = onnx.constant dense<[-1, 32]> : tensor<2xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %all = onnx.constant dense<[-1]> : tensor<1xi64>
  %0 = onnx.node "Shape" v 19 (%ids) : (tensor<?x?xi64>) -> tensor<2xi64>
  %1 = onnx.node "Concat" v 13 (%0, %d) {axis = 0 : i64} : (tensor<2xi64>, tensor<2xi64>) -> tensor<4xi64>
  // CHECK: "Reshape"{{.*}} -> tensor<?x?x6x32xf32>
  %2 = onnx.node "Reshape" v 19 (%x, %1) : (tensor<?x?x192xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  // CHECK: "Transpose"{{.*}} -> tensor<?x6x?x32xf32>
  %3 = onnx.node "Transpose" v 13 (%2) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x?x?xf32>) -> tensor<?x?x?x?xf32>
  // CHECK: "Unsqueeze"{{.*}} -> tensor<?x6x1x?x32xf32>
  %4 = onnx.node "Unsqueeze" v 13 (%3, %two) : (tensor<?x?x?x?xf32>, tensor<1xi64>) -> tensor<?x?x?x?x?xf32>
  %5 = onnx.node "Shape" v 19 (%3) : (tensor<?x?x?x?xf32>) -> tensor<4xi64>
  // What is returned keeps its type.
  // CHECK: "Reshape"{{.*}} -> tensor<?x?x?x?xf32>
  %6 = onnx.node "Reshape" v 19 (%4, %5) : (tensor<?x?x?x?x?xf32>, tensor<4xi64>) -> tensor<?x?x?x?xf32>
  return %6 : tensor<?x?x?x?xf32>
}

// Sizes that only might be equal stay open.

// CHECK-LABEL: func.func @unknown
func.func @unknown(%x: tensor<?x4xf32>, %y: tensor<?xi64>) -> tensor<?x?xf32> {
  %all = onnx.constant dense<-1> : tensor<1xi64>
  %0 = onnx.node "Shape" v 19 (%y) : (tensor<?xi64>) -> tensor<1xi64>
  %1 = onnx.node "Concat" v 13 (%0, %all) {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  // CHECK: "Reshape"{{.*}} -> tensor<?x?xf32>
  %2 = onnx.node "Reshape" v 19 (%x, %1) : (tensor<?x4xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  %3 = onnx.node "Identity" v 19 (%2) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %3 : tensor<?x?xf32>
}

// What a -1 stands for where it stays open: dimensions of the input, which say it for empty tensors too.

// CHECK-LABEL: func.func @open
func.func @open(%x: tensor<?x6x?x32xf32> {moe.dims = ["batch", "", "seq", ""]}) -> tensor<?x32x?xf32> {
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %0 = onnx.node "Shape" v 19 (%x) {start = 2 : i64} : (tensor<?x6x?x32xf32>) -> tensor<2xi64>
  %1 = onnx.node "Concat" v 13 (%minus, %0) {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  // CHECK: "Reshape"{{.*}} {allowzero = 1 : i64, moe.open_dims = array<i64: 0, 1>}
  %2 = onnx.node "Reshape" v 19 (%x, %1) : (tensor<?x6x?x32xf32>, tensor<3xi64>) -> tensor<?x?x32xf32>
  %3 = onnx.node "Transpose" v 13 (%2) {perm = array<i64: 0, 2, 1>} : (tensor<?x?x32xf32>) -> tensor<?x32x?xf32>
  return %3 : tensor<?x32x?xf32>
}

// A 0 in the file asks for a copy of the input's size.

// CHECK-LABEL: func.func @copied
func.func @copied(%x: tensor<?x8xf32>) -> tensor<?x?x4xf32> {
  %0 = onnx.constant dense<[0, -1, 4]> : tensor<3xi64>
  // CHECK: "Reshape" v 19 (%{{.*}}, %{{.*}}) :
  %1 = onnx.node "Reshape" v 19 (%x, %0) : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
  %2 = onnx.node "Identity" v 19 (%1) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %2 : tensor<?x?x4xf32>
}

// Half of a size that the graph asks for.

// CHECK-LABEL: func.func @half
func.func @half(%x: tensor<?x8xf32>) -> tensor<?x?xf32> {
  %a0 = onnx.constant dense<0> : tensor<1xi64>
  %a1 = onnx.constant dense<1> : tensor<1xi64>
  %two = onnx.constant dense<2> : tensor<1xi64>
  %size = onnx.node "Shape" v 15 (%x) {start = 1 : i64, end = 2 : i64} : (tensor<?x8xf32>) -> tensor<1xi64>
  %half = onnx.node "Div" v 14 (%size, %two) : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  // CHECK: onnx.node "Slice" {{.*}} -> tensor<?x4xf32>
  %y = onnx.node "Slice" v 13 (%x, %a0, %half, %a1) : (tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  %z = onnx.node "Neg" v 13 (%y) : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %z : tensor<?x?xf32>
}
