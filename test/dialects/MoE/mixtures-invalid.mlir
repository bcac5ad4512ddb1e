// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @soft_merge_c1_rank(%x: tensor<?x?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.soft_merge' op needs tensors of rank 2, not 'tensor<?x?x4xf32>'}}
  %0 = moe.soft_merge @p %x weights %w : (tensor<?x?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @soft_merge_c2_unknown(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.soft_merge' op mixes @p, which is not a moe.pool}}
  %0 = moe.soft_merge @p %x weights %w : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

moe.bank @w in "m" key "w" : tensor<4x4xf32>
moe.pool @p {
  moe.expert @a linear up @w
}
func.func @soft_merge_c1_columns(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.soft_merge' op has weights 'tensor<?x2xf32>', but @p has 1 entries}}
  %0 = moe.soft_merge @p %x weights %w : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

moe.pool @p {
  moe.null_expert @a zero
}
func.func @soft_merge_c2_null(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.soft_merge' op cannot mix entry @a, which has no matrices of its own}}
  %0 = moe.soft_merge @p %x weights %w : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

moe.bank @w in "m" key "w" : tensor<4x4xf32>
moe.bank @l in "m" key "l" : tensor<4xf32>
moe.pool @p {
  moe.expert @a linear up @w
  moe.expert @b scale up @l
}
func.func @soft_merge_c2_kinds(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>) {
  // expected-error @below {{'moe.soft_merge' op cannot mix entry @b, which is of another kind or shape than @a}}
  %0 = moe.soft_merge @p %x weights %w : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

moe.bank @w in "m" key "w" : tensor<4x5xf32>
moe.pool @p {
  moe.expert @a linear up @w
}
func.func @soft_merge_c3(%x: tensor<?x4xf32>, %w: tensor<?x1xf32>) {
  // expected-error @below {{'moe.soft_merge' op turns 'tensor<?x4xf32>' into 'tensor<?x4xf32>', but its experts take 5 features and give 4}}
  %0 = moe.soft_merge @p %x weights %w : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @confidence_gate_c1_rank(%x: tensor<?xf32>) {
  // expected-error @below {{'moe.confidence_gate' op needs tensors of rank 2, not 'tensor<?xf32>'}}
  %0:2 = moe.confidence_gate @p %x confidence @f both joint hops 1 : (tensor<?xf32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return
}

// -----

func.func @confidence_gate_c1_column(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.confidence_gate' op gives one confidence per row, not 'tensor<?x2xf32>'}}
  %0:2 = moe.confidence_gate @p %x confidence @f both joint hops 1 : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x2xf32>)
  return
}

// -----

func.func @confidence_gate_c2_no_seed(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.confidence_gate' op draws at random, so it needs a seed}}
  %0:2 = moe.confidence_gate @p %x confidence @f both separate hops 1 : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return
}

// -----

func.func @confidence_gate_c2_seed(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.confidence_gate' op draws nothing, so it has no seed}}
  %0:2 = moe.confidence_gate @p %x confidence @f both joint hops 1 seed 1 : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return
}

// -----

func.func @confidence_gate_c3_unknown(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.confidence_gate' op runs @p, which is not a moe.pool}}
  %0:2 = moe.confidence_gate @p %x confidence @f both joint hops 1 : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return
}

// -----

moe.pool @p {
  moe.null_expert @a zero
  moe.null_expert @b zero
}
func.func @confidence_gate_c3_pool(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.confidence_gate' op needs a pool of two functions, weak and strong}}
  %0:2 = moe.confidence_gate @p %x confidence @f both joint hops 1 : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return
}

// -----

func.func private @g(tensor<?x4xf32>) -> tensor<?x4xf32>
moe.pool @p {
  moe.expert_fn @a calls @g
  moe.expert_fn @b calls @g
}
func.func @confidence_gate_c3_function(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.confidence_gate' op needs a function of one argument, which @f is not}}
  %0:2 = moe.confidence_gate @p %x confidence @f both joint hops 1 : (tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return
}

// -----

func.func @hyper_adapter_c1_rank(%x: tensor<?xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.hyper_adapter' op needs tensors of rank 2, not 'tensor<?xf32>'}}
  %0 = moe.hyper_adapter %x ids %i experts 8 : (tensor<?xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @hyper_adapter_c1_ids(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>) {
  // expected-error @below {{'moe.hyper_adapter' op needs i32 ids, not 'tensor<?x2xi64>'}}
  %0 = moe.hyper_adapter %x ids %i experts 8 : (tensor<?x4xf32>, tensor<?x2xi64>) -> tensor<?x4xf32>
  return
}

// -----

func.func @hyper_adapter_c2(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.hyper_adapter' op needs a generator and embeddings, or a table of four}}
  %0 = moe.hyper_adapter %x ids %i experts 8 : (tensor<?x4xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @hyper_adapter_c3_embeddings(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %e: tensor<7x16xf32>) {
  // expected-error @below {{'moe.hyper_adapter' op has embeddings 'tensor<7x16xf32>' of 8 experts}}
  %0 = moe.hyper_adapter %x ids %i experts 8 generator @g embeddings %e : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<7x16xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @hyper_adapter_c3_k(%x: tensor<?x4xf32>, %i: tensor<?x?xi32>, %d: tensor<28x4x2xf32>, %db: tensor<28x2xf32>) {
  // expected-error @below {{'moe.hyper_adapter' op has a table, so it needs a fixed number of ids up to 8}}
  %0 = moe.hyper_adapter %x ids %i experts 8 table %d, %db, %d, %db : (tensor<?x4xf32>, tensor<?x?xi32>, tensor<28x4x2xf32>, tensor<28x2xf32>, tensor<28x4x2xf32>, tensor<28x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @hyper_adapter_c3_table(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %d: tensor<27x4x2xf32>, %db: tensor<28x2xf32>) {
  // expected-error @below {{'moe.hyper_adapter' op has a table 'tensor<27x4x2xf32>' for 28 sets}}
  %0 = moe.hyper_adapter %x ids %i experts 8 table %d, %db, %d, %db : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<27x4x2xf32>, tensor<28x2xf32>, tensor<27x4x2xf32>, tensor<28x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func private @g(tensor<?x16xf32>) -> tensor<?x4xf32>
func.func @hyper_adapter_c4(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %e: tensor<8x16xf32>) {
  // expected-error @below {{'moe.hyper_adapter' op needs a function of one argument and four results, which @g is not}}
  %0 = moe.hyper_adapter %x ids %i experts 8 generator @g embeddings %e : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<8x16xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @observe_c1_cosine(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.observe' op takes 2 values, not 1}}
  moe.observe block_cosine "l" %x : tensor<?x4xf32>
  return
}

// -----

func.func @observe_c1_choice(%i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.observe' op takes 1 or 2 values, not 3}}
  moe.observe choice "l" over @p %i, %i, %i : tensor<?x2xi32>, tensor<?x2xi32>, tensor<?x2xi32>
  return
}

// -----

func.func @observe_c1_outputs(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.observe' op takes 1 values, not 2}}
  moe.observe outputs "l" %x, %x : tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @observe_c1_rank(%x: tensor<4xf32>) {
  // expected-error @below {{'moe.observe' op needs values of rank 2 or more, not 'tensor<4xf32>'}}
  moe.observe outputs "l" %x : tensor<4xf32>
  return
}

// -----

func.func @observe_c2_ids(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.observe' op takes i32 ids, not 'tensor<?x4xf32>'}}
  moe.observe choice "l" over @p %x : tensor<?x4xf32>
  return
}

// -----

func.func @observe_c2_floats(%x: tensor<?x4xi32>) {
  // expected-error @below {{'moe.observe' op measures floats, not 'tensor<?x4xi32>'}}
  moe.observe outputs "l" %x : tensor<?x4xi32>
  return
}

// -----

func.func @observe_c3_none(%i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.observe' op counts by expert, so it needs a pool}}
  moe.observe choice "l" %i : tensor<?x2xi32>
  return
}

// -----

func.func @observe_c3_unknown(%i: tensor<?x2xi32>) {
  // expected-error @below {{'moe.observe' op observes @p, which is not a moe.pool}}
  moe.observe choice "l" over @p %i : tensor<?x2xi32>
  return
}

// -----

func.func @observe_c4_none(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.observe' op needs the score of the logits}}
  moe.observe logits "l" %x : tensor<?x4xf32>
  return
}

// -----

func.func @observe_c4_some(%x: tensor<?x4xf32>) {
  // expected-error @below {{'moe.observe' op has nothing to score}}
  moe.observe outputs "l" score softmax %x : tensor<?x4xf32>
  return
}

// -----

func.func @observe_c5_shapes(%x: tensor<?x4xf32>, %y: tensor<?x5xf32>) {
  // expected-error @below {{'moe.observe' op compares 'tensor<?x4xf32>' with 'tensor<?x5xf32>'}}
  moe.observe sublayer_cosine "l" %x, %y : tensor<?x4xf32>, tensor<?x5xf32>
  return
}

// -----

func.func @observe_c5_rows(%i: tensor<7x2xi32>, %y: tensor<8x2xf32>) {
  // expected-error @below {{'moe.observe' op pairs 'tensor<7x2xi32>' with 'tensor<8x2xf32>'}}
  moe.observe choice "l" over @p %i, %y : tensor<7x2xi32>, tensor<8x2xf32>
  return
}

// -----

func.func @hyper_adapter_c3_many(%x: tensor<?x4xf32>, %i: tensor<?x32xi32>, %d: tensor<28x4x2xf32>, %db: tensor<28x2xf32>) {
  // expected-error @below {{'moe.hyper_adapter' op has a table, but there are too many sets of 32 of 64 experts}}
  %0 = moe.hyper_adapter %x ids %i experts 64 table %d, %db, %d, %db : (tensor<?x4xf32>, tensor<?x32xi32>, tensor<28x4x2xf32>, tensor<28x2xf32>, tensor<28x4x2xf32>, tensor<28x2xf32>) -> tensor<?x4xf32>
  return
}
