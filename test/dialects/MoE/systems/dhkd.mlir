// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// DHKD (arXiv 2411.08937; penghui-yang/DHKD): during training, a student has two heads on
// one feature: the main one learns from labels, an auxiliary one, here linear,
// takes the distillation loss. Only the main one is used afterwards: results
// of @main carry names and uses, and stripping a training head is removing a result.

moe.bank @router in "m" key "router" : tensor<2x64xf32>
moe.bank @w1 in "m" key "w1" : tensor<2x128x64xf32>
moe.bank @w2 in "m" key "w2" : tensor<2x64x128xf32>
moe.bank @head in "m" key "head" : tensor<10x64xf32>
moe.bank @aux_head in "m" key "aux_head" : tensor<10x64xf32>

moe.pool @student {
  moe.expert @e0 ffn relu up @w1[0] down @w2[0]
  moe.expert @e1 ffn relu up @w1[1] down @w2[1]
}

// CHECK-LABEL: func.func @main
// CHECK-SAME:    -> (tensor<?x10xf32> {moe.name = "logits"}, tensor<?x10xf32> {moe.name = "aux_logits", moe.use = "training"})
func.func @main(%x: tensor<?x64xf32>, %init: tensor<?x10xf32>)
    -> (tensor<?x10xf32> {moe.name = "logits"}, tensor<?x10xf32> {moe.name = "aux_logits", moe.use = "training"}) {
  %w = moe.weight @router : tensor<2x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<2x64xf32>) : tensor<?x64xf32> -> tensor<?x2xf32>
  %ids, %weights = moe.gate softmax %logits over @student top_k 1 : tensor<?x2xf32>
  // CHECK: %[[F:.*]] = moe.apply @student
  %f = moe.apply @student %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x64xf32>
  %h = moe.weight @head : tensor<10x64xf32>
  // CHECK: %[[S:.*]] = moert.gemm ins(%[[F]],
  %s = moert.gemm ins(%f, %h : tensor<?x64xf32>, tensor<10x64xf32>) outs(%init : tensor<?x10xf32>) {transpose_weight} -> tensor<?x10xf32>
  %a = moe.weight @aux_head : tensor<10x64xf32>
  // CHECK: %[[A:.*]] = moert.gemm ins(%[[F]],
  %t = moert.gemm ins(%f, %a : tensor<?x64xf32>, tensor<10x64xf32>) outs(%init : tensor<?x10xf32>) {transpose_weight} -> tensor<?x10xf32>
  // CHECK: return %[[S]], %[[A]]
  return %s, %t : tensor<?x10xf32>, tensor<?x10xf32>
}
