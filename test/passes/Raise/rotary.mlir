// RUN: moe-opt %s --split-input-file --moe-raise-rotary | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-raise-rotary --remarks-filter='moe-.*' -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Halves are rotated, heads first: the table is made of positions and
// frequencies that the graph multiplies, and the heads are turned around it.

// CHECK-LABEL: func.func @halves
// CHECK-SAME: %[[X:.*]]: tensor<?x2x?x4xf32> {{.*}}, %[[P:.*]]: tensor<?x?xi64>
func.func @halves(%x: tensor<?x2x?x4xf32> {moe.dims = ["b", 2, "s", 4]},
                  %p: tensor<?x?xi64> {moe.dims = ["b", "s"]}) -> tensor<?x2x?x4xf32> {
  %freq = onnx.constant dense<[1.0, 0.01]> : tensor<2xf32>
  %a0 = onnx.constant dense<0> : tensor<1xi64>
  %a1 = onnx.constant dense<1> : tensor<1xi64>
  %a2 = onnx.constant dense<2> : tensor<1xi64>
  %a3 = onnx.constant dense<3> : tensor<1xi64>
  %end = onnx.constant dense<9223372036854775807> : tensor<1xi64>
  // CHECK: %[[F:.*]] = onnx.constant dense<[1.000000e+00, 0.00999999977]>
  // CHECK: %[[T:.*]]:2 = moert.rope_table ins(%[[P]], %[[F]]
  %p3 = onnx.node "Unsqueeze" v 13 (%p, %a2) : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?x?x1xi64>
  %pf = onnx.node "Cast" v 19 (%p3) {to = 1 : i64} : (tensor<?x?x1xi64>) -> tensor<?x?x1xf32>
  %half = onnx.node "Mul" v 14 (%pf, %freq) : (tensor<?x?x1xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %angle = onnx.node "Concat" v 13 (%half, %half) {axis = -1 : i64} : (tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> tensor<?x?x4xf32>
  %cos = onnx.node "Cos" v 7 (%angle) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %sin = onnx.node "Sin" v 7 (%angle) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %c = onnx.node "Unsqueeze" v 13 (%cos, %a1) : (tensor<?x?x4xf32>, tensor<1xi64>) -> tensor<?x1x?x4xf32>
  %s = onnx.node "Unsqueeze" v 13 (%sin, %a1) : (tensor<?x?x4xf32>, tensor<1xi64>) -> tensor<?x1x?x4xf32>
  // CHECK: %[[R:.*]] = onnx.node "Transpose" v 13 (%[[X]]) {perm = array<i64: 0, 2, 1, 3>}
  // CHECK: %[[Y:.*]] = moert.rope ins(%[[R]], %[[T]]#0, %[[T]]#1 :
  // CHECK-NOT: interleaved
  // CHECK: onnx.node "Transpose" v 13 (%[[Y]])
  // CHECK-NOT: "Add"
  // REMARK: raised rotary positions
  %0 = onnx.node "Mul" v 14 (%x, %c) : (tensor<?x2x?x4xf32>, tensor<?x1x?x4xf32>) -> tensor<?x2x?x4xf32>
  %1 = onnx.node "Slice" v 13 (%x, %a0, %a2, %a3, %a1) : (tensor<?x2x?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x2x?x2xf32>
  %2 = onnx.node "Slice" v 13 (%x, %a2, %end, %a3, %a1) : (tensor<?x2x?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x2x?x2xf32>
  %3 = onnx.node "Neg" v 13 (%2) : (tensor<?x2x?x2xf32>) -> tensor<?x2x?x2xf32>
  %4 = onnx.node "Concat" v 13 (%3, %1) {axis = -1 : i64} : (tensor<?x2x?x2xf32>, tensor<?x2x?x2xf32>) -> tensor<?x2x?x4xf32>
  %5 = onnx.node "Mul" v 14 (%4, %s) : (tensor<?x2x?x4xf32>, tensor<?x1x?x4xf32>) -> tensor<?x2x?x4xf32>
  %6 = onnx.node "Add" v 14 (%0, %5) : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %6 : tensor<?x2x?x4xf32>
}

// -----

// The other sense of rotation is none that moert knows: the first half is
// subtracted where it should be added.

// CHECK-LABEL: func.func @backwards
func.func @backwards(%x: tensor<?x2x?x4xf32> {moe.dims = ["b", 2, "s", 4]},
                     %p: tensor<?x?xi64> {moe.dims = ["b", "s"]}) -> tensor<?x2x?x4xf32> {
  %freq = onnx.constant dense<[1.0, 0.01]> : tensor<2xf32>
  %a0 = onnx.constant dense<0> : tensor<1xi64>
  %a1 = onnx.constant dense<1> : tensor<1xi64>
  %a2 = onnx.constant dense<2> : tensor<1xi64>
  %a3 = onnx.constant dense<3> : tensor<1xi64>
  %end = onnx.constant dense<9223372036854775807> : tensor<1xi64>
  %p3 = onnx.node "Unsqueeze" v 13 (%p, %a2) : (tensor<?x?xi64>, tensor<1xi64>) -> tensor<?x?x1xi64>
  %pf = onnx.node "Cast" v 19 (%p3) {to = 1 : i64} : (tensor<?x?x1xi64>) -> tensor<?x?x1xf32>
  %half = onnx.node "Mul" v 14 (%pf, %freq) : (tensor<?x?x1xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %angle = onnx.node "Concat" v 13 (%half, %half) {axis = -1 : i64} : (tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> tensor<?x?x4xf32>
  %cos = onnx.node "Cos" v 7 (%angle) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %sin = onnx.node "Sin" v 7 (%angle) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %c = onnx.node "Unsqueeze" v 13 (%cos, %a1) : (tensor<?x?x4xf32>, tensor<1xi64>) -> tensor<?x1x?x4xf32>
  %s = onnx.node "Unsqueeze" v 13 (%sin, %a1) : (tensor<?x?x4xf32>, tensor<1xi64>) -> tensor<?x1x?x4xf32>
  // CHECK-NOT: moert.rope
  // CHECK: onnx.node "Add"
  // REMARK: products with sines of positions are no rotation that moert knows
  %0 = onnx.node "Mul" v 14 (%x, %c) : (tensor<?x2x?x4xf32>, tensor<?x1x?x4xf32>) -> tensor<?x2x?x4xf32>
  %1 = onnx.node "Slice" v 13 (%x, %a0, %a2, %a3, %a1) : (tensor<?x2x?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x2x?x2xf32>
  %2 = onnx.node "Slice" v 13 (%x, %a2, %end, %a3, %a1) : (tensor<?x2x?x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x2x?x2xf32>
  %4 = onnx.node "Concat" v 13 (%2, %1) {axis = -1 : i64} : (tensor<?x2x?x2xf32>, tensor<?x2x?x2xf32>) -> tensor<?x2x?x4xf32>
  %5 = onnx.node "Mul" v 14 (%4, %s) : (tensor<?x2x?x4xf32>, tensor<?x1x?x4xf32>) -> tensor<?x2x?x4xf32>
  %6 = onnx.node "Add" v 14 (%0, %5) : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
  return %6 : tensor<?x2x?x4xf32>
}
