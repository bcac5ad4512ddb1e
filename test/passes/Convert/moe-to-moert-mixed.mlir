// RUN: moe-opt %s --moe-dequantize-experts=keep-coded=32 --convert-moe-to-moert --split-input-file | FileCheck %s

// Experts of two widths: one op each, the second adds to the sum of the first
// where it lies. Aliases and null experts take neither bytes nor rows.

moe.bank @up in "w" at 0 length 192 : tensor<2x4x6xf32>
moe.bank @down in "w" at 192 length 192 : tensor<2x6x4xf32>
moe.bank @narrow_up in "w" at 384 length 48 : tensor<2x6xf32>
moe.bank @narrow_down in "w" at 432 length 48 : tensor<6x2xf32>
moe.pool @p {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @narrow_up down @narrow_down
  moe.alias @e2 of @e1
  moe.null_expert @e3 zero
  moe.expert @e4 ffn relu up @up[1] down @down[1]
  moe.alias @e5 of @e0
}

// CHECK-LABEL: func.func @widths(
// CHECK-SAME:    %{{.*}}: tensor<?x6xf32>
// CHECK:         %[[ONE:.*]] = moert.expert_ffn relu ins(%{{.*}} up(%{{.*}} : tensor<2x1x6x32xf32>) down(%{{.*}} : tensor<2x1x4x32xf32>)
// CHECK-SAME:      entries [0, -1, -1, -1, 1, 0] outs(
// CHECK:         moert.expert_ffn relu ins(%{{.*}} up(%{{.*}} : tensor<1x1x6x32xf32>) down(%{{.*}} : tensor<1x1x2x32xf32>)
// CHECK-SAME:      residual(%[[ONE]] :{{.*}} entries [-1, 0, 0, -1, -1, -1] outs(%[[ONE]] :
func.func @widths(%x: tensor<?x6xf32>, %ids: tensor<?x3xi32>, %w: tensor<?x3xf32>) -> tensor<?x6xf32> {
  %y = moe.apply @p %x ids %ids weights %w : (tensor<?x6xf32>, tensor<?x3xi32>, tensor<?x3xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// -----

// Quantised matrices are packed as they are; what no kernel reads is plain.

moe.bank @up in "w" at 0 length 2048 : tensor<2x32x32xui8>
moe.bank @up_s in "w" at 2048 length 128 : tensor<2x32x2xf8E8M0FNU>
moe.bank @down in "w" at 4096 length 4096 : tensor<2x64x32xi8>
moe.bank @down_s in "w" at 8192 length 256 : tensor<2x64xf16>
moe.bank @down_z in "w" at 8448 length 128 : tensor<2x64xi8>
moe.bank @odd in "w" at 8600 length 2048 : tensor<2x32x32xui8>
moe.bank @odd_s in "w" at 12696 length 512 : tensor<2x32x2xf32>

// CHECK:       moe.bank @odd_e2_up recipe(#moe.mix<
moe.pool @q {
  moe.expert @e0 ffn relu up @up[0] quant<bits = 4, block = 32, scales = <@up_s[0]>, code = "fp4">
      down @down[0] quant<bits = 8, block = 0, scales = <@down_s[0]>, zeros = <@down_z[0]>>
  moe.expert @e1 ffn relu up @up[1] quant<bits = 4, block = 32, scales = <@up_s[1]>, code = "fp4">
      down @down[1] quant<bits = 8, block = 0, scales = <@down_s[1]>, zeros = <@down_z[1]>>
  moe.expert @e2 ffn relu up @odd[0] quant<bits = 4, block = 48, scales = <@odd_s[0]>>
      down @down[1] quant<bits = 8, block = 0, scales = <@down_s[1]>, zeros = <@down_z[1]>>
}

// CHECK-LABEL: func.func @quantised(
// CHECK:         moert.expert_ffn relu ins({{.*}} coded fp4 block 32 scales({{.*}} coded int8 block 0 scales({{.*}} zeros({{.*}} entries [0, 1, -1]
// CHECK:         moert.expert_ffn relu ins({{.*}} up(%{{.*}} : tensor<1x1x64x32xf32>) down({{.*}} coded int8 block 0 {{.*}} entries [-1, -1, 0]
func.func @quantised(%x: tensor<?x64xf32>, %ids: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %y = moe.apply @q %x ids %ids weights %w : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
// CHECK:       moe.bank @q.up recipe(#moe.quant_panels<bits = 4, stored = 4, flip = 0, width = 32, depth = 64, interleave = 0,
// CHECK-SAME:    #moe.columns<@up, count = 32, offset = 2048, stride_n = 64, stride_k = 1>]]>) : tensor<2x1x64x16xi8>
// CHECK:       moe.bank @q.up.scales recipe(#moe.panels<width = 32, depth = 2, {{.*}} : tensor<2x1x2x32xf8E8M0FNU>
// CHECK:       moe.bank @q.down recipe(#moe.quant_panels<bits = 8, stored = 8, flip = 0, width = 32, depth = 32,
// CHECK:       moe.bank @q.down.scales recipe({{.*}} : tensor<2x2x1x32xf16>
// CHECK:       moe.bank @q.down.zeros recipe({{.*}} : tensor<2x2x1x32xi8>

// -----

// Skipped slots are the route's affair.

// CHECK-LABEL: func.func @skipped(
// CHECK:         moert.route softmax {{.*}} {normalize, skip_ratio = 5.000000e-01 : f64}
func.func @skipped(%z: tensor<?x6xf32>) -> tensor<?x2xf32> {
  %ids, %w = moe.gate softmax %z top_k 2 norm selected skip_ratio 0.5 : tensor<?x6xf32>
  return %w : tensor<?x2xf32>
}
