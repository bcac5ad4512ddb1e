// RUN: moe-opt %s --moe-dequantize-experts | FileCheck %s
// RUN: moe-opt %s --moe-dequantize-experts=type=bf16 | FileCheck %s --check-prefix=BF16
// RUN: not moe-opt %s --moe-dequantize-experts=type=i8 2>&1 | FileCheck %s --check-prefix=BAD
// BAD: cannot store experts as 'i8', expected f32, f16 or bf16

moe.bank @q in "m" at 0 length 512 : tensor<2x16x16xui8>
moe.bank @s in "m" at 512 length 256 : tensor<2x16x2xf32>
moe.bank @d in "m" at 1024 length 4096 : tensor<2x32x16xf32>

// One bank for each quantised matrix; plain ones stay.

// CHECK:      moe.bank @q_e0_up recipe(#moe.mix<[#moe.slice<@q[0] quant<bits = 4, block = 16, scales = <@s[0]>>>], [1.000000e+00]>) : tensor<16x32xf32>
// CHECK:      moe.bank @q_e1_up recipe({{.*}}@q[1]{{.*}}) : tensor<16x32xf32>
// CHECK:      moe.pool @p {
// CHECK-NEXT:   moe.expert @e0 ffn relu up @q_e0_up down @d[0]
// CHECK-NEXT:   moe.expert @e1 ffn relu up @q_e1_up down @d[1]
// BF16:       moe.bank @q_e0_up {{.*}} : tensor<16x32xbf16>
moe.pool @p {
  moe.expert @e0 ffn relu up @q[0] quant<bits = 4, block = 16, scales = <@s[0]>> down @d[0]
  moe.expert @e1 ffn relu up @q[1] quant<bits = 4, block = 16, scales = <@s[1]>> down @d[1]
}
