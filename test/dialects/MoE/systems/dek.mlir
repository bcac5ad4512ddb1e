// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// DEK (arXiv 2407.09590), its second stage: similar experts are grouped, and every group
// is merged in weight space together with its router rows (MERGE-ROW: one row,
// one expert per group). Groups {0, 2}, {1}, {3} of four, uniform weights. The
// bias + ln |c| that keeps a group's share of the softmax is our option.

moe.bank @router_all in "m" key "router" : tensor<4x64xf32>
moe.bank @gate_all in "m" key "gate" : tensor<4x128x64xf32>
moe.bank @up_all in "m" key "up" : tensor<4x128x64xf32>
moe.bank @down_all in "m" key "down" : tensor<4x64x128xf32>

// CHECK: moe.bank @router recipe(#moe.stack<[#moe.mix<[#moe.slice<@router_all[0]>, #moe.slice<@router_all[2]>], [5.000000e-01, 5.000000e-01]>, #moe.slice<@router_all[1]>, #moe.slice<@router_all[3]>]>) : tensor<3x64xf32>
moe.bank @router recipe(#moe.stack<[#moe.mix<[#moe.slice<@router_all[0]>, #moe.slice<@router_all[2]>], [0.5, 0.5]>,
    #moe.slice<@router_all[1]>, #moe.slice<@router_all[3]>]>) : tensor<3x64xf32>
moe.bank @router_bias recipe(dense<[0.693147182, 0.0, 0.0]> : tensor<3xf32>) : tensor<3xf32>
// CHECK: moe.bank @gate0 recipe(#moe.mix<
moe.bank @gate0 recipe(#moe.mix<[#moe.slice<@gate_all[0]>, #moe.slice<@gate_all[2]>], [0.5, 0.5]>) : tensor<128x64xf32>
moe.bank @up0 recipe(#moe.mix<[#moe.slice<@up_all[0]>, #moe.slice<@up_all[2]>], [0.5, 0.5]>) : tensor<128x64xf32>
moe.bank @down0 recipe(#moe.mix<[#moe.slice<@down_all[0]>, #moe.slice<@down_all[2]>], [0.5, 0.5]>) : tensor<64x128xf32>

// CHECK-LABEL: moe.pool @ffn0
// CHECK-NEXT:    moe.expert @e0 glu silu gate @gate0 up @up0 down @down0
// CHECK-NEXT:    moe.expert @e1 glu silu gate @gate_all[1]
// CHECK-NEXT:    moe.expert @e3 glu silu gate @gate_all[3]
// CHECK-NEXT:  }
moe.pool @ffn0 {
  moe.expert @e0 glu silu gate @gate0 up @up0 down @down0
  moe.expert @e1 glu silu gate @gate_all[1] up @up_all[1] down @down_all[1]
  moe.expert @e3 glu silu gate @gate_all[3] up @up_all[3] down @down_all[3]
}

func.func @layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<3x64xf32>
  %b = moe.weight @router_bias : tensor<3xf32>
  // CHECK: moe.router linear %{{.*}} weight(%{{.*}} : tensor<3x64xf32>) bias(%{{.*}} : tensor<3xf32>)
  %logits = moe.router linear %x weight(%w : tensor<3x64xf32>) bias(%b : tensor<3xf32>) : tensor<?x64xf32> -> tensor<?x3xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 norm selected
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 norm selected : tensor<?x3xf32>
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
