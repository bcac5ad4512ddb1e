// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

moe.pool @ffn0 {
  moe.null_expert @e0 zero
  moe.null_expert @e1 copy
  moe.null_expert @e2 zero
  moe.null_expert @e3 zero
  moe.null_expert @e4 zero
  moe.null_expert @e5 zero
  moe.null_expert @e6 zero
  moe.null_expert @e7 zero
}

// CHECK-LABEL: func.func @forms
func.func @forms(%logits: tensor<?x8xf32>, %p: tensor<?x8xf32>, %b: tensor<8xf32>, %k: index, %l3: tensor<?x3xf32>) {
  // G2: Mixtral, Qwen3-MoE.
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 norm selected : tensor<?x8xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 norm selected : tensor<?x8xf32>
  // G1: Switch.
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 1 : tensor<?x8xf32>
  %1:2 = moe.gate softmax %logits over @ffn0 top_k 1 : tensor<?x8xf32>
  // G3 with k at run time.
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 8 dynamic %{{.*}} select_first : tensor<?x8xf32>
  %2:2 = moe.gate softmax %logits over @ffn0 top_k 8 dynamic %k select_first : tensor<?x8xf32>
  // G4: over real experts only, over all but zero.
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 4 norm real
  %3:2 = moe.gate softmax %logits over @ffn0 top_k 4 norm real : tensor<?x8xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 norm nonzero norm_epsilon 9.99{{9*}}
  %4:2 = moe.gate softmax %logits over @ffn0 top_k 2 norm nonzero norm_epsilon 1.0e-6 : tensor<?x8xf32>
  // G5, G6: dense, with and without a choice; one result.
  // CHECK: moe.gate softmax %{{.*}} dense top_k 2 : tensor<?x8xf32>
  %5 = moe.gate softmax %logits dense top_k 2 : tensor<?x8xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 subset [1, 0, 5] dense : tensor<?x3xf32>
  %6 = moe.gate softmax %l3 over @ffn0 subset [1, 0, 5] dense : tensor<?x3xf32>
  // DeepSeek-V3.
  // CHECK: moe.gate sigmoid %{{.*}} over @ffn0 top_k 3 choice_bias(%{{.*}} : tensor<8xf32>) groups 4 top_groups 2 group_score top2 group_mask minus_infinity norm selected norm_epsilon 9.99{{9*}}5E-21 scale 2.500000e+00
  %7:2 = moe.gate sigmoid %logits over @ffn0 top_k 3 choice_bias(%b : tensor<8xf32>) groups 4 top_groups 2
      group_score top2 group_mask minus_infinity norm selected norm_epsilon 1.0e-20 scale 2.5 : tensor<?x8xf32>
  // PhiMoE; weights from elsewhere; compatibility of ties.
  // CHECK: moe.gate none %{{.*}} over @ffn0 top_k 2 sparse_mixer 2.000000e-02
  %8:2 = moe.gate none %logits over @ffn0 top_k 2 sparse_mixer 0.02 : tensor<?x8xf32>
  // CHECK: moe.gate none %{{.*}} over @ffn0 top_k 2 values(%{{.*}} : tensor<?x8xf32>) ties_high layer "layers.0.moe"
  %9:2 = moe.gate none %logits over @ffn0 top_k 2 values(%p : tensor<?x8xf32>) ties_high layer "layers.0.moe" : tensor<?x8xf32>
  // NAEE; HOBBIT with a third result.
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 norm selected skip_ratio 5.000000e-01
  %10:2 = moe.gate softmax %logits over @ffn0 top_k 2 norm selected skip_ratio 0.5 : tensor<?x8xf32>
  // CHECK: %{{.*}}:3 = moe.gate softmax %{{.*}} over @ffn0 top_k 2 norm selected skip_cumulative [6.000000e-01, 9.000000e-01]
  %11:3 = moe.gate softmax %logits over @ffn0 top_k 2 norm selected skip_cumulative [0.6, 0.9] : tensor<?x8xf32>
  // Capacity.
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 capacity 64 overflow pass order slot
  %12:2 = moe.gate softmax %logits over @ffn0 top_k 2 capacity 64 overflow pass order slot : tensor<?x8xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 capacity_factor 1.100000e+00 capacity_tau 7.500000e-01 rounding floor overflow next order score granularity sequence
  %13:2 = moe.gate softmax %logits over @ffn0 top_k 2 capacity_factor 1.1 capacity_tau 0.75 rounding floor
      overflow next order score granularity sequence : tensor<?x8xf32>
  return
}
