// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @router_c1_given(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.router' op is given, so it has no weight}}
  %0 = moe.router given %z weight(%z : tensor<?x8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c1_both(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @below {{'moe.router' op has a weight and a seed, but only one can be}}
  %0 = moe.router linear %x weight(%w : tensor<8x4xf32>) seed 1 : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c1_none(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.router' op needs a weight}}
  %0 = moe.router linear %x : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c1_seed_kind(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.router' op has a seed, which only linear has}}
  %0 = moe.router distance %x seed 1 : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c1_seed_bias(%x: tensor<?x4xf32>, %b: tensor<8xf32>) {
  // expected-error @below {{'moe.router' op has a seed, which makes the bias, too}}
  %0 = moe.router linear %x bias(%b : tensor<8xf32>) seed 1 : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c2_extra(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @below {{'moe.router' op has a hidden matrix, which only linear_tanh_linear has}}
  %0 = moe.router linear %x weight(%w : tensor<8x4xf32>) hidden(%w : tensor<8x4xf32>) : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c2_missing(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @below {{'moe.router' op needs a hidden matrix}}
  %0 = moe.router linear_tanh_linear %x weight(%w : tensor<8x4xf32>) : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c3_kind(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @below {{'moe.router' op has a temperature, which only distance has}}
  %0 = moe.router linear %x weight(%w : tensor<8x4xf32>) temperature 1.0 : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c3_zero(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @below {{'moe.router' op needs a positive temperature}}
  %0 = moe.router distance %x weight(%w : tensor<8x4xf32>) temperature 0.0 : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c4_rank(%x: tensor<?x?x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @below {{'moe.router' op turns rows into logits, both of rank 2, not 'tensor<?x?x4xf32>' into 'tensor<?x8xf32>'}}
  %0 = moe.router linear %x weight(%w : tensor<8x4xf32>) : tensor<?x?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c4_rows(%x: tensor<3x4xf32>, %w: tensor<8x4xf32>) {
  // expected-error @below {{'moe.router' op turns 3 rows into 2}}
  %0 = moe.router linear %x weight(%w : tensor<8x4xf32>) : tensor<3x4xf32> -> tensor<2x8xf32>
  return
}

// -----

func.func @router_c4_table_input(%x: tensor<?xf32>, %w: tensor<8xi32>) {
  // expected-error @below {{'moe.router' op looks up integer ids of rank 1, not 'tensor<?xf32>'}}
  %0 = moe.router table %x weight(%w : tensor<8xi32>) : tensor<?xf32> -> tensor<?x1xi32>
  return
}

// -----

func.func @router_c4_table_result(%x: tensor<?xi64>, %w: tensor<8xi32>) {
  // expected-error @below {{'moe.router' op gives i32 ids of rank 2, not 'tensor<?x1xf32>'}}
  %0 = moe.router table %x weight(%w : tensor<8xi32>) : tensor<?xi64> -> tensor<?x1xf32>
  return
}

// -----

func.func @router_c4_table(%x: tensor<?xi64>, %w: tensor<8xf32>) {
  // expected-error @below {{'moe.router' op needs a table of integers of rank 1 or 2, not 'tensor<8xf32>'}}
  %0 = moe.router table %x weight(%w : tensor<8xf32>) : tensor<?xi64> -> tensor<?x1xi32>
  return
}

// -----

func.func @router_c5_table(%x: tensor<?xi64>, %w: tensor<8x2xi32>) {
  // expected-error @below {{'moe.router' op gives 1 ids from a table of 2}}
  %0 = moe.router table %x weight(%w : tensor<8x2xi32>) : tensor<?xi64> -> tensor<?x1xi32>
  return
}

// -----

func.func @router_c5_given(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.router' op gives 7 logits of 8}}
  %0 = moe.router given %z : tensor<?x8xf32> -> tensor<?x7xf32>
  return
}

// -----

func.func @router_c5_weight(%x: tensor<?x4xf32>, %w: tensor<4x8xf32>) {
  // expected-error @below {{'moe.router' op has weight 'tensor<4x8xf32>' for 4 features and 8 outputs}}
  %0 = moe.router linear %x weight(%w : tensor<4x8xf32>) : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c5_hidden(%x: tensor<?x4xf32>, %w: tensor<8x16xf32>, %h: tensor<16x5xf32>) {
  // expected-error @below {{'moe.router' op has hidden matrix 'tensor<16x5xf32>' for 4 features and any number of outputs}}
  %0 = moe.router linear_tanh_linear %x weight(%w : tensor<8x16xf32>) hidden(%h : tensor<16x5xf32>) : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c5_bias(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>, %b: tensor<7xf32>) {
  // expected-error @below {{'moe.router' op has bias 'tensor<7xf32>' for 8 experts}}
  %0 = moe.router linear %x weight(%w : tensor<8x4xf32>) bias(%b : tensor<7xf32>) : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c5_residual(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>, %z: tensor<?x6xf32>, %R: tensor<6x8xf32>) {
  // expected-error @below {{'moe.router' op has residual 'tensor<?x6xf32>' and matrix 'tensor<6x8xf32>' for 8 experts}}
  %0 = moe.router linear %x weight(%w : tensor<8x4xf32>) residual(%z, %R : tensor<?x6xf32>, tensor<6x8xf32>) : tensor<?x4xf32> -> tensor<?x8xf32>
  return
}

// -----

func.func @router_c6(%z: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error @below {{'moe.router' op takes no bias, residual or standardize}}
  %0 = moe.router given %z bias(%b : tensor<8xf32>) : tensor<?x8xf32> -> tensor<?x8xf32>
  return
}
