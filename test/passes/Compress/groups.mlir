// RUN: moe-opt %s --moe-prune-experts='keep=4 score=magnitude layers=0' | FileCheck %s
// RUN: not moe-opt %s --moe-prune-experts='keep=5 score=magnitude layers=0' 2>&1 | FileCheck %s --check-prefix=FIVE
// RUN: not moe-opt %s --moe-prune-experts='keep=4 score=magnitude layers=1' 2>&1 | FileCheck %s --check-prefix=UNEVEN
// RUN: moe-opt %s --moe-prune-experts='keep=4 score=magnitude layers=1 semantics=null' | FileCheck %s --check-prefix=ZERO
// RUN: not moe-opt %s --moe-merge-experts='method=dek similarity=weights keep=4 layers=1 align=false' 2>&1 | FileCheck %s --check-prefix=UNEVEN
// RUN: not moe-opt %s --moe-prune-experts='keep=2 score=magnitude layers=0' 2>&1 | FileCheck %s --check-prefix=FEW
// RUN: not moe-opt %s --moe-add-null-experts='count=1 layers=0' 2>&1 | FileCheck %s --check-prefix=ADD
// RUN: not moe-opt %s --moe-prune-experts='keep=4 score=magnitude' --remarks-filter=moe-compress --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=UNEVEN --implicit-check-not=dropped
// RUN: moe-opt %s --moe-reduce-top-k='k=2 layers=0' | FileCheck %s --check-prefix=TOP

// Gates that choose groups first, then experts of the best: groups lie side by side and stay equally large.

// The weakest of the first layer are one of each group.
// CHECK: moe.pool @even attributes
// CHECK-NEXT: moe.expert @e0
// CHECK-NEXT: moe.expert @e1
// CHECK-NEXT: moe.expert @e3
// CHECK-NEXT: moe.expert @e4
// CHECK-NEXT: }
// CHECK: moe.gate sigmoid %{{.*}} over @even top_k 2 groups 2 top_groups 1 : tensor<?x4xf32>
// FIVE: error: layer 'layer 0': its gate has 2 groups of experts, which must stay equally large
// UNEVEN: error: layer 'layer 1': its gate has 2 groups of experts, which must stay equally large
// ZERO: moe.pool @uneven {
// ZERO: moe.null_expert @e1 zero
// ZERO-NEXT: moe.null_expert @e2 zero
// ZERO: moe.gate sigmoid %{{.*}} over @uneven top_k 2 groups 2 top_groups 1 : tensor<?x6xf32>
// FEW: error: layer 'layer 0': its gate chooses 2 experts of 1 of 2 groups, which hold 1 then
// ADD: error: layer 'layer 0': its gate knows groups, pairs or a number of experts at run
// TOP: moe.gate sigmoid %{{.*}} over @even top_k 2 groups 2 top_groups 1

moe.bank @up recipe(dense<[[[8.0, 1.0]], [[7.0, 1.0]], [[1.0, 1.0]], [[9.0, 1.0]], [[6.0, 1.0]], [[2.0, 1.0]]]> : tensor<6x1x2xf32>) : tensor<6x1x2xf32>
moe.bank @mixed recipe(dense<[[[8.0, 1.0]], [[1.0, 1.0]], [[2.0, 1.0]], [[9.0, 1.0]], [[6.0, 1.0]], [[7.0, 1.0]]]> : tensor<6x1x2xf32>) : tensor<6x1x2xf32>
moe.bank @down recipe(dense<1.0> : tensor<6x2x1xf32>) : tensor<6x2x1xf32>
moe.bank @router recipe(dense<1.0> : tensor<6x2xf32>) : tensor<6x2xf32>
moe.pool @even {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
  moe.expert @e2 ffn relu up @up[2] down @down[2]
  moe.expert @e3 ffn relu up @up[3] down @down[3]
  moe.expert @e4 ffn relu up @up[4] down @down[4]
  moe.expert @e5 ffn relu up @up[5] down @down[5]
}
moe.pool @uneven {
  moe.expert @e0 ffn relu up @mixed[0] down @down[0]
  moe.expert @e1 ffn relu up @mixed[1] down @down[1]
  moe.expert @e2 ffn relu up @mixed[2] down @down[2]
  moe.expert @e3 ffn relu up @mixed[3] down @down[3]
  moe.expert @e4 ffn relu up @mixed[4] down @down[4]
  moe.expert @e5 ffn relu up @mixed[5] down @down[5]
}
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = moe.weight @router : tensor<6x2xf32>
  %z0 = moe.router linear %x weight(%w : tensor<6x2xf32>) : tensor<?x2xf32> -> tensor<?x6xf32>
  %i0, %g0 = moe.gate sigmoid %z0 over @even top_k 2 groups 2 top_groups 1 : tensor<?x6xf32>
  %y = moe.apply @even %x ids %i0 weights %g0 : (tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %z1 = moe.router linear %y weight(%w : tensor<6x2xf32>) : tensor<?x2xf32> -> tensor<?x6xf32>
  %i1, %g1 = moe.gate sigmoid %z1 over @uneven top_k 2 groups 2 top_groups 1 : tensor<?x6xf32>
  %u = moe.apply @uneven %y ids %i1 weights %g1 : (tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  return %u : tensor<?x2xf32>
}
