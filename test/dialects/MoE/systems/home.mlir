// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// HoME (arXiv 2408.05430): two levels of experts Swish(BN(MLP(v))), shared or of one
// category (watch, interact); every consumer has its own dense softmax gate over
// the experts that it may see, and a group of one expert adds a sigmoid
// self-gate. Feature gates v * sum_l a_l 2 sigmoid(v B_l A_l) give each group of
// experts its own view of the input.

moe.bank @w in "m" key "watch.weight" : tensor<32x64xf32>
moe.bank @b in "m" key "watch.bias" : tensor<32xf32>
moe.bank @gamma in "m" key "watch.bn.gamma" : tensor<32xf32>
moe.bank @beta in "m" key "watch.bn.beta" : tensor<32xf32>
moe.bank @mean in "m" key "watch.bn.mean" : tensor<32xf32>
moe.bank @variance in "m" key "watch.bn.variance" : tensor<32xf32>

// One expert in full: a linear layer, batch norm in its inference form (a pass
// folds it into the layer), Swish.

// CHECK-LABEL: func.func private @watch
func.func private @watch(%v: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %w = moe.weight @w : tensor<32x64xf32>
  %b = moe.weight @b : tensor<32xf32>
  %gamma = moe.weight @gamma : tensor<32xf32>
  %beta = moe.weight @beta : tensor<32xf32>
  %mean = moe.weight @mean : tensor<32xf32>
  %variance = moe.weight @variance : tensor<32xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %v, %c0 : tensor<?x64xf32>
  %init = tensor.empty(%n) : tensor<?x32xf32>
  %z = moert.gemm ins(%v, %w : tensor<?x64xf32>, tensor<32x64xf32>) bias(%b : tensor<32xf32>)
      outs(%init : tensor<?x32xf32>) {transpose_weight} -> tensor<?x32xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(t, j) -> (t, j)>, affine_map<(t, j) -> (j)>, affine_map<(t, j) -> (j)>,
                                        affine_map<(t, j) -> (j)>, affine_map<(t, j) -> (j)>, affine_map<(t, j) -> (t, j)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%z, %gamma, %beta, %mean, %variance : tensor<?x32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<32xf32>)
      outs(%init : tensor<?x32xf32>) {
  ^bb0(%x: f32, %g: f32, %be: f32, %mu: f32, %va: f32, %o: f32):
    %epsilon = arith.constant 1.0e-3 : f32
    %one = arith.constant 1.0 : f32
    %ve = arith.addf %va, %epsilon : f32
    %rs = math.rsqrt %ve : f32
    %s = arith.mulf %g, %rs : f32
    %d = arith.subf %x, %mu : f32
    %sd = arith.mulf %s, %d : f32
    %u = arith.addf %sd, %be : f32
    %nu = arith.negf %u : f32
    %e = math.exp %nu : f32
    %e1 = arith.addf %one, %e : f32
    %swish = arith.divf %u, %e1 : f32
    linalg.yield %swish : f32
  } -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
func.func private @interact(tensor<?x64xf32>) -> tensor<?x32xf32>
func.func private @shared(tensor<?x64xf32>) -> tensor<?x32xf32>

// Level 1: no feature gates, so one input. Gates see static subsets: z_watch
// never needs the interact experts.

// CHECK-LABEL: moe.pool @level1
// CHECK-NEXT:    moe.expert_fn @shared calls @shared
// CHECK-NEXT:    moe.expert_fn @watch calls @watch
// CHECK-NEXT:    moe.expert_fn @interact calls @interact
moe.pool @level1 {
  moe.expert_fn @shared calls @shared
  moe.expert_fn @watch calls @watch
  moe.expert_fn @interact calls @interact
}

