// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

moe.bank @gate_up in "m" key "gate_up" : tensor<8x256x64xbf16>
moe.bank @gate_up_b in "m" key "gate_up_b" : tensor<8x256xbf16>
moe.bank @gate in "m" key "gate" : tensor<8x128x64xbf16>
moe.bank @down in "m" key "down" : tensor<8x64x128xbf16>
moe.bank @up_t in "m" key "up_t" : tensor<8x64x128xf32>
moe.bank @down_t in "m" key "down_t" : tensor<8x128x64xf32>
moe.bank @b1 in "m" key "b1" : tensor<8x128xf32>
moe.bank @b2 in "m" key "b2" : tensor<8x64xf32>
moe.bank @u in "m" key "u" : tensor<8x128x4xf32>
moe.bank @v in "m" key "v" : tensor<8x4x64xf32>
moe.bank @rows in "m" key "rows" : tensor<8x13x64xf32>
moe.bank @row_ids in "m" key "row_ids" : tensor<8x13xi32>
moe.bank @up4 in "m" key "up4" : tensor<8x128x32xui8>
moe.bank @up4s in "m" key "up4s" : tensor<8x128x2xf16>
moe.bank @scale in "m" key "scale" : tensor<8x64xf32>
moe.bank @dense in "m" key "dense" : tensor<512x64xf32>
moe.bank @dense_down in "m" key "dense_down" : tensor<64x512xf32>

moe.pool @kinds {
  // Interleaved gate and up rows with all constants (gpt-oss).
  // CHECK: moe.expert @e0 glu silu gate @gate_up[0, 0:256:2] up @gate_up[0, 1:256:2] down @down[0] alpha 1.702000e+00 beta 1.000000e+00 limit 7.000000e+00
  moe.expert @e0 glu silu gate @gate_up[0, 0:256:2] up @gate_up[0, 1:256:2] down @down[0]
      alpha 1.702 beta 1.0 limit 7.0
  // With biases, gate and up from separate banks.
  // CHECK: moe.expert @e1 glu gelu_tanh gate @gate[1] gate_bias @b1[1] up @gate_up[1, 0:128] up_bias @b1[1] down @down[1] down_bias @b2[1]
  moe.expert @e1 glu gelu_tanh gate @gate[1] gate_bias @b1[1] up @gate_up[1, 0:128] up_bias @b1[1] down @down[1] down_bias @b2[1]
  // Two layers, stored [in, out].
  // CHECK: moe.expert @e2 ffn relu up @up_t[2] transposed up_bias @b1[2] down @down_t[2] transposed
  moe.expert @e2 ffn relu up @up_t[2] transposed up_bias @b1[2] down @down_t[2] transposed
  // A slice of hidden units of one dense FFN.
  // CHECK: moe.expert @e3 ffn gelu up @dense[128:256] down @dense_down[:, 128:256]
  moe.expert @e3 ffn gelu up @dense[128:256] down @dense_down[:, 128:256]
  // Low rank plus some full rows.
  // CHECK: moe.expert @e4 ffn relu up factored<left = <@u[4]>, right = <@v[4]>, rows = <@rows[4]>, row_ids = <@row_ids[4]>> down @down[4]
  moe.expert @e4 ffn relu up factored<left = <@u[4]>, right = <@v[4]>, rows = <@rows[4]>, row_ids = <@row_ids[4]>> down @down[4]
  // LoRA on one matrix; another storage; 2:4; scaled output.
  // CHECK: moe.expert @e5 ffn relu up factored<base = <@gate[5]>, left = <@u[5]>, right = <@v[5]>, scale = 2.000000e+00 : f64> down @down[5] output_scale 5.000000e-01 n_of_m [2, 4] variants [#moe.variant<"int4", {up = #moe.slice<@up4[5] quant<bits = 4, block = 32, scales = <@up4s[5]>>>}>]
  moe.expert @e5 ffn relu up factored<base = <@gate[5]>, left = <@u[5]>, right = <@v[5]>, scale = 2.0> down @down[5]
      output_scale 0.5 n_of_m [2, 4]
      variants [#moe.variant<"int4", {up = #moe.slice<@up4[5] quant<bits = 4, block = 32, scales = <@up4s[5]>>>}>]
}

moe.pool @adapters {
  // CHECK: moe.expert @lora linear up factored<left = <@u[0]>, right = <@v[0]>, scale = 4.000000e+00 : f64>
  moe.expert @lora linear up factored<left = <@u[0]>, right = <@v[0]>, scale = 4.0>
  // CHECK: moe.expert @quantised linear up @up4[0] quant<bits = 4, block = 32, scales = <@up4s[0]>> input 1
  moe.expert @quantised linear up @up4[0] quant<bits = 4, block = 32, scales = <@up4s[0]>> input 1
}

moe.bank @mx in "m" key "mx" : tensor<8x128x32xui8>
moe.bank @mxs in "m" key "mxs" : tensor<8x128x2xf8E8M0FNU>
moe.bank @f8 in "m" key "f8" : tensor<8x128x64xf8E4M3FN>
moe.bank @f8s in "m" key "f8s" : tensor<8x128xf32>
moe.bank @i4 in "m" key "i4" : tensor<8x128x64xi4>

moe.pool @codes {
  // CHECK: moe.expert @mxfp4 linear up @mx[0] quant<bits = 4, block = 32, scales = <@mxs[0]>, code = "fp4">
  moe.expert @mxfp4 linear up @mx[0] quant<bits = 4, block = 32, scales = <@mxs[0]>, code = "fp4">
  // CHECK: moe.expert @fp8 linear up @f8[0] quant<bits = 8, block = 0, scales = <@f8s[0]>>
  moe.expert @fp8 linear up @f8[0] quant<bits = 8, block = 0, scales = <@f8s[0]>>
  // Elements of four bits are values, bytes hold two of them.
  // CHECK: moe.expert @nibbles linear up @i4[0] quant<bits = 4, block = 32, scales = <@up4s[0]>>
  moe.expert @nibbles linear up @i4[0] quant<bits = 4, block = 32, scales = <@up4s[0]>>
}

moe.pool @vectors {
  // CHECK: moe.expert @e0 scale up @scale[0]
  moe.expert @e0 scale up @scale[0]
}
