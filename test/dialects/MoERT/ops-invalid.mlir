// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @embed_c1_ids(%i: tensor<?xf32>, %t: tensor<8x4xf32>, %o: tensor<?x4xf32>) {
  // expected-error @below {{'moert.embed' op needs integer ids, not 'tensor<?xf32>'}}
  %0 = moert.embed ins(%i, %t : tensor<?xf32>, tensor<8x4xf32>) outs(%o : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @embed_c1_table(%i: tensor<?xi64>, %t: tensor<8xf32>, %o: tensor<?x4xf32>) {
  // expected-error @below {{'moert.embed' op needs a table of rank 2, not 'tensor<8xf32>'}}
  %0 = moert.embed ins(%i, %t : tensor<?xi64>, tensor<8xf32>) outs(%o : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @embed_c2(%i: tensor<?xi64>, %t: tensor<8x4xf32>, %o: tensor<?x?x4xf32>) {
  // expected-error @below {{'moert.embed' op gathers rows for ids of rank 1 into rank 3}}
  %0 = moert.embed ins(%i, %t : tensor<?xi64>, tensor<8x4xf32>) outs(%o : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

func.func @gemm_c1_depth(%x: tensor<?x5xf32>, %w: tensor<4x8xf32>, %o: tensor<?x8xf32>) {
  // expected-error @below {{'moert.gemm' op multiplies rows of 5 by a weight of depth 4}}
  %0 = moert.gemm ins(%x, %w : tensor<?x5xf32>, tensor<4x8xf32>) outs(%o : tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gemm_c1_columns(%x: tensor<?x4xf32>, %w: tensor<4x8xf32>, %o: tensor<?x9xf32>) {
  // expected-error @below {{'moert.gemm' op writes rows of 9 from a weight of 8 columns}}
  %0 = moert.gemm ins(%x, %w : tensor<?x4xf32>, tensor<4x8xf32>) outs(%o : tensor<?x9xf32>) -> tensor<?x9xf32>
  return
}

// -----

func.func @gemm_c1_rank(%x: tensor<?x4xf32>, %w: tensor<1x4x8xf32>, %o: tensor<?x8xf32>) {
  // expected-error @below {{'moert.gemm' op needs a plain weight of rank 2 or a packed one of rank 4, not 'tensor<1x4x8xf32>'}}
  %0 = moert.gemm ins(%x, %w : tensor<?x4xf32>, tensor<1x4x8xf32>) outs(%o : tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gemm_c2_rows(%x: tensor<3x4xf32>, %w: tensor<4x8xf32>, %o: tensor<2x8xf32>) {
  // expected-error @below {{'moert.gemm' op has rows 'tensor<3x4xf32>' but destination 'tensor<2x8xf32>'}}
  %0 = moert.gemm ins(%x, %w : tensor<3x4xf32>, tensor<4x8xf32>) outs(%o : tensor<2x8xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @gemm_c2_residual(%x: tensor<3x4xf32>, %w: tensor<4x8xf32>, %r: tensor<2x8xf32>, %o: tensor<3x8xf32>) {
  // expected-error @below {{'moert.gemm' op has residual 'tensor<2x8xf32>' but destination 'tensor<3x8xf32>'}}
  %0 = moert.gemm ins(%x, %w : tensor<3x4xf32>, tensor<4x8xf32>) residual(%r : tensor<2x8xf32>) outs(%o : tensor<3x8xf32>) -> tensor<3x8xf32>
  return
}

// -----

func.func @rms_norm_c1(%x: tensor<?x4xf32>, %s: tensor<5xf32>, %o: tensor<?x4xf32>) {
  // expected-error @below {{'moert.rms_norm' op scale is 'tensor<5xf32>', but rows have 4 features}}
  %0 = moert.rms_norm ins(%x, %s : tensor<?x4xf32>, tensor<5xf32>) outs(%o : tensor<?x4xf32>) epsilon 1.0e-6 -> tensor<?x4xf32>
  return
}

// -----

func.func @layer_norm_c1_scale(%x: tensor<?x4xf32>, %s: tensor<1x4xf32>, %o: tensor<?x4xf32>) {
  // expected-error @below {{'moert.layer_norm' op scale is 'tensor<1x4xf32>', but rows have 4 features}}
  %0 = moert.layer_norm ins(%x, %s : tensor<?x4xf32>, tensor<1x4xf32>) outs(%o : tensor<?x4xf32>) epsilon 1.0e-6 -> tensor<?x4xf32>
  return
}

// -----

func.func @layer_norm_c1_bias(%x: tensor<?x4xf32>, %s: tensor<4xf32>, %b: tensor<3xf32>, %o: tensor<?x4xf32>) {
  // expected-error @below {{'moert.layer_norm' op bias is 'tensor<3xf32>', but rows have 4 features}}
  %0 = moert.layer_norm ins(%x, %s : tensor<?x4xf32>, tensor<4xf32>) bias(%b : tensor<3xf32>) outs(%o : tensor<?x4xf32>) epsilon 1.0e-6 -> tensor<?x4xf32>
  return
}

// -----

func.func @rope_table_c1_count(%p: tensor<?x?xi64>, %f: tensor<4xf32>, %o: tensor<?x?x4xf32>) {
  // expected-error @below {{'moert.rope_table' op needs two destinations, cosines and sines, not 1}}
  %0 = moert.rope_table ins(%p, %f : tensor<?x?xi64>, tensor<4xf32>) outs(%o : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

func.func @rope_table_c1_rank(%p: tensor<?x?xi64>, %f: tensor<4xf32>, %o: tensor<?x4xf32>) {
  // expected-error @below {{'moert.rope_table' op needs destinations of rank 3, not 'tensor<?x4xf32>'}}
  %0:2 = moert.rope_table ins(%p, %f : tensor<?x?xi64>, tensor<4xf32>) outs(%o, %o : tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @rope_c1_x(%x: tensor<?x?x8xf32>, %c: tensor<?x?x4xf32>) {
  // expected-error @below {{'moert.rope' op rotates [batch, sequence, heads, features], not 'tensor<?x?x8xf32>'}}
  %0 = moert.rope ins(%x, %c, %c : tensor<?x?x8xf32>, tensor<?x?x4xf32>, tensor<?x?x4xf32>) outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

func.func @rope_c1_tables(%x: tensor<?x?x2x8xf32>, %c: tensor<?x4xf32>) {
  // expected-error @below {{'moert.rope' op needs tables [batch, sequence, pairs], not 'tensor<?x4xf32>'}}
  %0 = moert.rope ins(%x, %c, %c : tensor<?x?x2x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>) outs(%x : tensor<?x?x2x8xf32>) -> tensor<?x?x2x8xf32>
  return
}

// -----

func.func @cache_c1(%past: memref<?x?x8xf32>, %s: index) {
  // expected-error @below {{'moert.cache' op needs memory of rank 4, not 'memref<?x?x8xf32>'}}
  %0 = moert.cache %past fresh %s input 0 output 0 : memref<?x?x8xf32> -> memref<?x2x?x8xf32>
  return
}

// -----

func.func @cache_c1_dense(%past: memref<?x2x?x8xf32, strided<[?, ?, ?, 1]>>, %s: index) {
  // expected-error @below {{'moert.cache' op needs a dense past, not}}
  %0 = moert.cache %past fresh %s input 0 output 0 : memref<?x2x?x8xf32, strided<[?, ?, ?, 1]>> -> memref<?x2x?x8xf32, strided<[?, ?, 8, 1]>>
  return
}

// -----

func.func @cache_c1_elements(%past: memref<?x2x?x8xf16>, %s: index) {
  // expected-error @below {{'moert.cache' op needs elements of whole bytes, the same in 'memref<?x2x?x8xf16>' and}}
  %0 = moert.cache %past fresh %s input 0 output 0 : memref<?x2x?x8xf16> -> memref<?x2x?x8xf32, strided<[?, ?, 8, 1]>>
  return
}

// -----

func.func @cache_c2(%past: memref<?x2x?x8xf32>, %s: index) {
  // expected-error @below {{'moert.cache' op gives dense rows from offset 0, not}}
  %0 = moert.cache %past fresh %s input 0 output 0 : memref<?x2x?x8xf32> -> memref<?x2x?x8xf32, strided<[?, ?, 16, 1]>>
  return
}

// -----

func.func @device_cache_c1(%past: memref<?x2x?x8xf32>, %s: index) {
  // expected-error @below {{'moert.device_cache' op gives dense rows from offset 0, not}}
  %0 = moert.device_cache %past fresh %s input 0 output 0 : memref<?x2x?x8xf32> -> memref<?x2x?x8xf32, strided<[?, ?, 16, 1]>>
  return
}

// -----

func.func @device_present_c1(%cache: memref<?x2x?x8xf32, strided<[?, ?, 16, 1]>>) {
  // expected-error @below {{'moert.device_present' op makes dense memory of what is dense, or of dense rows from offset 0, not 'memref<?x2x?x8xf32>' of}}
  %0 = moert.device_present %cache : memref<?x2x?x8xf32, strided<[?, ?, 16, 1]>> -> memref<?x2x?x8xf32>
  return
}

// -----

func.func @kv_append_c1(%k: tensor<?x?x8xf32>, %o: tensor<?x2x?x8xf32>) {
  // expected-error @below {{'moert.kv_append' op needs operands of rank 4, not 'tensor<?x?x8xf32>'}}
  %0 = moert.kv_append ins(%k : tensor<?x?x8xf32>) outs(%o : tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return
}

// -----

func.func @attention_c1(%q: tensor<?x?x8xf32>, %k: tensor<?x2x?x8xf32>) {
  // expected-error @below {{'moert.attention' op needs operands of rank 4, not 'tensor<?x?x8xf32>'}}
  %0 = moert.attention ins(%q, %k, %k : tensor<?x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) outs(%q : tensor<?x?x8xf32>) scale 1.0 -> tensor<?x?x8xf32>
  return
}

// -----

func.func @attention_c2(%q: tensor<?x?x3x8xf32>, %k: tensor<?x2x?x8xf32>) {
  // expected-error @below {{'moert.attention' op has 3 query heads, not a multiple of 2 key heads}}
  %0 = moert.attention ins(%q, %k, %k : tensor<?x?x3x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) outs(%q : tensor<?x?x3x8xf32>) scale 1.0 -> tensor<?x?x3x8xf32>
  return
}

// -----

func.func @route_c1(%z: tensor<?x2xf32>, %i: tensor<?x3xi32>, %w: tensor<?x3xf32>) {
  // expected-error @below {{'moert.route' op picks 3 of 2 experts}}
  %0:2 = moert.route softmax ins(%z : tensor<?x2xf32>) outs(%i, %w : tensor<?x3xi32>, tensor<?x3xf32>) -> tensor<?x3xi32>, tensor<?x3xf32>
  return
}

// -----

func.func @expert_ffn_c1(%x: tensor<?x?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x8x4xf32>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op works on rows [tokens, features], not 'tensor<?x?x4xf32>'}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x8x4xf32>) down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

func.func @expert_ffn_c2(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x1xf32>, %up: tensor<2x8x4xf32>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op has ids 'tensor<?x2xi32>' but weights 'tensor<?x1xf32>'}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x1xf32>) up(%up : tensor<2x8x4xf32>) down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c3(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x1x4x8xi8>, %us: tensor<2x1x2x16xf32>, %uz: tensor<2x1x2x8xi8>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op maps a column to matrix 2 of 2}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x1x4x8xi8>) coded int4 block 2 scales(%us : tensor<2x1x2x16xf32>) down(%down : tensor<2x4x8xf32>) entries [0, 2, -1] outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c4(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x1x4x8xi8>, %us: tensor<2x1x2x16xf32>, %uz: tensor<2x1x2x8xi8>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op has scales, zeros or a block for up, which is not coded}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x1x4x8xi8>) scales(%us : tensor<2x1x2x16xf32>) down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c4_scales(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x1x4x8xi8>, %us: tensor<2x1x2x16xf32>, %uz: tensor<2x1x2x8xi8>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op has scales 'tensor<2x1x2x16xf32>' for up 'tensor<2x1x4x8xi8>' in blocks of 4}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x1x4x8xi8>) coded int4 block 4 scales(%us : tensor<2x1x2x16xf32>) down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c4_none(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x1x4x8xi8>, %us: tensor<2x1x2x16xf32>, %uz: tensor<2x1x2x8xi8>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op needs scales and a block for up that is coded}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x1x4x8xi8>) coded int4 block 4 down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c4_zeros(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x1x4x8xi8>, %us: tensor<2x1x2x16xf32>, %uz: tensor<2x1x2x8xi8>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op has zeros for up of nf4, which has none}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x1x4x8xi8>) coded nf4 block 2 scales(%us : tensor<2x1x2x16xf32>) zeros(%uz : tensor<2x1x2x8xi8>) down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c4_zeros_fit(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x1x4x8xi8>, %us: tensor<2x1x2x16xf32>, %uz: tensor<2x1x2x8xi8>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op has zeros 'tensor<2x1x2x16xf32>' for up 'tensor<2x1x4x8xi8>' in blocks of 2}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x1x4x8xi8>) coded int4 block 2 scales(%us : tensor<2x1x2x16xf32>) zeros(%us : tensor<2x1x2x16xf32>) down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c4_bytes(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x1x4x8xi8>, %us: tensor<2x1x2x16xf32>, %uz: tensor<2x1x2x8xi8>, %down: tensor<2x4x8xf32>) {
  // expected-error @below {{'moert.expert_ffn' op needs packed bytes for up that is coded, not 'tensor<2x4x8xf32>'}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%down : tensor<2x4x8xf32>) coded int4 block 2 scales(%us : tensor<2x1x2x16xf32>) down(%down : tensor<2x4x8xf32>) outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @expert_ffn_c5(%x: tensor<?x32xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %low: tensor<2x1x32x16xf32>, %up: tensor<2x2x20x16xf32>, %down: tensor<2x2x32x16xf32>) {
  // expected-error @below {{'moert.expert_ffn' op has factors 'tensor<2x1x32x16xf32>' and 'tensor<2x2x20x16xf32>' for up, which do not fit}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x2x20x16xf32>) low(%low : tensor<2x1x32x16xf32>) down(%down : tensor<2x2x32x16xf32>) outs(%x : tensor<?x32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @expert_ffn_c5_packed(%x: tensor<?x32xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %low: tensor<2x16x32xf32>, %up: tensor<2x2x16x16xf32>, %down: tensor<2x2x32x16xf32>) {
  // expected-error @below {{'moert.expert_ffn' op needs packed factors, not 'tensor<2x16x32xf32>' and 'tensor<2x2x16x16xf32>' for up}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x2x16x16xf32>) low(%low : tensor<2x16x32xf32>) down(%down : tensor<2x2x32x16xf32>) outs(%x : tensor<?x32xf32>) -> tensor<?x32xf32>
  return
}

// -----

func.func @gemm_c1_rows(%x: tensor<f32>, %w: tensor<4x8xf32>, %o: tensor<?x8xf32>) {
  // expected-error @below {{'moert.gemm' op needs rows, not 'tensor<f32>'}}
  %0 = moert.gemm ins(%x, %w : tensor<f32>, tensor<4x8xf32>) outs(%o : tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @rms_norm_c1_rows(%x: tensor<f32>, %s: tensor<4xf32>) {
  // expected-error @below {{'moert.rms_norm' op needs rows, not 'tensor<f32>'}}
  %0 = moert.rms_norm ins(%x, %s : tensor<f32>, tensor<4xf32>) outs(%x : tensor<f32>) epsilon 1.0e-6 -> tensor<f32>
  return
}

// -----

func.func @route_c2_count(%z: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moert.route' op needs two destinations, ids and weights, not 1}}
  %0 = moert.route softmax ins(%z : tensor<?x4xf32>) outs(%i : tensor<?x2xi32>) -> tensor<?x2xi32>
  return
}

// -----

func.func @route_c2_rank(%z: tensor<4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moert.route' op needs operands of rank 2, not 'tensor<4xf32>'}}
  %0:2 = moert.route softmax ins(%z : tensor<4xf32>) outs(%i, %w : tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// -----

func.func @unranked(%x: tensor<*xf32>, %s: tensor<4xf32>) {
  // expected-error @below {{'moert.rms_norm' op operand #0 must be ranked tensor of any type values or memref of any type values, but got 'tensor<*xf32>'}}
  %0 = "moert.rms_norm"(%x, %s, %x) {epsilon = 1.0e-6 : f64} : (tensor<*xf32>, tensor<4xf32>, tensor<*xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @check_c1_where(%c: i1) {
  // expected-error @below {{'moert.check' op has 0 %s in its message and one 'where'}}
  moert.check %c, "wrong" where "here"
  return
}

// -----

func.func @check_c1_value(%c: i1) {
  // expected-error @below {{'moert.check' op has 1 %lld in its message and no 'value'}}
  moert.check %c, "wrong: %lld"
  return
}

// -----

func.func @check_c1_format(%c: i1, %i: index) {
  // expected-error @below {{'moert.check' op has a '%' in its message that is none of %s, %lld, %%}}
  moert.check %c, "wrong: %d" value %i
  return
}

// -----

func.func @expert_ffn_c4_coded_none(%x: tensor<?x32xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<2x2x32x16xf32>, %down: tensor<2x2x32x16xf32>) -> tensor<?x32xf32> {
  // expected-error @below {{'moert.expert_ffn' op has a coding, scales or a block for up_low, which it lacks}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x2x32x16xf32>) low_coded int8 block 0 down(%down : tensor<2x2x32x16xf32>) outs(%x : tensor<?x32xf32>) -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}

// -----

func.func @expert_ffn_c4_scales_of_none(%x: tensor<?x32xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %s: tensor<2x1x1x16xf32>, %up: tensor<2x2x32x16xf32>, %down: tensor<2x2x32x16xf32>) -> tensor<?x32xf32> {
  // expected-error @below {{'moert.expert_ffn' op has a coding, scales or a block for up_low, which it lacks}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x2x32x16xf32>) low_coded int8 block 0 low_scales(%s : tensor<2x1x1x16xf32>) down(%down : tensor<2x2x32x16xf32>) outs(%x : tensor<?x32xf32>) -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}

// -----

func.func @expert_ffn_c5_depth(%x: tensor<?x32xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %low: tensor<2x1x900x16xf32>, %up: tensor<2x2x16x16xf32>, %down: tensor<2x2x32x16xf32>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %d = tensor.dim %x, %c0 : tensor<?x32xf32>
  %e = tensor.empty(%d) : tensor<?x32xf32>
  // expected-error @below {{'moert.expert_ffn' op has a factor 'tensor<2x1x900x16xf32>' for 32 features}}
  %0 = moert.expert_ffn relu ins(%x, %i, %w : tensor<?x32xf32>, tensor<?x2xi32>, tensor<?x2xf32>) up(%up : tensor<2x2x16x16xf32>) low(%low : tensor<2x1x900x16xf32>) down(%down : tensor<2x2x32x16xf32>) outs(%e : tensor<?x32xf32>) -> tensor<?x32xf32>
  return %0 : tensor<?x32xf32>
}

// -----

func.func @device_alloc_c1(%t: index) {
  // expected-error @below {{'moert.device_alloc' op needs dense memory and a size for each dynamic dimension, not 'memref<?x?xf32>' and 1 sizes}}
  %0 = moert.device_alloc(%t) : memref<?x?xf32>
  return
}

// -----

func.func @device_constant_c1(%m: memref<?xf32>) {
  // expected-error @below {{'moert.device_constant' op needs dense memory of static shape, not 'memref<?xf32>'}}
  %0 = moert.device_constant %m : memref<?xf32>
  return
}

// -----

func.func @transfer_c1(%m: memref<4xf32, strided<[2]>>) {
  // expected-error @below {{'moert.transfer' op needs dense memory, not 'memref<4xf32, strided<[2]>>'}}
  moert.transfer up %m to %m : memref<4xf32, strided<[2]>>
  return
}

// -----

func.func @launch_layer_c1(%x: memref<?x8xf16>, %y: memref<?x8xf32>) {
  // expected-error @below {{'moert.launch_layer' op needs dense i32 for ids and dense f32 elsewhere, not 'memref<?x8xf16>'}}
  moert.launch_layer 0 ins(%x : memref<?x8xf16>) outs(%y : memref<?x8xf32>)
  return
}
