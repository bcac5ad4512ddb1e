// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// SMoE-Dropout (arXiv 2303.01610; VITA-Group/Random-MoE-as-Dropout): a dense FFN of width 8192 becomes 16
// experts of 512 with biases; the router (with bias) is random, frozen, and so
// only a seed; top k of the logits, then softmax over the k. k is an argument of
// the model, so that one binary runs at any k ("self-slimmable").

moe.bank @w1 in "m" key "w1" : tensor<16x512x256xf32>
moe.bank @b1 in "m" key "b1" : tensor<16x512xf32>
moe.bank @w2 in "m" key "w2" : tensor<16x256x512xf32>
moe.bank @b2 in "m" key "b2" : tensor<16x256xf32>

// CHECK-LABEL: moe.pool @ffn0
// CHECK-COUNT-16: moe.expert @{{.*}} ffn relu up @w1[{{[0-9]+}}] up_bias @b1[{{[0-9]+}}] down @w2[{{[0-9]+}}] down_bias @b2[{{[0-9]+}}]
moe.pool @ffn0 {
  moe.expert @e0 ffn relu up @w1[0] up_bias @b1[0] down @w2[0] down_bias @b2[0]
  moe.expert @e1 ffn relu up @w1[1] up_bias @b1[1] down @w2[1] down_bias @b2[1]
  moe.expert @e2 ffn relu up @w1[2] up_bias @b1[2] down @w2[2] down_bias @b2[2]
  moe.expert @e3 ffn relu up @w1[3] up_bias @b1[3] down @w2[3] down_bias @b2[3]
  moe.expert @e4 ffn relu up @w1[4] up_bias @b1[4] down @w2[4] down_bias @b2[4]
  moe.expert @e5 ffn relu up @w1[5] up_bias @b1[5] down @w2[5] down_bias @b2[5]
  moe.expert @e6 ffn relu up @w1[6] up_bias @b1[6] down @w2[6] down_bias @b2[6]
  moe.expert @e7 ffn relu up @w1[7] up_bias @b1[7] down @w2[7] down_bias @b2[7]
  moe.expert @e8 ffn relu up @w1[8] up_bias @b1[8] down @w2[8] down_bias @b2[8]
  moe.expert @e9 ffn relu up @w1[9] up_bias @b1[9] down @w2[9] down_bias @b2[9]
  moe.expert @e10 ffn relu up @w1[10] up_bias @b1[10] down @w2[10] down_bias @b2[10]
  moe.expert @e11 ffn relu up @w1[11] up_bias @b1[11] down @w2[11] down_bias @b2[11]
  moe.expert @e12 ffn relu up @w1[12] up_bias @b1[12] down @w2[12] down_bias @b2[12]
  moe.expert @e13 ffn relu up @w1[13] up_bias @b1[13] down @w2[13] down_bias @b2[13]
  moe.expert @e14 ffn relu up @w1[14] up_bias @b1[14] down @w2[14] down_bias @b2[14]
  moe.expert @e15 ffn relu up @w1[15] up_bias @b1[15] down @w2[15] down_bias @b2[15]
}

// CHECK-LABEL: func.func @main
func.func @main(%x: tensor<?x256xf32>, %experts_per_token: tensor<i64> {moe.name = "experts_per_token"}) -> tensor<?x256xf32> {
  // CHECK: moe.router linear %{{.*}} seed 42 : tensor<?x256xf32> -> tensor<?x16xf32>
  %logits = moe.router linear %x seed 42 : tensor<?x256xf32> -> tensor<?x16xf32>
  %e = tensor.extract %experts_per_token[] : tensor<i64>
  // CHECK: %[[K:.*]] = arith.index_cast
  %k = arith.index_cast %e : i64 to index
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 16 dynamic %[[K]] select_first : tensor<?x16xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 16 dynamic %k select_first : tensor<?x16xf32>
  // CHECK: moe.apply @ffn0
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x256xf32>, tensor<?x16xi32>, tensor<?x16xf32>) -> tensor<?x256xf32>
  return %y : tensor<?x256xf32>
}
