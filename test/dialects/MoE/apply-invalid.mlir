// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @apply_c1_nothing(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.apply' op needs ids or weights}}
  %0 = moe.apply @p %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c1_uneven(%x: tensor<?x4xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.apply' op has ids of 1 gates but weights of 2}}
  %0 = moe.apply @p %x ids %i weights %w, %w : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c2_ids(%x: tensor<?x4xf32>, %i: tensor<?x1xi64>) {
  // expected-error @below {{'moe.apply' op needs i32 ids of rank 2, not 'tensor<?x1xi64>'}}
  %0 = moe.apply @p %x ids %i : (tensor<?x4xf32>, tensor<?x1xi64>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c2_weights(%x: tensor<?x4xf32>, %w: tensor<?x1xi32>) {
  // expected-error @below {{'moe.apply' op needs float weights of rank 2, not 'tensor<?x1xi32>'}}
  %0 = moe.apply @p %x weights %w : (tensor<?x4xf32>, tensor<?x1xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c2_shapes(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.apply' op has ids 'tensor<?x2xi32>' but weights 'tensor<?x1xf32>'}}
  %0 = moe.apply @p %x ids %i weights %w : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c2_variants(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %v: tensor<?x1xi32>) {
  // expected-error @below {{'moe.apply' op has ids 'tensor<?x2xi32>' but variants 'tensor<?x1xi32>'}}
  %0 = moe.apply @p %x ids %i variants %v : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x1xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c2_variants_of_dense(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>, %v: tensor<?x2xi32>) {
  // expected-error @below {{'moe.apply' op has ids of 0 gates but variants of 1}}
  %0 = moe.apply @p %x weights %w variants %v : (tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c3_ids(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.apply' op has subsets, but its gates give ids}}
  %0 = moe.apply @p %x ids %i subsets [array<i64: 0>] : (tensor<?x4xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c3_count(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.apply' op has 0 subsets for 1 gates}}
  %0 = moe.apply @p %x weights %w subsets [] : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c3_columns(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.apply' op has a subset of 1 entries for weights 'tensor<?x2xf32>'}}
  %0 = moe.apply @p %x weights %w subsets [array<i64: 0>] : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c4_count(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>, %s: tensor<4xf32>) {
  // expected-error @below {{'moe.apply' op has 1 results for 1 gates and 1 states}}
  %0 = moe.apply @p %x weights %w states %s : (tensor<?x4xf32>, tensor<?x2xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c4_type(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>, %s: tensor<4xf32>) {
  // expected-error @below {{'moe.apply' op takes state 'tensor<4xf32>' but returns 'tensor<5xf32>'}}
  %0:2 = moe.apply @p %x weights %w states %s : (tensor<?x4xf32>, tensor<?x2xf32>, tensor<4xf32>) -> (tensor<?x4xf32>, tensor<5xf32>)
  return
}

// -----

func.func @apply_c5_replace(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.apply' op replaces, so it needs one slot per token, not 'tensor<?x2xi32>'}}
  %0 = moe.apply @p %x ids %i combine replace : (tensor<?x4xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c5_scale_input(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.apply' op scales its input, so it needs weights and combine add}}
  %0 = moe.apply @p %x ids %i scale_input : (tensor<?x4xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c6_unknown(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.apply' op runs @p, which is not a moe.pool}}
  %0 = moe.apply @p %x ids %i : (tensor<?x4xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return
}

// -----

// expected-note @below {{pool declared here}}
moe.pool @p {
  moe.null_expert @a zero
}
func.func @apply_c6_subset(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.apply' op runs entry 1, but @p has 1}}
  %0 = moe.apply @p %x weights %w subsets [array<i64: 1>] : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

// expected-note @below {{pool declared here}}
moe.pool @p {
  moe.null_expert @a zero
}
func.func @apply_c6_dense(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.apply' op has weights 'tensor<?x2xf32>', but @p has 1 entries}}
  %0 = moe.apply @p %x weights %w : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

// expected-note @below {{pool declared here}}
moe.pool @p {
  moe.null_expert @a copy input 1
}
func.func @apply_c6_input(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.apply' op has 1 token operands, but entry @a reads number 1}}
  %0 = moe.apply @p %x weights %w : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

moe.bank @w in "m" key "w" : tensor<8x5xf32>
// expected-note @below {{pool declared here}}
moe.pool @p {
  moe.expert @a linear up @w
}
func.func @apply_c7_in(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.apply' op has tokens of 4 features, but entry @a takes 5}}
  %0 = moe.apply @p %x weights %w : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return
}

// -----

moe.bank @w in "m" key "w" : tensor<8x4xf32>
// expected-note @below {{pool declared here}}
moe.pool @p {
  moe.expert @a linear up @w
}
func.func @apply_c7_out(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.apply' op gives rows of 4 features, but entry @a gives 8}}
  %0 = moe.apply @p %x weights %w : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @apply_c7_rows(%x: tensor<f32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.apply' op needs rows, not 'tensor<f32>'}}
  %0 = moe.apply @p %x weights %w : (tensor<f32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}
