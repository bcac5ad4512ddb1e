// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @dispatch_c1_rank(%x: tensor<?x?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.dispatch' op needs tensors of rank 2, not 'tensor<?x?x4xf32>'}}
  %0:3 = moe.dispatch @p %x by %i : (tensor<?x?x4xf32>, tensor<?x2xi32>) -> (tensor<?x4xf32>, tensor<9xi32>, tensor<?xi32>)
  return
}

// -----

func.func @dispatch_c1_ids(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>) {
  // expected-error @below {{'moe.dispatch' op needs i32 ids, not 'tensor<?x2xi64>'}}
  %0:3 = moe.dispatch @p %x by %i : (tensor<?x4xf32>, tensor<?x2xi64>) -> (tensor<?x4xf32>, tensor<9xi32>, tensor<?xi32>)
  return
}

// -----

func.func @dispatch_c1_weights(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.dispatch' op has ids 'tensor<?x2xi32>' but weights 'tensor<?x1xf32>'}}
  %0:3 = moe.dispatch @p %x by %i weights %w : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x1xf32>) -> (tensor<?x4xf32>, tensor<9xi32>, tensor<?xi32>)
  return
}

// -----

func.func @dispatch_c2(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.dispatch' op gathers rows 'tensor<?x5xf32>' from tokens 'tensor<?x4xf32>'}}
  %0:3 = moe.dispatch @p %x by %i : (tensor<?x4xf32>, tensor<?x2xi32>) -> (tensor<?x5xf32>, tensor<9xi32>, tensor<?xi32>)
  return
}

// -----

func.func @dispatch_c3_unknown(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.dispatch' op uses @p, which is not a moe.pool}}
  %0:3 = moe.dispatch @p %x by %i : (tensor<?x4xf32>, tensor<?x2xi32>) -> (tensor<?x4xf32>, tensor<9xi32>, tensor<?xi32>)
  return
}

// -----

// expected-note @below {{pool declared here}}
moe.pool @p {
  moe.null_expert @a zero
}
func.func @dispatch_c3_offsets(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.dispatch' op has 9 offsets, but @p has 1 entries}}
  %0:3 = moe.dispatch @p %x by %i : (tensor<?x4xf32>, tensor<?x2xi32>) -> (tensor<?x4xf32>, tensor<9xi32>, tensor<?xi32>)
  return
}

// -----

func.func @expert_ffn_c1(%x: tensor<?x?x4xf32>, %o: tensor<2xi32>) {
  // expected-error @below {{'moe.expert_ffn' op needs tensors of rank 2, not 'tensor<?x?x4xf32>'}}
  %0 = moe.expert_ffn @p %x offsets %o : (tensor<?x?x4xf32>, tensor<2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func private @f(tensor<?x4xf32>) -> tensor<?x4xf32>
moe.pool @p {
  moe.expert_fn @a calls @f
}
func.func @expert_ffn_c2(%x: tensor<?x4xf32>, %o: tensor<2xi32>) {
  // expected-error @below {{'moe.expert_ffn' op runs no functions, but entry @a is one}}
  %0 = moe.expert_ffn @p %x offsets %o : (tensor<?x4xf32>, tensor<2xi32>) -> tensor<?x4xf32>
  return
}

// -----

moe.bank @w in "m" key "w" : tensor<8x4xf32>
moe.pool @p {
  moe.expert @a linear up @w
}
func.func @expert_ffn_c3(%x: tensor<?x4xf32>, %o: tensor<2xi32>) {
  // expected-error @below {{'moe.expert_ffn' op turns 'tensor<?x4xf32>' into 'tensor<?x4xf32>', but entry @a takes 4 features and gives 8}}
  %0 = moe.expert_ffn @p %x offsets %o : (tensor<?x4xf32>, tensor<2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @combine_c1_rank(%r: tensor<?x4xf32>, %s: tensor<?xi32>, %i: tensor<?x2xi32>, %x: tensor<?xf32>) {
  // expected-error @below {{'moe.combine' op needs tensors of rank 2, not 'tensor<?xf32>'}}
  %0 = moe.combine @p %r slots %s ids %i tokens %x : (tensor<?x4xf32>, tensor<?xi32>, tensor<?x2xi32>, tensor<?xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @combine_c1_ids(%r: tensor<?x4xf32>, %s: tensor<?xi32>, %i: tensor<?x2xi64>) {
  // expected-error @below {{'moe.combine' op needs i32 ids, not 'tensor<?x2xi64>'}}
  %0 = moe.combine @p %r slots %s ids %i tokens %r : (tensor<?x4xf32>, tensor<?xi32>, tensor<?x2xi64>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @combine_c2(%r: tensor<?x4xf32>, %s: tensor<?xi32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.combine' op combines rows 'tensor<?x4xf32>' into 'tensor<?x5xf32>'}}
  %0 = moe.combine @p %r slots %s ids %i tokens %r : (tensor<?x4xf32>, tensor<?xi32>, tensor<?x2xi32>, tensor<?x4xf32>) -> tensor<?x5xf32>
  return
}

// -----

func.func @combine_c3(%r: tensor<?x4xf32>, %s: tensor<?xi32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.combine' op uses @p, which is not a moe.pool}}
  %0 = moe.combine @p %r slots %s ids %i tokens %r : (tensor<?x4xf32>, tensor<?xi32>, tensor<?x2xi32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}
