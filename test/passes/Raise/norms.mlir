// RUN: moe-opt %s --moe-raise-norms | FileCheck %s
// RUN: moe-opt %s --moe-raise-norms --remarks-filter='moe-.*' -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

moe.bank @scale in "a" at 0 length 8 : tensor<4xbf16>

// A root mean square, spelled with Pow, Sqrt and Reciprocal.

// CHECK-LABEL: func.func @rms
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>
func.func @rms(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %two = onnx.constant dense<2.0> : tensor<f32>
  %eps = onnx.constant dense<1.0e-6> : tensor<f32>
  %axes = onnx.constant dense<-1> : tensor<1xi64>
  // CHECK: %[[S:.*]] = onnx.constant dense<[1.000000e+00, 2.000000e+00, 5.000000e-01, 2.500000e-01]>
  %s = onnx.constant dense<[1.0, 2.0, 0.5, 0.25]> : tensor<4xf32>
  %0 = onnx.node "Pow" v 15 (%x, %two) : (tensor<?x4xf32>, tensor<f32>) -> tensor<?x4xf32>
  %1 = onnx.node "ReduceMean" v 18 (%0, %axes) {keepdims = 1 : i64} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.node "Add" v 14 (%1, %eps) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = onnx.node "Sqrt" v 13 (%2) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = onnx.node "Reciprocal" v 13 (%3) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %5 = onnx.node "Mul" v 14 (%x, %4) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  // CHECK-NOT: onnx.node
  // CHECK: moert.rms_norm ins(%[[X]], %[[S]] : tensor<?x4xf32>, tensor<4xf32>) outs({{.*}}) epsilon 9.99{{[0-9]*}}E-7
  // CHECK-NEXT: return
  // REMARK: [[@LINE+1]]:{{.*}}raised an RMS norm
  %6 = onnx.node "Mul" v 14 (%s, %5) : (tensor<4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %6 : tensor<?x4xf32>
}

// Mean and variance; the scale is a stored weight, read as it is stored.

// CHECK-LABEL: func.func @layer
// CHECK-SAME: %[[X:.*]]: tensor<2x?x4xf32>
func.func @layer(%x: tensor<2x?x4xf32>) -> tensor<2x?x4xf32> {
  // CHECK: %[[S:.*]] = moe.weight @scale
  %w = moe.weight @scale : tensor<4xbf16>
  %s = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<4xbf16>) -> tensor<4xf32>
  // CHECK: %[[B:.*]] = onnx.constant dense<[1.0
  %b = onnx.constant dense<[1.0, 2.0, 0.5, 0.25]> : tensor<4xf32>
  %half = onnx.constant dense<0.5> : tensor<f32>
  %eps = onnx.constant dense<1.0e-5> : tensor<f32>
  %0 = onnx.node "ReduceMean" v 13 (%x) {axes = array<i64: 2>, keepdims = 1 : i64} : (tensor<2x?x4xf32>) -> tensor<2x?x1xf32>
  %1 = onnx.node "Sub" v 14 (%x, %0) : (tensor<2x?x4xf32>, tensor<2x?x1xf32>) -> tensor<2x?x4xf32>
  %2 = onnx.node "Mul" v 14 (%1, %1) : (tensor<2x?x4xf32>, tensor<2x?x4xf32>) -> tensor<2x?x4xf32>
  %3 = onnx.node "ReduceMean" v 13 (%2) {axes = array<i64: 2>, keepdims = 1 : i64} : (tensor<2x?x4xf32>) -> tensor<2x?x1xf32>
  %4 = onnx.node "Add" v 14 (%3, %eps) : (tensor<2x?x1xf32>, tensor<f32>) -> tensor<2x?x1xf32>
  %5 = onnx.node "Pow" v 15 (%4, %half) : (tensor<2x?x1xf32>, tensor<f32>) -> tensor<2x?x1xf32>
  %6 = onnx.node "Div" v 14 (%1, %5) : (tensor<2x?x4xf32>, tensor<2x?x1xf32>) -> tensor<2x?x4xf32>
  %7 = onnx.node "Mul" v 14 (%6, %s) : (tensor<2x?x4xf32>, tensor<4xf32>) -> tensor<2x?x4xf32>
  // CHECK-NOT: ReduceMean
  // CHECK: moert.layer_norm ins(%[[X]], %[[S]] : tensor<2x?x4xf32>, tensor<4xbf16>) bias(%[[B]] : tensor<4xf32>)
  // REMARK-NOT: RMS
  // REMARK: [[@LINE+1]]:{{.*}}raised a layer norm
  %8 = onnx.node "Add" v 14 (%7, %b) : (tensor<2x?x4xf32>, tensor<4xf32>) -> tensor<2x?x4xf32>
  return %8 : tensor<2x?x4xf32>
}