// CHECK-LABEL: func.func @meta
func.func @meta(%v: tensor<?x64xf32>, %gw: tensor<2x64xf32>, %gi: tensor<2x64xf32>, %gs: tensor<3x64xf32>,
                %sw: tensor<1x64xf32>, %si: tensor<1x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %zw = moe.router linear %v weight(%gw : tensor<2x64xf32>) : tensor<?x64xf32> -> tensor<?x2xf32>
  %zi = moe.router linear %v weight(%gi : tensor<2x64xf32>) : tensor<?x64xf32> -> tensor<?x2xf32>
  %zs = moe.router linear %v weight(%gs : tensor<3x64xf32>) : tensor<?x64xf32> -> tensor<?x3xf32>
  %zsw = moe.router linear %v weight(%sw : tensor<1x64xf32>) : tensor<?x64xf32> -> tensor<?x1xf32>
  %zsi = moe.router linear %v weight(%si : tensor<1x64xf32>) : tensor<?x64xf32> -> tensor<?x1xf32>
  // CHECK: moe.gate softmax %{{.*}} over @level1 subset [0, 1] dense : tensor<?x2xf32>
  %pw = moe.gate softmax %zw over @level1 subset [0, 1] dense : tensor<?x2xf32>
  // CHECK: moe.gate softmax %{{.*}} over @level1 subset [0, 2] dense : tensor<?x2xf32>
  %pi = moe.gate softmax %zi over @level1 subset [0, 2] dense : tensor<?x2xf32>
  // CHECK: moe.gate softmax %{{.*}} over @level1 dense : tensor<?x3xf32>
  %ps = moe.gate softmax %zs over @level1 dense : tensor<?x3xf32>
  // Self-gates.
  // CHECK: moe.gate sigmoid %{{.*}} over @level1 subset [1] dense : tensor<?x1xf32>
  %psw = moe.gate sigmoid %zsw over @level1 subset [1] dense : tensor<?x1xf32>
  // CHECK: moe.gate sigmoid %{{.*}} over @level1 subset [2] dense : tensor<?x1xf32>
  %psi = moe.gate sigmoid %zsi over @level1 subset [2] dense : tensor<?x1xf32>
  // Every expert runs once for all five gates.
  // CHECK: %[[Z:.*]]:5 = moe.apply @level1 %{{.*}} weights %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} subsets [array<i64: 0, 1>, array<i64: 0, 2>, array<i64: 0, 1, 2>, array<i64: 1>, array<i64: 2>]
  %z:5 = moe.apply @level1 %v weights %pw, %pi, %ps, %psw, %psi
      subsets [array<i64: 0, 1>, array<i64: 0, 2>, array<i64: 0, 1, 2>, array<i64: 1>, array<i64: 2>]
      : (tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x3xf32>, tensor<?x1xf32>, tensor<?x1xf32>)
      -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
  // CHECK: arith.addf %[[Z]]#0, %[[Z]]#3
  %watch = arith.addf %z#0, %z#3 : tensor<?x32xf32>
  // CHECK: arith.addf %[[Z]]#1, %[[Z]]#4
  %interact = arith.addf %z#1, %z#4 : tensor<?x32xf32>
  return %watch, %interact, %z#2 : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}

// One low-rank map of a feature gate, v * 2 sigmoid(v B A).

// CHECK-LABEL: func.func private @feature_gate
func.func private @feature_gate(%v: tensor<?x32xf32>, %B: tensor<32x8xf32>, %A: tensor<8x32xf32>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %v, %c0 : tensor<?x32xf32>
  %i8 = tensor.empty(%n) : tensor<?x8xf32>
  %i32 = tensor.empty(%n) : tensor<?x32xf32>
  %vb = moert.gemm ins(%v, %B : tensor<?x32xf32>, tensor<32x8xf32>) outs(%i8 : tensor<?x8xf32>) -> tensor<?x8xf32>
  %vba = moert.gemm ins(%vb, %A : tensor<?x8xf32>, tensor<8x32xf32>) outs(%i32 : tensor<?x32xf32>) -> tensor<?x32xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(t, j) -> (t, j)>, affine_map<(t, j) -> (t, j)>, affine_map<(t, j) -> (t, j)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%v, %vba : tensor<?x32xf32>, tensor<?x32xf32>) outs(%i32 : tensor<?x32xf32>) {
  ^bb0(%x: f32, %u: f32, %o: f32):
    %one = arith.constant 1.0 : f32
    %two = arith.constant 2.0 : f32
    %nu = arith.negf %u : f32
    %e = math.exp %nu : f32
    %e1 = arith.addf %one, %e : f32
    %x2 = arith.mulf %two, %x : f32
    %g = arith.divf %x2, %e1 : f32
    linalg.yield %g : f32
  } -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

func.func private @shared2(tensor<?x32xf32>) -> tensor<?x16xf32>
func.func private @watch2(tensor<?x32xf32>) -> tensor<?x16xf32>
func.func private @long_view(tensor<?x32xf32>) -> tensor<?x16xf32>

// Level 2, for the task "long view" of the category watch: one input per group.

// CHECK-LABEL: moe.pool @level2
// CHECK-NEXT:    moe.expert_fn @shared calls @shared2
// CHECK-NEXT:    moe.expert_fn @watch calls @watch2 input 1
// CHECK-NEXT:    moe.expert_fn @long_view calls @long_view input 2
moe.pool @level2 {
  moe.expert_fn @shared calls @shared2
  moe.expert_fn @watch calls @watch2 input 1
  moe.expert_fn @long_view calls @long_view input 2
}

// CHECK-LABEL: func.func @task
func.func @task(%watch: tensor<?x32xf32>, %shared: tensor<?x32xf32>, %both: tensor<?x64xf32>, %g: tensor<3x64xf32>, %s: tensor<1x64xf32>,
                %B: tensor<32x8xf32>, %A: tensor<8x32xf32>) -> tensor<?x16xf32> {
  %phi_shared = func.call @feature_gate(%shared, %B, %A) : (tensor<?x32xf32>, tensor<32x8xf32>, tensor<8x32xf32>) -> tensor<?x32xf32>
  %phi_watch = func.call @feature_gate(%watch, %B, %A) : (tensor<?x32xf32>, tensor<32x8xf32>, tensor<8x32xf32>) -> tensor<?x32xf32>
  %phi_task = func.call @feature_gate(%watch, %B, %A) : (tensor<?x32xf32>, tensor<32x8xf32>, tensor<8x32xf32>) -> tensor<?x32xf32>
  %z = moe.router linear %both weight(%g : tensor<3x64xf32>) : tensor<?x64xf32> -> tensor<?x3xf32>
  %zs = moe.router linear %both weight(%s : tensor<1x64xf32>) : tensor<?x64xf32> -> tensor<?x1xf32>
  %p = moe.gate softmax %z over @level2 dense : tensor<?x3xf32>
  %ps = moe.gate sigmoid %zs over @level2 subset [2] dense : tensor<?x1xf32>
  // CHECK: moe.apply @level2 %{{.*}}, %{{.*}}, %{{.*}} weights %{{.*}}, %{{.*}} subsets [array<i64: 0, 1, 2>, array<i64: 2>]
  %u:2 = moe.apply @level2 %phi_shared, %phi_watch, %phi_task weights %p, %ps
      subsets [array<i64: 0, 1, 2>, array<i64: 2>]
      : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x3xf32>, tensor<?x1xf32>)
      -> (tensor<?x16xf32>, tensor<?x16xf32>)
  %y = arith.addf %u#0, %u#1 : tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
