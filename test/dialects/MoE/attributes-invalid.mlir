// RUN: moe-opt %s --split-input-file --verify-diagnostics

// slice_c1: an empty run
// expected-error @below {{selector 1 of @w is empty or negative}}
module attributes {a.slice_c1 = #moe.slice<@w[0, 4:4]>} {}

// -----

// slice_c1: neither index nor range
// expected-error @below {{expected an index or a range}}
module attributes {a.slice_c1 = #moe.slice<@w[0, x]>} {}

// -----

// slice_c1: bytes hold neighbouring inputs
// expected-error @below {{@w is packed along its inputs, so it cannot be transposed}}
module attributes {a.slice_c1 = #moe.slice<@w transposed quant<bits = 4, block = 32, scales = <@s>>>} {}

// -----

// expected-error @below {{needs 2, 4 or 8 bits, not 3}}
module attributes {a.quant_c1 = #moe.quant<bits = 3, block = 32, scales = <@s>>} {}

// -----

// expected-error @below {{has a block of -1 values}}
module attributes {a.quant_c1 = #moe.quant<bits = 4, block = -1, scales = <@s>>} {}

// -----

// expected-error @below {{needs code "int", "fp4" or "nf4", not "fp8"}}
module attributes {a.quant_c1 = #moe.quant<bits = 8, block = 0, scales = <@s>, code = "fp8">} {}

// -----

// expected-error @below {{has values of 8 bits, but code "nf4" has 4}}
module attributes {a.quant_c1 = #moe.quant<bits = 8, block = 64, scales = <@s>, code = "nf4">} {}

// -----

// expected-error @below {{has zero points, which code "fp4" has not}}
module attributes {a.quant_c1 = #moe.quant<bits = 4, block = 32, scales = <@s>, zeros = <@z>, code = "fp4">} {}

// -----

// expected-error @below {{needs values of 4 or 8 bits, not 2}}
module attributes {a.quant_panels_c1 = #moe.quant_panels<bits = 2, stored = 4, flip = 0, width = 16, depth = 4, interleave = 0, matrices = []>} {}

// -----

// expected-error @below {{makes values of 8 bits of 4}}
module attributes {a.quant_panels_c1 = #moe.quant_panels<bits = 8, stored = 4, flip = 0, width = 16, depth = 4, interleave = 0, matrices = []>} {}

// -----

// expected-error @below {{flips 16 in values of 4 bits}}
module attributes {a.quant_panels_c1 = #moe.quant_panels<bits = 4, stored = 8, flip = 16, width = 16, depth = 4, interleave = 0, matrices = []>} {}

// -----

// expected-error @below {{needs an even width and a depth, not 15 and 4}}
module attributes {a.quant_panels_c1 = #moe.quant_panels<bits = 4, stored = 4, flip = 8, width = 15, depth = 4, interleave = 0, matrices = []>} {}

// -----

// expected-error @below {{needs a base, factors or rows}}
module attributes {a.factored_c1 = #moe.factored<scale = 1.0>} {}

// -----

// expected-error @below {{needs left and right together}}
module attributes {a.factored_c1 = #moe.factored<left = <@b>>} {}

// -----

// expected-error @below {{has a scale but no factors}}
module attributes {a.factored_c1 = #moe.factored<base = <@w>, scale = 1.0>} {}

// -----

// expected-error @below {{needs rows and row_ids together}}
module attributes {a.factored_c1 = #moe.factored<rows = <@r>>} {}

// -----

// expected-error @below {{needs a source}}
module attributes {a.mix_c1 = #moe.mix<[], []>} {}

// -----

// expected-error @below {{needs a slice or a recipe, not "up"}}
module attributes {a.mix_c1 = #moe.mix<["up"], [1.0]>} {}

// -----

// expected-error @below {{needs a number for each of 1 sources}}
module attributes {a.mix_c1 = #moe.mix<[#moe.slice<@up>], []>} {}

// -----

// expected-error @below {{needs a slice or a recipe, not 1}}
module attributes {a.stack_c1 = #moe.stack<[1]>} {}

// -----

// expected-error @below {{needs a dimension and the places to take from}}
module attributes {a.permute_c1 = #moe.permute<#moe.slice<@up>, dim = -1, order = [0]>} {}

// -----

// expected-error @below {{needs a positive rank, not 0}}
module attributes {a.low_rank_c1 = #moe.low_rank<#moe.slice<@up>, rank = 0, factor = "left">} {}

// -----

// expected-error @below {{needs factor "left", "right" or "rest", not "up"}}
module attributes {a.low_rank_c1 = #moe.low_rank<#moe.slice<@up>, rank = 1, factor = "up">} {}

// -----

// expected-error @below {{needs 2, 4 or 8 bits, not 5}}
module attributes {a.quantize_c1 = #moe.quantize<#moe.slice<@up>, bits = 5, block = 0, part = "values">} {}

// -----

// expected-error @below {{needs part "values", "scales" or "zeros", not "means"}}
module attributes {a.quantize_c1 = #moe.quantize<#moe.slice<@up>, bits = 4, block = 0, part = "means">} {}

// -----

// expected-error @below {{has zero points where it is asymmetric, and only integers are}}
module attributes {a.quantize_c1 = #moe.quantize<#moe.slice<@up>, bits = 4, block = 0, part = "zeros">} {}

// -----

// expected-error @below {{needs code "int", "fp4" or "nf4" of 4 bits, or "fp8" of 8, not "nf4" of 8}}
module attributes {a.quantize_c1 = #moe.quantize<#moe.slice<@up>, bits = 8, block = 0, part = "values", code = "nf4">} {}

// -----

// expected-error @below {{cannot keep 5 of 4 numbers}}
module attributes {a.sparsify_c1 = #moe.sparsify<#moe.slice<@up>, n = 5, m = 4>} {}

// -----

// expected-error @below {{needs a slice or a recipe, not 4}}
module attributes {a.quantize_c1 = #moe.quantize<#moe.slice<@up>, bits = 4, block = 0, part = "values", gram = 4>} {}

// -----

// expected-error @below {{has a bias or beta of a gate, but no gate}}
module attributes {a.hidden_c1 = #moe.hidden<inputs = #moe.slice<@x>, up = #moe.slice<@up>, activation = relu, beta = 1.0 : f64>} {}

// -----

// expected-error @below {{needs a slice or a recipe, not 4}}
module attributes {a.gram_c1 = #moe.gram<4>} {}

// -----

// expected-error @below {{scales dimension 0 or 1, not 2}}
module attributes {a.scale_c1 = #moe.scale<#moe.slice<@up>, dim = 2, factors = #moe.slice<@g>>} {}

// -----

// expected-error @below {{expected a positive step}}
module attributes {a.slice_c1 = #moe.slice<@w[0:8:0]>} {}

// -----

// expected-error @below {{expected an index or a range}}
module attributes {a.slice_c1 = #moe.slice<@w[9223372036854775807]>} {}

// -----

// expected-error @below {{selector 0 of @w is empty or negative}}
module attributes {a.slice_c1 = #moe.slice<@w[-1]>} {}
