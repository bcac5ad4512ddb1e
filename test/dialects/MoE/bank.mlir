// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// The places where weights may lie: an archive by offset or key, a recipe.

// CHECK: moe.bank @up in "model.onnx.data" at 4096 length 294912 : tensor<2x192x384xbf16>
moe.bank @up in "model.onnx.data" at 4096 length 294912 : tensor<2x192x384xbf16>
// CHECK: moe.bank @keyed in "model.safetensors" key "layers.0.up" : tensor<8xf32>
moe.bank @keyed in "model.safetensors" key "layers.0.up" : tensor<8xf32>
// One byte per boolean, two values per byte of i4.
// CHECK: moe.bank @flags in "a" at 0 length 9 : tensor<9xi1>
moe.bank @flags in "a" at 0 length 9 : tensor<9xi1>
// CHECK: moe.bank @nibbles in "a" at 16 length 5 : tensor<9xi4>
moe.bank @nibbles in "a" at 16 length 5 : tensor<9xi4>
// A small tensor without an archive.
// CHECK: moe.bank @inline recipe(dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32>) : tensor<2xf32>
moe.bank @inline recipe(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32>
// CHECK: moe.bank @packed recipe(#moe.panels<width = 32, depth = 192, interleave = 0, matrices = {{\[\[}}#moe.columns<@up, count = 384, offset = 0, stride_n = 1, stride_k = 384>{{\]\]}}>) : tensor<1x12x192x32xbf16>
moe.bank @packed recipe(#moe.panels<width = 32, depth = 192, interleave = 0,
    matrices = [[#moe.columns<@up, count = 384, offset = 0, stride_n = 1, stride_k = 384>]]>)
    : tensor<1x12x192x32xbf16>

// CHECK-LABEL: func.func @weight
func.func @weight() -> tensor<2x192x384xbf16> {
  // CHECK: moe.weight @up : tensor<2x192x384xbf16>
  %w = moe.weight @up : tensor<2x192x384xbf16>
  return %w : tensor<2x192x384xbf16>
}
