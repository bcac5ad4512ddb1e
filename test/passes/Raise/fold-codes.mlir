// RUN: moe-opt %s --moe-raise-experts | FileCheck %s

// Codes that DequantizeLinear does not know: a table, 8-bit floats; scales as
// powers of two. Another table stays as it is.

// CHECK-DAG:   moe.bank @codes.dequantised recipe(#moe.mix<[#moe.slice<@codes quant<bits = 4, block = 8, scales = <@halves>, code = "nf4">>], [1.000000e+00]>) : tensor<8x16xf32>
// CHECK-DAG:   moe.bank @floats.dequantised recipe(#moe.mix<[#moe.slice<@floats quant<bits = 8, block = 8, scales = <@[[E:.*]]>>>], [1.000000e+00]>) : tensor<8x16xf32>
// CHECK-DAG:   moe.bank @[[E]] in "m" at 352 length 16 : tensor<8x2xf8E8M0FNU>
// CHECK-LABEL: func.func @layers
// CHECK:         %[[A:.*]] = moe.weight @codes.dequantised :
// CHECK:         %[[B:.*]] = moe.weight @floats.dequantised :
// CHECK:         %[[C:.*]] = onnx.node "Reshape" v 21 ({{.*}}) : (tensor<8x2x8xf32>
// CHECK:         return %[[A]], %[[B]], %[[C]]
moe.bank @codes in "m" at 192 length 64 : tensor<8x16xui4>
moe.bank @halves in "m" at 256 length 32 : tensor<8x2xf16>
moe.bank @floats in "m" at 288 length 128 : tensor<8x16xf8E4M3FN>
moe.bank @exponents in "m" at 352 length 16 : tensor<8x2xui8>
func.func @layers() -> (tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>) {
  %codes = moe.weight @codes : tensor<8x16xui4>
  %halves = moe.weight @halves : tensor<8x2xf16>
  %floats = moe.weight @floats : tensor<8x16xf8E4M3FN>
  %exponents = moe.weight @exponents : tensor<8x2xui8>
  %blocks = onnx.constant dense<[8, 2, 8]> : tensor<3xi64>
  %each = onnx.constant dense<[8, 2, 1]> : tensor<3xi64>
  %whole = onnx.constant dense<[8, 16]> : tensor<2xi64>
  %two = onnx.constant dense<2.0> : tensor<f32>
  %bias = onnx.constant dense<127.0> : tensor<f32>
  %nf4 = onnx.constant dense<[-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]> : tensor<16xf32>
  %other = onnx.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]> : tensor<16xf32>
  %q = onnx.node "Cast" v 21 (%codes) {to = 6 : i64} : (tensor<8x16xui4>) -> tensor<8x16xi32>
  %h = onnx.node "Cast" v 21 (%halves) {to = 1 : i64} : (tensor<8x2xf16>) -> tensor<8x2xf32>
  %hs = onnx.node "Reshape" v 21 (%h, %each) : (tensor<8x2xf32>, tensor<3xi64>) -> tensor<8x2x1xf32>

  %a0 = onnx.node "Gather" v 13 (%nf4, %q) : (tensor<16xf32>, tensor<8x16xi32>) -> tensor<8x16xf32>
  %a1 = onnx.node "Reshape" v 21 (%a0, %blocks) : (tensor<8x16xf32>, tensor<3xi64>) -> tensor<8x2x8xf32>
  %a2 = onnx.node "Mul" v 14 (%a1, %hs) : (tensor<8x2x8xf32>, tensor<8x2x1xf32>) -> tensor<8x2x8xf32>
  %a = onnx.node "Reshape" v 21 (%a2, %whole) : (tensor<8x2x8xf32>, tensor<2xi64>) -> tensor<8x16xf32>

  %b0 = onnx.node "Cast" v 21 (%floats) {to = 1 : i64} : (tensor<8x16xf8E4M3FN>) -> tensor<8x16xf32>
  %b1 = onnx.node "Reshape" v 21 (%b0, %blocks) : (tensor<8x16xf32>, tensor<3xi64>) -> tensor<8x2x8xf32>
  %e0 = onnx.node "Cast" v 21 (%exponents) {to = 1 : i64} : (tensor<8x2xui8>) -> tensor<8x2xf32>
  %e1 = onnx.node "Sub" v 14 (%e0, %bias) : (tensor<8x2xf32>, tensor<f32>) -> tensor<8x2xf32>
  %e2 = onnx.node "Pow" v 15 (%two, %e1) : (tensor<f32>, tensor<8x2xf32>) -> tensor<8x2xf32>
  %e3 = onnx.node "Reshape" v 21 (%e2, %each) : (tensor<8x2xf32>, tensor<3xi64>) -> tensor<8x2x1xf32>
  %b2 = onnx.node "Mul" v 14 (%b1, %e3) : (tensor<8x2x8xf32>, tensor<8x2x1xf32>) -> tensor<8x2x8xf32>
  %b = onnx.node "Reshape" v 21 (%b2, %whole) : (tensor<8x2x8xf32>, tensor<2xi64>) -> tensor<8x16xf32>

  %c0 = onnx.node "Gather" v 13 (%other, %q) : (tensor<16xf32>, tensor<8x16xi32>) -> tensor<8x16xf32>
  %c1 = onnx.node "Reshape" v 21 (%c0, %blocks) : (tensor<8x16xf32>, tensor<3xi64>) -> tensor<8x2x8xf32>
  %c2 = onnx.node "Mul" v 14 (%c1, %hs) : (tensor<8x2x8xf32>, tensor<8x2x1xf32>) -> tensor<8x2x8xf32>
  %c = onnx.node "Reshape" v 21 (%c2, %whole) : (tensor<8x2x8xf32>, tensor<2xi64>) -> tensor<8x16xf32>
  return %a, %b, %c : tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>
}
