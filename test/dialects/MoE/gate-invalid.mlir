// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @gate_c1_rank(%z: tensor<8xf32>) {
  // expected-error @below {{'moe.gate' op needs logits of rank 2, not 'tensor<8xf32>'}}
  %0:2 = moe.gate softmax %z top_k 2 : tensor<8xf32>
  return
}

// -----

func.func @gate_c1_top_k_too_large(%z: tensor<?x2xf32>) {
  // expected-error @below {{'moe.gate' op picks 3 of 2 experts}}
  %0:2 = moe.gate softmax %z top_k 3 : tensor<?x2xf32>
  return
}

// -----

func.func @gate_c2(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op needs top_k or to be dense}}
  %0:2 = moe.gate softmax %z : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c3_divide(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op cannot split 8 experts into 3 equal groups}}
  %0:2 = moe.gate softmax %z top_k 2 groups 3 top_groups 1 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c3_top(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op keeps 5 of 4 groups}}
  %0:2 = moe.gate softmax %z top_k 2 groups 4 top_groups 5 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c3_hold(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op picks 3 experts, but 1 groups hold 2}}
  %0:2 = moe.gate softmax %z top_k 3 groups 4 top_groups 1 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c4_bias(%z: tensor<?x8xf32>, %b: tensor<7xf32>) {
  // expected-error @below {{'moe.gate' op has choice bias 'tensor<7xf32>' for 8 experts}}
  %0:2 = moe.gate softmax %z top_k 2 choice_bias(%b : tensor<7xf32>) : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c4_values(%z: tensor<?x8xf32>, %v: tensor<?x7xf32>) {
  // expected-error @below {{'moe.gate' op has values 'tensor<?x7xf32>' for logits 'tensor<?x8xf32>'}}
  %0:2 = moe.gate softmax %z top_k 2 values(%v : tensor<?x7xf32>) : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c5(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op needs score none and top_k 2 for sparse_mixer}}
  %0:2 = moe.gate softmax %z top_k 2 sparse_mixer 0.02 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c6_dense(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op is dense, so it has no slots to skip}}
  %0 = moe.gate softmax %z dense skip_ratio 0.5 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c6_negative(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op needs a skip_ratio of 0 or more}}
  %0:2 = moe.gate softmax %z top_k 2 skip_ratio -0.5 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c6_falling(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op needs two rising limits for skip_cumulative}}
  %0:3 = moe.gate softmax %z top_k 2 skip_cumulative [0.9, 0.6] : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c7_both(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op has a capacity and a capacity_factor, but only one can be}}
  %0:2 = moe.gate softmax %z top_k 2 capacity 3 capacity_factor 1.0 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c7_positive(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op needs a positive capacity}}
  %0:2 = moe.gate softmax %z top_k 2 capacity_factor 0.0 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c7_tau(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op has a capacity_tau but no capacity_factor}}
  %0:2 = moe.gate softmax %z top_k 2 capacity_tau 0.5 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c7_dense(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op is dense, so it has no slots to drop}}
  %0 = moe.gate softmax %z dense capacity 3 : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c8_count(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op lists 2 entries for 8 columns}}
  %0 = moe.gate softmax %z subset [0, 1] dense : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c8_twice(%z: tensor<?x2xf32>) {
  // expected-error @below {{'moe.gate' op lists entry 1 twice or below zero}}
  %0 = moe.gate softmax %z subset [1, 1] dense : tensor<?x2xf32>
  return
}

// -----

func.func @gate_c9_no_pool(%z: tensor<?x2xf32>) {
  // expected-error @below {{'moe.gate' op normalises over kinds of experts, so it needs a pool}}
  %0:2 = moe.gate softmax %z top_k 1 norm real : tensor<?x2xf32>
  return
}

// -----

func.func @gate_c9_unknown(%z: tensor<?x2xf32>) {
  // expected-error @below {{'moe.gate' op routes over @nothing, which is not a moe.pool}}
  %0:2 = moe.gate softmax %z over @nothing top_k 1 : tensor<?x2xf32>
  return
}

// -----

// expected-note @below {{pool declared here}}
moe.pool @two {
  moe.null_expert @a zero
  moe.null_expert @b zero
}
func.func @gate_c9_columns(%z: tensor<?x3xf32>) {
  // expected-error @below {{'moe.gate' op scores 3 experts, but @two has 2}}
  %0:2 = moe.gate softmax %z over @two top_k 1 : tensor<?x3xf32>
  return
}

// -----

// expected-note @below {{pool declared here}}
moe.pool @two {
  moe.null_expert @a zero
  moe.null_expert @b zero
}
func.func @gate_c9_subset(%z: tensor<?x1xf32>) {
  // expected-error @below {{'moe.gate' op lists entry 2, but @two has 2}}
  %0 = moe.gate softmax %z over @two subset [2] dense : tensor<?x1xf32>
  return
}

// -----

func.func @gate_c10_dynamic(%z: tensor<?x8xf32>, %k: index) {
  // expected-error @below {{'moe.gate' op has a dynamic k, so it needs top_k as its bound}}
  %0 = moe.gate softmax %z dense dynamic %k : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c10_select_first(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op selects first, so it needs top_k}}
  %0 = moe.gate softmax %z dense select_first : tensor<?x8xf32>
  return
}

// -----

func.func @gate_c10_epsilon(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op has a norm_epsilon but no norm}}
  %0:2 = moe.gate softmax %z top_k 2 norm_epsilon 0.1 : tensor<?x8xf32>
  return
}
