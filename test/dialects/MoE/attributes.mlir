// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// Attributes on their own, as their documentation shows them.

// CHECK-LABEL: module @attributes
module @attributes attributes {
  // CHECK-SAME: a.columns = #moe.columns<@w, count = 64, offset = 0, stride_n = 192, stride_k = 1>
  a.columns = #moe.columns<@w, count = 64, offset = 0, stride_n = 192, stride_k = 1>,
  // CHECK-SAME: b.panels = #moe.panels<width = 32, depth = 192, interleave = 0
  b.panels = #moe.panels<width = 32, depth = 192, interleave = 0,
                matrices = [[#moe.columns<@w, count = 64, offset = 0, stride_n = 1, stride_k = 64>]]>,
  // CHECK-SAME: c.slice = #moe.slice<@gate_up[3, 0:1536:2] transposed>
  c.slice = #moe.slice<@gate_up[3, 0:1536:2] transposed>,
  // CHECK-SAME: d.whole = #moe.slice<@w>, d1.ends = #moe.slice<@w[1:, :, 0:4, 2]>
  d.whole = #moe.slice<@w>, d1.ends = #moe.slice<@w[1:, :, 0:4, 2]>,
  // CHECK-SAME: e.quant = #moe.quant<bits = 4, block = 32, scales = <@s[0]>>
  e.quant = #moe.quant<bits = 4, block = 32, scales = <@s[0]>>,
  // CHECK-SAME: e1.slice = #moe.slice<@w[0] quant<bits = 8, block = 0, scales = <@s[0]>, zeros = <@z[0]>>>
  e1.slice = #moe.slice<@w[0] quant<bits = 8, block = 0, scales = <@s[0]>, zeros = <@z[0]>>>,
  // CHECK-SAME: e2.fp4 = #moe.quant<bits = 4, block = 32, scales = <@s[0]>, code = "fp4">
  e2.fp4 = #moe.quant<bits = 4, block = 32, scales = <@s[0]>, code = "fp4">,
  // CHECK-SAME: e2.nf4 = #moe.quant<bits = 4, block = 64, scales = <@s[0]>, code = "nf4">
  e2.nf4 = #moe.quant<bits = 4, block = 64, scales = <@s[0]>, code = "nf4">,
  // CHECK-SAME: e3.int = #moe.quant<bits = 4, block = 0, scales = <@s[0]>, zeros = <@z[0]>>
  e3.int = #moe.quant<bits = 4, block = 0, scales = <@s[0]>, zeros = <@z[0]>, code = "int">,
  // CHECK-SAME: e4.panels = #moe.quant_panels<bits = 4, stored = 4, flip = 8, width = 32, depth = 192, interleave = 0
  e4.panels = #moe.quant_panels<bits = 4, stored = 4, flip = 8, width = 32, depth = 192, interleave = 0,
                matrices = [[#moe.columns<@q, count = 64, offset = 0, stride_n = 192, stride_k = 1>]]>,
  // CHECK-SAME: f.factored = #moe.factored<base = <@w[0]>, left = <@b[0]>, right = <@a[0]>, scale = 4.000000e+00 : f64>
  f.factored = #moe.factored<base = <@w[0]>, left = <@b[0]>, right = <@a[0]>, scale = 4.0>,
  // CHECK-SAME: f1.sparse = #moe.factored<left = <@b[0]>, right = <@a[0]>, rows = <@r[0]>, row_ids = <@i[0]>>
  f1.sparse = #moe.factored<left = <@b[0]>, right = <@a[0]>, rows = <@r[0]>, row_ids = <@i[0]>>,
  // CHECK-SAME: g.variant = #moe.variant<"int4", {down = #moe.slice<@down4[0]>, up = #moe.slice<@up4[0]>}>
  g.variant = #moe.variant<"int4", {up = #moe.slice<@up4[0]>, down = #moe.slice<@down4[0]>}>,
  // CHECK-SAME: h.mix = #moe.mix<[#moe.slice<@up[0]>, #moe.slice<@up[3]>], [7.500000e-01, 2.500000e-01]>
  h.mix = #moe.mix<[#moe.slice<@up[0]>, #moe.slice<@up[3]>], [0.75, 0.25]>,
  // CHECK-SAME: i.stack = #moe.stack<[#moe.slice<@up[0]>, #moe.slice<@up[2]>]>
  i.stack = #moe.stack<[#moe.slice<@up[0]>, #moe.slice<@up[2]>]>,
  // CHECK-SAME: j.permute = #moe.permute<#moe.slice<@up[1]>, dim = 0, order = [2, 0, 1]>
  j.permute = #moe.permute<#moe.slice<@up[1]>, dim = 0, order = [2, 0, 1]>,
  // CHECK-SAME: k.low_rank = #moe.low_rank<#moe.slice<@up[0]>, rank = 16, factor = "left">
  k.low_rank = #moe.low_rank<#moe.slice<@up[0]>, rank = 16, factor = "left">,
  // CHECK-SAME: k1.sparsify = #moe.sparsify<#moe.slice<@up[0]>, n = 2, m = 4>
  k1.sparsify = #moe.sparsify<#moe.slice<@up[0]>, n = 2, m = 4>,
  // CHECK-SAME: l.quantize = #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "values">
  l.quantize = #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "values">,
  // CHECK-SAME: m.quantize = #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "zeros", asymmetric = true, moments = #moe.slice<@m>>
  m.quantize = #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "zeros", asymmetric = true, moments = #moe.slice<@m>>,
  // CHECK-SAME: n.quantize = #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "values", code = "nf4", gram = #moe.gram<#moe.slice<@sample>>>
  n.quantize = #moe.quantize<#moe.slice<@up[0]>, bits = 4, block = 32, part = "values", code = "nf4", gram = #moe.gram<#moe.slice<@sample>>>,
  // CHECK-SAME: o.hidden = #moe.hidden<inputs = #moe.slice<@sample>, up = #moe.slice<@up[0]>, activation = relu>
  o.hidden = #moe.hidden<inputs = #moe.slice<@sample>, up = #moe.slice<@up[0]>, activation = relu>,
  // CHECK-SAME: p.hidden = #moe.hidden<inputs = #moe.slice<@x>, up = #moe.slice<@up[0]>, activation = silu, gate = #moe.slice<@up[1]>, up_bias = #moe.slice<@b[0]>, gate_bias = #moe.slice<@b[1]>, alpha = 1.702000e+00 : f64, beta = 1.000000e+00 : f64, limit = 7.000000e+00 : f64>
  p.hidden = #moe.hidden<inputs = #moe.slice<@x>, up = #moe.slice<@up[0]>, activation = silu, gate = #moe.slice<@up[1]>, up_bias = #moe.slice<@b[0]>, gate_bias = #moe.slice<@b[1]>, alpha = 1.702 : f64, beta = 1.0 : f64, limit = 7.0 : f64>,
  // CHECK-SAME: q.scale = #moe.scale<#moe.slice<@up[0]>, dim = 0, factors = #moe.slice<@gamma>>
  q.scale = #moe.scale<#moe.slice<@up[0]>, dim = 0, factors = #moe.slice<@gamma>>
} {}