// 1 + w is folded into a scale of its own.

// CHECK-LABEL: func.func @one_plus
func.func @one_plus(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %one = onnx.constant dense<1.0> : tensor<f32>
  %eps = onnx.constant dense<1.0e-6> : tensor<f32>
  %axes = onnx.constant dense<-1> : tensor<1xi64>
  %w = onnx.constant dense<[0.25, -0.5]> : tensor<2xf32>
  %s = onnx.node "Add" v 14 (%one, %w) : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %0 = onnx.node "Mul" v 14 (%x, %x) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %1 = onnx.node "ReduceMean" v 18 (%0, %axes) {keepdims = 1 : i64} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.node "Add" v 14 (%1, %eps) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %3 = onnx.node "Sqrt" v 13 (%2) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %4 = onnx.node "Div" v 14 (%x, %3) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  // CHECK: %[[S:.*]] = {{.*}} dense<[1.250000e+00, 5.000000e-01]>
  // CHECK: moert.rms_norm ins(%{{.*}}, %[[S]]
  %5 = onnx.node "Mul" v 14 (%4, %s) : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %5 : tensor<?x2xf32>
}

// Operators that say what they are.

// CHECK-LABEL: func.func @named
func.func @named(%x: tensor<?x4xf32>, %skip: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
  %s = onnx.constant dense<[1.0, 2.0, 0.5, 0.25]> : tensor<4xf32>
  // CHECK: moert.layer_norm {{.*}} epsilon 1.000000e-05
  %0 = onnx.node "LayerNormalization" v 17 (%x, %s) {axis = -1 : i64} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  // CHECK: %[[SUM:.*]] = onnx.node "Add"
  // CHECK: moert.rms_norm ins(%[[SUM]]
  // CHECK: return {{.*}}%[[SUM]] :
  %1:4 = onnx.node "com.microsoft" "SkipSimplifiedLayerNormalization" v 1 (%x, %skip, %s) {epsilon = 1.0e-6 : f32} : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<4xf32>) -> (tensor<?x4xf32>, none, none, tensor<?x4xf32>)
  return %0, %1#0, %1#3 : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}

// A mean that is no norm (the epsilon stands outside the root), and one in f16, stay.

// CHECK-LABEL: func.func @others
func.func @others(%x: tensor<?x2xf32>, %h: tensor<?x2xf16>) -> (tensor<?x2xf32>, tensor<?x2xf16>) {
  %eps = onnx.constant dense<1.0e-2> : tensor<f32>
  %axes = onnx.constant dense<-1> : tensor<1xi64>
  %s = onnx.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %t = onnx.constant dense<[1.0, 2.0]> : tensor<2xf16>
  %0 = onnx.node "Mul" v 14 (%x, %x) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  // CHECK: onnx.node "ReduceMean"
  // REMARK: [[@LINE+1]]:{{.*}}a mean over features is no norm that moert knows
  %1 = onnx.node "ReduceMean" v 18 (%0, %axes) {keepdims = 1 : i64} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
  %2 = onnx.node "Sqrt" v 13 (%1) : (tensor<?x1xf32>) -> tensor<?x1xf32>
  %3 = onnx.node "Add" v 14 (%2, %eps) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %4 = onnx.node "Div" v 14 (%x, %3) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %5 = onnx.node "Mul" v 14 (%4, %s) : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  // CHECK: onnx.node "LayerNormalization"
  %6 = onnx.node "LayerNormalization" v 17 (%h, %t) {axis = -1 : i64} : (tensor<?x2xf16>, tensor<2xf16>) -> tensor<?x2xf16>
  return %5, %6 : tensor<?x2xf32>, tensor<?x2xf16>
}
