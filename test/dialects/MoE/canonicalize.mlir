// RUN: moe-opt %s --canonicalize --split-input-file | FileCheck %s

// softmax over all, renormalised over the selected, is softmax over the selected.

// CHECK-LABEL: func.func @renormalised_softmax
// CHECK: moe.gate softmax %{{.*}} top_k 2 select_first scale 2.000000e+00 : tensor<?x8xf32>
func.func @renormalised_softmax(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %0:2 = moe.gate softmax %z top_k 2 norm selected scale 2.0 : tensor<?x8xf32>
  return %0#0, %0#1 : tensor<?x2xi32>, tensor<?x2xf32>
}

// Slots that are emptied by their share leave the other weights alone.

// CHECK-LABEL: func.func @shares
// CHECK: moe.gate softmax %{{.*}} top_k 2 select_first skip_cumulative [6.000000e-01, 9.000000e-01] : tensor<?x8xf32>
func.func @shares(%z: tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
  %0:3 = moe.gate softmax %z top_k 2 norm selected skip_cumulative [0.6, 0.9] : tensor<?x8xf32>
  return %0#1, %0#2 : tensor<?x2xf32>, tensor<?x2xi32>
}

// A rule that skips nothing is no rule.

// CHECK-LABEL: func.func @skips_nothing
// CHECK: moe.gate sigmoid %{{.*}} top_k 2 norm selected : tensor<?x8xf32>
// CHECK: moe.gate none %{{.*}} top_k 2 skip_ratio 0.000000e+00 : tensor<?x8xf32>
func.func @skips_nothing(%z: tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %0:2 = moe.gate sigmoid %z top_k 2 norm selected skip_ratio 0.0 : tensor<?x8xf32>
  %1:2 = moe.gate none %z top_k 2 skip_ratio 0.0 : tensor<?x8xf32>
  return %0#1, %1#1 : tensor<?x2xf32>, tensor<?x2xf32>
}

// Near misses: raw weights, another score, a subset, an epsilon, a bias that
// is added to probabilities, slots that may be dropped.

// CHECK-LABEL: func.func @others
// CHECK-NOT: select_first
func.func @others(%z: tensor<?x8xf32>, %b: tensor<8xf32>)
    -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %0:2 = moe.gate softmax %z top_k 2 : tensor<?x8xf32>
  %1:2 = moe.gate sigmoid %z top_k 2 norm selected : tensor<?x8xf32>
  %2:2 = moe.gate softmax %z over @nulls top_k 2 norm real : tensor<?x8xf32>
  %3:2 = moe.gate softmax %z top_k 2 norm selected norm_epsilon 1.0 : tensor<?x8xf32>
  %4:2 = moe.gate softmax %z top_k 2 choice_bias(%b : tensor<8xf32>) norm selected : tensor<?x8xf32>
  %5:2 = moe.gate softmax %z top_k 2 norm selected skip_ratio 0.5 : tensor<?x8xf32>
  return %0#1, %1#1, %2#1, %3#1, %4#1, %5#1
      : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}
moe.pool @nulls {
  moe.null_expert @a zero
  moe.null_expert @b zero
  moe.null_expert @c zero
  moe.null_expert @d zero
  moe.null_expert @e zero
  moe.null_expert @f zero
  moe.null_expert @g zero
  moe.null_expert @h zero
}

// -----

// Nothing but zero experts gives zero; the gate dies with it.

// CHECK-LABEL: func.func @only_zero
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x8xf32>
// CHECK-DAG:     %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-DAG:     %[[ROWS:.*]] = tensor.dim %[[X]], %c0
// CHECK-NOT:     moe.
// CHECK:         %[[Y:.*]] = tensor.splat %[[ZERO]][%[[ROWS]]] : tensor<?x8xf32>
// CHECK-NEXT:    return %[[Y]]
func.func @only_zero(%x: tensor<?x8xf32>, %z: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %ids, %w = moe.gate softmax %z over @zeros top_k 1 : tensor<?x2xf32>
  %y = moe.apply @zeros %x ids %ids weights %w : (tensor<?x8xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// A gate that passes tokens on adds them even here.

// CHECK-LABEL: func.func @passing
// CHECK:         moe.apply
func.func @passing(%x: tensor<?x8xf32>, %z: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %ids, %w = moe.gate softmax %z over @zeros top_k 1 capacity 4 overflow pass : tensor<?x2xf32>
  %y = moe.apply @zeros %x ids %ids weights %w : (tensor<?x8xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
moe.pool @zeros {
  moe.null_expert @a zero
  moe.alias @b of @a
}

// -----

// An unused apply over matrices dies, one over functions stays: they may write.

// CHECK-LABEL: func.func @unused
// CHECK:         moe.apply @functions
// CHECK-NOT:     moe.apply @copies
func.func @unused(%x: tensor<?x8xf32>, %w: tensor<?x1xf32>) {
  %0 = moe.apply @functions %x weights %w : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  %1 = moe.apply @copies %x weights %w : (tensor<?x8xf32>, tensor<?x1xf32>) -> tensor<?x8xf32>
  return
}
func.func private @f(tensor<?x8xf32>) -> tensor<?x8xf32>
moe.pool @functions {
  moe.expert_fn @a calls @f
}
moe.pool @copies {
  moe.null_expert @a copy
}
