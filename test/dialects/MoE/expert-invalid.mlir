// RUN: moe-opt %s --split-input-file --verify-diagnostics

moe.pool @expert_c1_gate {
  // expected-error @below {{'moe.expert' op has a gate matrix, which only glu has}}
  moe.expert @e ffn gate @w up @w down @w
}

// -----

moe.pool @expert_c1_no_gate {
  // expected-error @below {{'moe.expert' op is glu but has no gate matrix}}
  moe.expert @e glu up @w down @w
}

// -----

moe.pool @expert_c1_down {
  // expected-error @below {{'moe.expert' op has a down matrix, which only ffn and glu have}}
  moe.expert @e linear up @w down @w
}

// -----

moe.pool @expert_c1_no_down {
  // expected-error @below {{'moe.expert' op needs a down matrix}}
  moe.expert @e ffn relu up @w
}

// -----

moe.pool @expert_c1_scale {
  // expected-error @below {{'moe.expert' op scales by a vector, which cannot be factored}}
  moe.expert @e scale up factored<base = <@w>>
}

// -----

moe.pool @expert_c2_gate {
  // expected-error @below {{'moe.expert' op has a gate bias but no gate matrix}}
  moe.expert @e ffn gate_bias @b up @w down @w
}

// -----

moe.pool @expert_c2_down {
  // expected-error @below {{'moe.expert' op has a down bias but no down matrix}}
  moe.expert @e linear up @w down_bias @b
}

// -----

moe.pool @expert_c2_scale {
  // expected-error @below {{'moe.expert' op scales by a vector, which has no bias}}
  moe.expert @e scale up @w up_bias @b
}

// -----

moe.pool @expert_c3_activation {
  // expected-error @below {{'moe.expert' op is linear, so it has no activation}}
  moe.expert @e linear relu up @w
}

// -----

moe.pool @expert_c3_beta {
  // expected-error @below {{'moe.expert' op has a beta, which only glu has}}
  moe.expert @e ffn relu up @w down @w beta 1.0
}

// -----

moe.pool @expert_c3_limit {
  // expected-error @below {{'moe.expert' op has a negative limit}}
  moe.expert @e ffn relu up @w down @w limit -1.0
}

// -----

moe.pool @expert_c4 {
  // expected-error @below {{'moe.expert' op needs n_of_m with 0 < n < m}}
  moe.expert @e linear up @w n_of_m [4, 4]
}

// -----

