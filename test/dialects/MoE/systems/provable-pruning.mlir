// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// A provably effective method for pruning experts (arXiv 2405.16646;
// nowazrabbani/MoE_Pruning) on V-MoE (arXiv 2106.05974): softmax over 8 experts, top 2, raw
// probabilities, capacity 1.5 with all first choices served before second ones;
// two layers with bias and GELU. The pruned experts keep their router columns and
// give nothing (NULL: their weight is not redistributed).

moe.bank @router in "m" key "router" : tensor<8x64xf32>
moe.bank @w1 in "m" key "w1" : tensor<8x256x64xf32>
moe.bank @b1 in "m" key "b1" : tensor<8x256xf32>
moe.bank @w2 in "m" key "w2" : tensor<8x64x256xf32>
moe.bank @b2 in "m" key "b2" : tensor<8x64xf32>

// CHECK-LABEL: moe.pool @ffn1
// CHECK-NEXT:    moe.expert @e0 ffn gelu up @w1[0] up_bias @b1[0] down @w2[0] down_bias @b2[0]
// CHECK-NEXT:    moe.null_expert @e1 zero
// CHECK-NEXT:    moe.null_expert @e2 zero
// CHECK-NEXT:    moe.expert @e3
moe.pool @ffn1 {
  moe.expert @e0 ffn gelu up @w1[0] up_bias @b1[0] down @w2[0] down_bias @b2[0]
  moe.null_expert @e1 zero
  moe.null_expert @e2 zero
  moe.expert @e3 ffn gelu up @w1[3] up_bias @b1[3] down @w2[3] down_bias @b2[3]
  moe.null_expert @e4 zero
  moe.null_expert @e5 zero
  moe.null_expert @e6 zero
  moe.null_expert @e7 zero
}

func.func @layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<8x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<8x64xf32>) : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn1 top_k 2 capacity_factor 1.500000e+00 order slot : tensor<?x8xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn1 top_k 2 capacity_factor 1.5 order slot : tensor<?x8xf32>
  %y = moe.apply @ffn1 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
