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
