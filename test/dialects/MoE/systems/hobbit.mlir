// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// HOBBIT (arXiv 2411.01433), dynamic loading: every expert is stored twice, fp16 and
// int4 in groups of 32. Of the normalised, sorted weights, expert i is wanted in
// high precision where the sum of the ones before it is at most T1 = 0.6, in low
// precision up to T2 = 0.9, and skipped beyond. Caching and loading are the
// run time's; the router is a function of its own, so that it can be evaluated
// ahead on the input of an earlier layer (its prefetching).

moe.bank @router in "m" key "router" : tensor<8x64xf32>
moe.bank @gate in "m" key "w1" : tensor<8x128x64xf16>
moe.bank @up in "m" key "w3" : tensor<8x128x64xf16>
moe.bank @down in "m" key "w2" : tensor<8x64x128xf16>
// CHECK: moe.bank @gate4 recipe(#moe.quantize<#moe.slice<@gate>, bits = 4, block = 32, part = "values">) : tensor<8x128x32xui8>
moe.bank @gate4 recipe(#moe.quantize<#moe.slice<@gate>, bits = 4, block = 32, part = "values">) : tensor<8x128x32xui8>
moe.bank @gate4s recipe(#moe.quantize<#moe.slice<@gate>, bits = 4, block = 32, part = "scales">) : tensor<8x128x2xf16>
moe.bank @up4 recipe(#moe.quantize<#moe.slice<@up>, bits = 4, block = 32, part = "values">) : tensor<8x128x32xui8>
moe.bank @up4s recipe(#moe.quantize<#moe.slice<@up>, bits = 4, block = 32, part = "scales">) : tensor<8x128x2xf16>
moe.bank @down4 recipe(#moe.quantize<#moe.slice<@down>, bits = 4, block = 32, part = "values">) : tensor<8x64x64xui8>
moe.bank @down4s recipe(#moe.quantize<#moe.slice<@down>, bits = 4, block = 32, part = "scales">) : tensor<8x64x4xf16>

// CHECK-LABEL: moe.pool @ffn0
// CHECK-COUNT-8: variants [#moe.variant<"int4", {down = #moe.slice<@down4[{{[0-7]}}] quant<bits = 4, block = 32, scales = <@down4s[{{[0-7]}}]>>>, gate = {{.*}}, up = {{.*}}}>]
moe.pool @ffn0 {
  moe.expert @e0 glu silu gate @gate[0] up @up[0] down @down[0]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[0] quant<bits = 4, block = 32, scales = <@gate4s[0]>>>,
          up = #moe.slice<@up4[0] quant<bits = 4, block = 32, scales = <@up4s[0]>>>,
          down = #moe.slice<@down4[0] quant<bits = 4, block = 32, scales = <@down4s[0]>>>}>]
  moe.expert @e1 glu silu gate @gate[1] up @up[1] down @down[1]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[1] quant<bits = 4, block = 32, scales = <@gate4s[1]>>>,
          up = #moe.slice<@up4[1] quant<bits = 4, block = 32, scales = <@up4s[1]>>>,
          down = #moe.slice<@down4[1] quant<bits = 4, block = 32, scales = <@down4s[1]>>>}>]
  moe.expert @e2 glu silu gate @gate[2] up @up[2] down @down[2]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[2] quant<bits = 4, block = 32, scales = <@gate4s[2]>>>,
          up = #moe.slice<@up4[2] quant<bits = 4, block = 32, scales = <@up4s[2]>>>,
          down = #moe.slice<@down4[2] quant<bits = 4, block = 32, scales = <@down4s[2]>>>}>]
  moe.expert @e3 glu silu gate @gate[3] up @up[3] down @down[3]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[3] quant<bits = 4, block = 32, scales = <@gate4s[3]>>>,
          up = #moe.slice<@up4[3] quant<bits = 4, block = 32, scales = <@up4s[3]>>>,
          down = #moe.slice<@down4[3] quant<bits = 4, block = 32, scales = <@down4s[3]>>>}>]
  moe.expert @e4 glu silu gate @gate[4] up @up[4] down @down[4]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[4] quant<bits = 4, block = 32, scales = <@gate4s[4]>>>,
          up = #moe.slice<@up4[4] quant<bits = 4, block = 32, scales = <@up4s[4]>>>,
          down = #moe.slice<@down4[4] quant<bits = 4, block = 32, scales = <@down4s[4]>>>}>]
  moe.expert @e5 glu silu gate @gate[5] up @up[5] down @down[5]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[5] quant<bits = 4, block = 32, scales = <@gate4s[5]>>>,
          up = #moe.slice<@up4[5] quant<bits = 4, block = 32, scales = <@up4s[5]>>>,
          down = #moe.slice<@down4[5] quant<bits = 4, block = 32, scales = <@down4s[5]>>>}>]
  moe.expert @e6 glu silu gate @gate[6] up @up[6] down @down[6]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[6] quant<bits = 4, block = 32, scales = <@gate4s[6]>>>,
          up = #moe.slice<@up4[6] quant<bits = 4, block = 32, scales = <@up4s[6]>>>,
          down = #moe.slice<@down4[6] quant<bits = 4, block = 32, scales = <@down4s[6]>>>}>]
  moe.expert @e7 glu silu gate @gate[7] up @up[7] down @down[7]
      variants [#moe.variant<"int4", {gate = #moe.slice<@gate4[7] quant<bits = 4, block = 32, scales = <@gate4s[7]>>>,
          up = #moe.slice<@up4[7] quant<bits = 4, block = 32, scales = <@up4s[7]>>>,
          down = #moe.slice<@down4[7] quant<bits = 4, block = 32, scales = <@down4s[7]>>>}>]
}

// CHECK-LABEL: func.func @router_of_layer_0
func.func @router_of_layer_0(%x: tensor<?x64xf32>) -> tensor<?x8xf32> {
  %w = moe.weight @router : tensor<8x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<8x64xf32>) : tensor<?x64xf32> -> tensor<?x8xf32>
  return %logits : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @layer
func.func @layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %logits = func.call @router_of_layer_0(%x) : (tensor<?x64xf32>) -> tensor<?x8xf32>
  // CHECK: %[[G:.*]]:3 = moe.gate softmax %{{.*}} over @ffn0 top_k 2 norm selected skip_cumulative [6.000000e-01, 9.000000e-01] : tensor<?x8xf32>
  %ids, %weights, %variants = moe.gate softmax %logits over @ffn0 top_k 2 norm selected skip_cumulative [0.6, 0.9] : tensor<?x8xf32>
  // CHECK: moe.apply @ffn0 %{{.*}} ids %[[G]]#0 weights %[[G]]#1 variants %[[G]]#2 :
  %y = moe.apply @ffn0 %x ids %ids weights %weights variants %variants
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
