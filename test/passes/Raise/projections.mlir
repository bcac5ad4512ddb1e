// RUN: moe-opt %s --moe-raise-projections | FileCheck %s

moe.bank @w in "a" at 0 length 24576 : tensor<192x64xbf16>

// Leading dimensions become rows; the narrow weight is read as it is stored.

// CHECK-LABEL: func.func @projection
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x?x192xf32>
func.func @projection(%x: tensor<?x?x192xf32>) -> tensor<?x?x64xf32> {
  // CHECK: %[[W:.*]] = moe.weight @w
  %w = moe.weight @w : tensor<192x64xbf16>
  %f = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<192x64xbf16>) -> tensor<192x64xf32>
  // CHECK: %[[ROWS:.*]] = tensor.collapse_shape %[[X]] {{\[\[}}0, 1], [2]]
  // CHECK: %[[Y:.*]] = moert.gemm ins(%[[ROWS]], %[[W]]
  // CHECK: tensor.reshape %[[Y]]
  %y = onnx.node "MatMul" v 13 (%x, %f) : (tensor<?x?x192xf32>, tensor<192x64xf32>) -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

// A product of two activations is none.

// CHECK-LABEL: func.func @no_weight
func.func @no_weight(%x: tensor<?x192xf32>, %w: tensor<192x64xf32>) -> tensor<?x64xf32> {
  // CHECK: onnx.node "MatMul"
  %y = onnx.node "MatMul" v 13 (%x, %w) : (tensor<?x192xf32>, tensor<192x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// A stored bias and rows of the same sizes become part of the product.

moe.bank @b in "a" at 24576 length 128 : tensor<64xbf16>

// CHECK-LABEL: func.func @sums
// CHECK-SAME: %[[X:[^:]+]]: tensor<?x192xf32> {{.*}}, %[[R:[^:]+]]: tensor<?x64xf32>
func.func @sums(%x: tensor<?x192xf32> {moe.dims = ["t", 192]}, %r: tensor<?x64xf32> {moe.dims = ["t", 64]}) -> tensor<?x64xf32> {
  %w = moe.weight @w : tensor<192x64xbf16>
  %f = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<192x64xbf16>) -> tensor<192x64xf32>
  // CHECK: %[[B:.*]] = moe.weight @b
  %b = moe.weight @b : tensor<64xbf16>
  %bf = onnx.node "Cast" v 19 (%b) {to = 1 : i64} : (tensor<64xbf16>) -> tensor<64xf32>
  %p = onnx.node "MatMul" v 13 (%x, %f) : (tensor<?x192xf32>, tensor<192x64xf32>) -> tensor<?x64xf32>
  %s = onnx.node "Add" v 14 (%p, %bf) : (tensor<?x64xf32>, tensor<64xf32>) -> tensor<?x64xf32>
  // CHECK: %[[Y:.*]] = moert.gemm ins(%[[X]], %{{.*}}) bias(%[[B]] : tensor<64xbf16>) residual(%[[R]] : tensor<?x64xf32>)
  // CHECK-NEXT: return %[[Y]]
  %y = onnx.node "Add" v 14 (%r, %s) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Rows that are not known to be as many stay a sum of their own.

// CHECK-LABEL: func.func @other_rows
func.func @other_rows(%x: tensor<?x192xf32>, %r: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @w : tensor<192x64xbf16>
  %f = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<192x64xbf16>) -> tensor<192x64xf32>
  %p = onnx.node "MatMul" v 13 (%x, %f) : (tensor<?x192xf32>, tensor<192x64xf32>) -> tensor<?x64xf32>
  // CHECK: moert.gemm
  // CHECK-NOT: residual
  // CHECK: onnx.node "Add"
  %y = onnx.node "Add" v 14 (%r, %p) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Two products in one sum: the first takes the second as its residual.

// CHECK-LABEL: func.func @two_products
func.func @two_products(%x: tensor<?x192xf32> {moe.dims = ["t", 192]}) -> tensor<?x64xf32> {
  %w = moe.weight @w : tensor<192x64xbf16>
  %f = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<192x64xbf16>) -> tensor<192x64xf32>
  %two = onnx.constant dense<2.0> : tensor<f32>
  %x2 = onnx.node "Mul" v 14 (%x, %two) : (tensor<?x192xf32>, tensor<f32>) -> tensor<?x192xf32>
  %p = onnx.node "MatMul" v 13 (%x, %f) : (tensor<?x192xf32>, tensor<192x64xf32>) -> tensor<?x64xf32>
  %q = onnx.node "MatMul" v 13 (%x2, %f) : (tensor<?x192xf32>, tensor<192x64xf32>) -> tensor<?x64xf32>
  // CHECK: %[[Q:.*]] = moert.gemm
  // CHECK: %[[Y:.*]] = moert.gemm {{.*}} residual(%[[Q]] :
  // CHECK-NOT: MatMul
  // CHECK: return %[[Y]]
  %y = onnx.node "Add" v 14 (%p, %q) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
