// RUN: moe-opt %s --moe-raise-experts | FileCheck %s

// Quantised weights of any linear layer become derived banks; per-column
// scales make a transposed one. Scales of other shapes stay nodes.

// CHECK:       moe.bank @q.dequantised_0 recipe(#moe.mix<[#moe.slice<@q transposed quant<bits = 8, block = 0, scales = <@cols>>>], [1.000000e+00]>) : tensor<16x8xf32>
// CHECK:       moe.bank @q.dequantised recipe(#moe.mix<[#moe.slice<@q quant<bits = 8, block = 0, scales = <@rows>>>], [1.000000e+00]>) : tensor<8x16xf32>
// CHECK-LABEL: func.func @layers
// CHECK:         %[[A:.*]] = moe.weight @q.dequantised :
// CHECK:         %[[B:.*]] = moe.weight @q.dequantised_0 :
// CHECK:         %[[T:.*]] = onnx.node "Transpose" v 13 (%[[B]]) {perm = array<i64: 1, 0>}
// CHECK:         %[[C:.*]] = onnx.node "DequantizeLinear"
// CHECK:         return %[[A]], %[[T]], %[[C]]
moe.bank @q in "m" at 0 length 128 : tensor<8x16xi8>
moe.bank @rows in "m" at 128 length 32 : tensor<8xf32>
moe.bank @cols in "m" at 160 length 64 : tensor<16xf32>
func.func @layers() -> (tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>) {
  %q = moe.weight @q : tensor<8x16xi8>
  %rows = moe.weight @rows : tensor<8xf32>
  %cols = moe.weight @cols : tensor<16xf32>
  %one = onnx.constant dense<0.5> : tensor<f32>
  %a = onnx.node "DequantizeLinear" v 13 (%q, %rows) {axis = 0 : i64} : (tensor<8x16xi8>, tensor<8xf32>) -> tensor<8x16xf32>
  %b = onnx.node "DequantizeLinear" v 13 (%q, %cols) {axis = 1 : i64} : (tensor<8x16xi8>, tensor<16xf32>) -> tensor<8x16xf32>
  %c = onnx.node "DequantizeLinear" v 13 (%q, %one) : (tensor<8x16xi8>, tensor<f32>) -> tensor<8x16xf32>
  return %a, %b, %c : tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>
}
