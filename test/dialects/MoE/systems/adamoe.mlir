// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// AdaMoE (arXiv 2406.13233; CengZihao/AdaMoE): Mixtral's 8 experts and 16 null experts
// in one softmax, top 4; weights are renormalised over the true experts among
// the four, and a token that picks none of them gives zero. A null expert is a
// router row and nothing else.

moe.bank @router in "m" key "router" : tensor<24x64xf32>
moe.bank @gate in "m" key "w1" : tensor<8x128x64xbf16>
moe.bank @up in "m" key "w3" : tensor<8x128x64xbf16>
moe.bank @down in "m" key "w2" : tensor<8x64x128xbf16>

// CHECK-LABEL: moe.pool @ffn0
// CHECK-COUNT-8: moe.expert
// CHECK-COUNT-16: moe.null_expert @{{.*}} zero
// CHECK-NEXT:    }
moe.pool @ffn0 {
  moe.expert @e0 glu silu gate @gate[0] up @up[0] down @down[0]
  moe.expert @e1 glu silu gate @gate[1] up @up[1] down @down[1]
  moe.expert @e2 glu silu gate @gate[2] up @up[2] down @down[2]
  moe.expert @e3 glu silu gate @gate[3] up @up[3] down @down[3]
  moe.expert @e4 glu silu gate @gate[4] up @up[4] down @down[4]
  moe.expert @e5 glu silu gate @gate[5] up @up[5] down @down[5]
  moe.expert @e6 glu silu gate @gate[6] up @up[6] down @down[6]
  moe.expert @e7 glu silu gate @gate[7] up @up[7] down @down[7]
  moe.null_expert @n0 zero
  moe.null_expert @n1 zero
  moe.null_expert @n2 zero
  moe.null_expert @n3 zero
  moe.null_expert @n4 zero
  moe.null_expert @n5 zero
  moe.null_expert @n6 zero
  moe.null_expert @n7 zero
  moe.null_expert @n8 zero
  moe.null_expert @n9 zero
  moe.null_expert @n10 zero
  moe.null_expert @n11 zero
  moe.null_expert @n12 zero
  moe.null_expert @n13 zero
  moe.null_expert @n14 zero
  moe.null_expert @n15 zero
}

func.func @layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<24x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<24x64xf32>) : tensor<?x64xf32> -> tensor<?x24xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 4 norm real : tensor<?x24xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 4 norm real : tensor<?x24xf32>
  // CHECK: moe.apply @ffn0
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x4xi32>, tensor<?x4xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
