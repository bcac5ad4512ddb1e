// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// NAEE (arXiv 2402.14800; Lucky-Lance/Expert_Sparsity). Expert pruning: experts are removed together with
// their router rows (REMOVE: the rest decides anew), here 2 and 5 of Mixtral's
// eight. Dynamic skipping: the second expert is skipped where its probability is
// below beta times the first, beta a constant of the layer, and the kept one
// is renormalised.

moe.bank @router_all in "m" key "router" : tensor<8x64xf32>
// CHECK: moe.bank @router recipe(#moe.permute<#moe.slice<@router_all>, dim = 0, order = [0, 1, 3, 4, 6, 7]>) : tensor<6x64xf32>
moe.bank @router recipe(#moe.permute<#moe.slice<@router_all>, dim = 0, order = [0, 1, 3, 4, 6, 7]>) : tensor<6x64xf32>
moe.bank @gate in "m" key "w1" : tensor<8x128x64xbf16>
moe.bank @up in "m" key "w3" : tensor<8x128x64xbf16>
moe.bank @down in "m" key "w2" : tensor<8x64x128xbf16>

// CHECK-LABEL: moe.pool @ffn0
// CHECK-NOT:     @e2
// CHECK-NOT:     @e5
// CHECK:       func.func
moe.pool @ffn0 {
  moe.expert @e0 glu silu gate @gate[0] up @up[0] down @down[0]
  moe.expert @e1 glu silu gate @gate[1] up @up[1] down @down[1]
  moe.expert @e3 glu silu gate @gate[3] up @up[3] down @down[3]
  moe.expert @e4 glu silu gate @gate[4] up @up[4] down @down[4]
  moe.expert @e6 glu silu gate @gate[6] up @up[6] down @down[6]
  moe.expert @e7 glu silu gate @gate[7] up @up[7] down @down[7]
}

func.func @layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<6x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<6x64xf32>) : tensor<?x64xf32> -> tensor<?x6xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 norm selected skip_ratio 5.000000e-01 : tensor<?x6xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 norm selected skip_ratio 0.5 : tensor<?x6xf32>
  // CHECK: moe.apply @ffn0
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
