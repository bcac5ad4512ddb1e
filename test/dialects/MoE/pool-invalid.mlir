// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{'moe.pool' op has no entry}}
moe.pool @pool_c1_empty {
}

// -----

moe.pool @pool_c1_other_op {
  // expected-error @below {{'arith.constant' op is no expert, so it cannot stand in a pool}}
  %0 = arith.constant 0 : i32
}

// -----

moe.pool @pool_c2 {
  // expected-note @below {{the other entry}}
  moe.null_expert @a zero
  // expected-error @below {{'moe.null_expert' op has the name of another entry, @a}}
  moe.null_expert @a copy
}

// -----

moe.pool @pool_c3_unknown {
  moe.null_expert @a zero
  // expected-error @below {{'moe.alias' op stands for @b, which the pool does not have}}
  moe.alias @c of @b
}

// -----

moe.pool @pool_c3_chain {
  moe.null_expert @a zero
  moe.alias @b of @a
  // expected-error @below {{'moe.alias' op stands for @b, which is an alias itself}}
  moe.alias @c of @b
}

// -----

// An entry outside of a pool.
// expected-error @below {{'moe.null_expert' op expects parent op 'moe.pool'}}
moe.null_expert @a zero

// -----

moe.pool @null_expert_c1 {
  // expected-error @below {{'moe.null_expert' op is constant but has no value}}
  moe.null_expert @a constant
}

// -----

moe.pool @null_expert_c1 {
  // expected-error @below {{'moe.null_expert' op has a value or mix, which only constant has}}
  moe.null_expert @a copy value @v
}

// -----

moe.bank @v in "m" key "v" : tensor<2x64xf32>
moe.pool @null_expert_c2_value {
  // expected-error @below {{'moe.null_expert' op needs a vector, but the slice of @v has rank 2}}
  moe.null_expert @a constant value @v
}

// -----

moe.bank @v in "m" key "v" : tensor<64xf32>
moe.bank @wc in "m" key "wc" : tensor<3x64xf32>
moe.pool @null_expert_c2_mix {
  // expected-error @below {{'moe.null_expert' op mixes two terms, but mix has 3 outputs}}
  moe.null_expert @a constant value @v mix @wc
}

// -----

moe.pool @expert_fn_c1_unknown {
  // expected-error @below {{'moe.expert_fn' op calls @f, which is no function}}
  moe.expert_fn @a calls @f
}

// -----

func.func private @f(tensor<?x4xf32>) -> tensor<?x4xf32>
moe.pool @expert_fn_c1_arguments {
  // expected-error @below {{'moe.expert_fn' op needs a function of rows and 1 states, but @f takes 1 arguments}}
  moe.expert_fn @a calls @f states [0]
}

// -----

func.func private @f(tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
moe.pool @expert_fn_c1_results {
  // expected-error @below {{'moe.expert_fn' op needs a function that returns rows and 1 states, but @f returns 1 values}}
  moe.expert_fn @a calls @f states [0]
}
