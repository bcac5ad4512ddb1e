// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// M-SMoE and MC-SMoE (arXiv 2310.01334; UNITES-Lab/MC-SMoE) on a Switch layer
// (top 1, raw softmax, two layers without bias, ReLU): eight experts in two
// groups. Merge: hidden units are aligned to expert 0 by a permutation, then averaged by
// usage; the router keeps its eight columns, and merged experts become
// aliases. Compress: every merged matrix is U V of low rank plus some full
// output rows of the rest.

moe.bank @router in "m" key "router" : tensor<8x64xf32>
moe.bank @wi in "m" key "wi" : tensor<8x6x64xf32>
moe.bank @wo in "m" key "wo" : tensor<8x64x6xf32>

// Group {0, 3}: usages 0.3 and 0.05; expert 3's units in the order of expert 0's.
// CHECK: moe.bank @wi_a recipe(#moe.mix<[#moe.slice<@wi[0]>, #moe.permute<#moe.slice<@wi[3]>, dim = 0, order = [2, 0, 1, 5, 4, 3]>], [0.85714{{[0-9]*}}, 1.428570e-01]>) : tensor<6x64xf32>
moe.bank @wi_a recipe(#moe.mix<[#moe.slice<@wi[0]>,
    #moe.permute<#moe.slice<@wi[3]>, dim = 0, order = [2, 0, 1, 5, 4, 3]>], [0.857143, 0.142857]>) : tensor<6x64xf32>
// CHECK: moe.bank @wo_a recipe(#moe.mix<[#moe.slice<@wo[0]>, #moe.permute<#moe.slice<@wo[3]>, dim = 1, order = [2, 0, 1, 5, 4, 3]>], [0.85714{{[0-9]*}}, 1.428570e-01]>) : tensor<64x6xf32>
moe.bank @wo_a recipe(#moe.mix<[#moe.slice<@wo[0]>,
    #moe.permute<#moe.slice<@wo[3]>, dim = 1, order = [2, 0, 1, 5, 4, 3]>], [0.857143, 0.142857]>) : tensor<64x6xf32>

// The same layer with only merging done.

// CHECK-LABEL: moe.pool @merged
// CHECK-NEXT:    moe.expert @e0 ffn relu up @wi_a down @wo_a
// CHECK-NEXT:    moe.expert @e1
// CHECK-NEXT:    moe.alias @e2 of @e1
// CHECK-NEXT:    moe.alias @e3 of @e0
moe.pool @merged {
  moe.expert @e0 ffn relu up @wi_a down @wo_a
  moe.expert @e1 ffn relu up @wi[1] down @wo[1]
  moe.alias @e2 of @e1
  moe.alias @e3 of @e0
  moe.alias @e4 of @e1
  moe.alias @e5 of @e1
  moe.alias @e6 of @e0
  moe.alias @e7 of @e1
}

// CHECK: moe.bank @wi_a_u recipe(#moe.low_rank<#moe.slice<@wi_a>, rank = 2, factor = "left">) : tensor<6x2xf32>
moe.bank @wi_a_u recipe(#moe.low_rank<#moe.slice<@wi_a>, rank = 2, factor = "left">) : tensor<6x2xf32>
moe.bank @wi_a_v recipe(#moe.low_rank<#moe.slice<@wi_a>, rank = 2, factor = "right">) : tensor<2x64xf32>
// The two rows of the rest that survive.
// CHECK: moe.bank @wi_a_s recipe(#moe.permute<#moe.low_rank<#moe.slice<@wi_a>, rank = 2, factor = "rest">, dim = 0, order = [1, 4]>) : tensor<2x64xf32>
moe.bank @wi_a_s recipe(#moe.permute<#moe.low_rank<#moe.slice<@wi_a>, rank = 2, factor = "rest">, dim = 0, order = [1, 4]>) : tensor<2x64xf32>
moe.bank @wi_a_rows recipe(dense<[1, 4]> : tensor<2xi32>) : tensor<2xi32>
moe.bank @wo_a_u recipe(#moe.low_rank<#moe.slice<@wo_a>, rank = 2, factor = "left">) : tensor<64x2xf32>
moe.bank @wo_a_v recipe(#moe.low_rank<#moe.slice<@wo_a>, rank = 2, factor = "right">) : tensor<2x6xf32>
moe.bank @wo_a_s recipe(#moe.permute<#moe.low_rank<#moe.slice<@wo_a>, rank = 2, factor = "rest">, dim = 0, order = [7, 40, 63]>) : tensor<3x6xf32>
moe.bank @wo_a_rows recipe(dense<[7, 40, 63]> : tensor<3xi32>) : tensor<3xi32>

// CHECK-LABEL: moe.pool @ffn1
// CHECK-NEXT:    moe.expert @e0 ffn relu up factored<left = <@wi_a_u>, right = <@wi_a_v>, rows = <@wi_a_s>, row_ids = <@wi_a_rows>> down factored<left = <@wo_a_u>, right = <@wo_a_v>, rows = <@wo_a_s>, row_ids = <@wo_a_rows>>
moe.pool @ffn1 {
  moe.expert @e0 ffn relu
      up factored<left = <@wi_a_u>, right = <@wi_a_v>, rows = <@wi_a_s>, row_ids = <@wi_a_rows>>
      down factored<left = <@wo_a_u>, right = <@wo_a_v>, rows = <@wo_a_s>, row_ids = <@wo_a_rows>>
  moe.expert @e1 ffn relu up @wi[1] down @wo[1]
  moe.alias @e2 of @e1
  moe.alias @e3 of @e0
  moe.alias @e4 of @e1
  moe.alias @e5 of @e1
  moe.alias @e6 of @e0
  moe.alias @e7 of @e1
}

func.func @layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<8x64xf32>
  // CHECK: moe.router linear %{{.*}} -> tensor<?x8xf32>
  %logits = moe.router linear %x weight(%w : tensor<8x64xf32>) : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn1 top_k 1 : tensor<?x8xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn1 top_k 1 : tensor<?x8xf32>
  %y = moe.apply @ffn1 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