moe.pool @expert_c5_unknown {
  // expected-error @below {{'moe.expert' op has no matrix 'down', which variant 'int4' stores}}
  moe.expert @e linear up @w variants [#moe.variant<"int4", {down = #moe.slice<@w>}>]
}

// -----

moe.pool @expert_c5_no_matrix {
  // expected-error @below {{'moe.expert' op variant 'int4' needs a matrix for 'up'}}
  moe.expert @e linear up @w variants [#moe.variant<"int4", {up = 1}>]
}

// -----

moe.pool @expert_c6_no_bank {
  // expected-error @below {{'moe.expert' op reads @w, which is not a moe.bank}}
  moe.expert @e linear up @w[0]
}

// -----

moe.bank @w in "m" key "w" : tensor<2x8x4xf32>
moe.pool @expert_c6_index {
  // expected-error @below {{'moe.expert' op takes 2 in dimension 0 of @w, which is 'tensor<2x8x4xf32>'}}
  moe.expert @e linear up @w[2]
}

// -----

moe.bank @w in "m" key "w" : tensor<2x8x4xf32>
moe.pool @expert_c6_range {
  // expected-error @below {{'moe.expert' op takes 4:9 in dimension 1 of @w, which is 'tensor<2x8x4xf32>'}}
  moe.expert @e linear up @w[1, 4:9]
}

// -----

moe.bank @w in "m" key "w" : tensor<8x4xf32>
moe.pool @expert_c6_dimensions {
  // expected-error @below {{'moe.expert' op takes 3 dimensions of @w, which is 'tensor<8x4xf32>'}}
  moe.expert @e linear up @w[0, 0, 0]
}

// -----

moe.bank @w in "m" key "w" : tensor<2x8x4xf32>
moe.pool @expert_c6_rank {
  // expected-error @below {{'moe.expert' op needs a matrix, but the slice of @w has rank 3}}
  moe.expert @e linear up @w
}

// -----

moe.bank @w in "m" key "w" : tensor<2x8x4xf32>
moe.pool @expert_c6_vector {
  // expected-error @below {{'moe.expert' op needs a vector, but the slice of @w has rank 2}}
  moe.expert @e scale up @w[0]
}

// -----

moe.bank @w in "m" key "w" : tensor<8x4xf32>
moe.bank @g in "m" key "g" : tensor<6x4xf32>
moe.bank @d in "m" key "d" : tensor<4x8xf32>
moe.pool @expert_c7_gate {
  // expected-error @below {{'moe.expert' op has a gate of [6, 4] but an up of [8, 4]}}
  moe.expert @e glu silu gate @g up @w down @d
}

// -----

moe.bank @w in "m" key "w" : tensor<8x4xf32>
moe.pool @expert_c7_down {
  // expected-error @below {{'moe.expert' op has 8 hidden features, but down takes 4}}
  moe.expert @e ffn silu up @w down @w
}

// -----

moe.bank @w in "m" key "w" : tensor<8x4xf32>
moe.bank @b in "m" key "b" : tensor<4xf32>
moe.pool @expert_c7_bias {
  // expected-error @below {{'moe.expert' op has 8 outputs of up but a bias of 4}}
  moe.expert @e linear up @w up_bias @b
}

// -----

moe.bank @l in "m" key "l" : tensor<8x2xf32>
moe.bank @r in "m" key "r" : tensor<3x4xf32>
moe.pool @expert_c7_factors {
  // expected-error @below {{'moe.expert' op multiplies factors of rank 2 and 3}}
  moe.expert @e linear up factored<left = <@l>, right = <@r>>
}

// -----

moe.bank @w in "m" key "w" : tensor<8x5xf32>
moe.bank @l in "m" key "l" : tensor<8x2xf32>
moe.bank @r in "m" key "r" : tensor<2x4xf32>
moe.pool @expert_c7_terms {
  // expected-error @below {{'moe.expert' op adds a product of [8, 4] to a matrix of [8, 5]}}
  moe.expert @e linear up factored<base = <@w>, left = <@l>, right = <@r>>
}

// -----

moe.bank @w in "m" key "w" : tensor<8x5xf32>
moe.bank @i in "m" key "i" : tensor<7xi32>
moe.pool @expert_c7_rows {
  // expected-error @below {{'moe.expert' op has 8 rows but 7 row ids}}
  moe.expert @e linear up factored<rows = <@w>, row_ids = <@i>>
}

// -----

moe.bank @w in "m" key "w" : tensor<8x4xf32>
moe.bank @q in "m" key "q" : tensor<8x4xui8>
moe.bank @s in "m" key "s" : tensor<8xf32>
moe.pool @expert_c7_variant {
  // expected-error @below {{'moe.expert' op stores up of [8, 4] as one of [8, 8] in variant 'int4'}}
  moe.expert @e linear up @w variants [#moe.variant<"int4", {up = #moe.slice<@q quant<bits = 4, block = 0, scales = <@s>>>}>]
}

// -----

moe.bank @q in "m" key "q" : tensor<8x32xui8>
moe.bank @s in "m" key "s" : tensor<8x3xf16>
moe.pool @expert_c7_scales {
  // expected-error @below {{'moe.expert' op has scales or zero points @s that do not fit a matrix of [8, 64] in blocks of 32}}
  moe.expert @e linear up @q quant<bits = 4, block = 32, scales = <@s>>
}

// -----

moe.bank @q in "m" key "q" : tensor<8x64xf16>
moe.bank @s in "m" key "s" : tensor<8x2xf16>
moe.pool @expert_c6_values {
  // expected-error @below {{'moe.expert' op cannot read elements of type 'f16' of @q as values of 8 bits}}
  moe.expert @e linear up @q quant<bits = 8, block = 32, scales = <@s>>
}

// -----

moe.bank @q in "m" key "q" : tensor<8x64xf8E4M3FN>
moe.bank @s in "m" key "s" : tensor<8x2xf16>
moe.bank @z in "m" key "z" : tensor<8x2xui8>
moe.pool @expert_c6_float_zeros {
  // expected-error @below {{'moe.expert' op cannot read elements of type 'f8E4M3FN' of @q as values of 8 bits with zero points}}
  moe.expert @e linear up @q quant<bits = 8, block = 32, scales = <@s>, zeros = <@z>>
}

// -----

moe.bank @q in "m" key "q" : tensor<8x32xui8>
moe.bank @s in "m" key "s" : tensor<8x2xui8>
moe.pool @expert_c6_scales {
  // expected-error @below {{'moe.expert' op has scales @s of type 'ui8'}}
  moe.expert @e linear up @q quant<bits = 4, block = 32, scales = <@s>>
}

// -----

moe.bank @q in "m" key "q" : tensor<8x32xui8>
moe.bank @s in "m" key "s" : tensor<8x2xf8E8M0FNU>
moe.bank @z in "m" key "z" : tensor<8x2xf16>
moe.pool @expert_c6_zeros {
  // expected-error @below {{'moe.expert' op has zero points @z of type 'f16'}}
  moe.expert @e linear up @q quant<bits = 4, block = 32, scales = <@s>, zeros = <@z>>
}
