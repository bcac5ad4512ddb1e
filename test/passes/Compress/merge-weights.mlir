// REQUIRES: python-onnx
// RUN: %python %S/Inputs/profile.py %t.moeprof l0 4 2 counts=50,30,15,5
// RUN: moe-opt %s --profile=%t.moeprof --moe-merge-experts='keep=2 similarity=weights align=false' | FileCheck %s

// The most used experts lead, the others join the one that they are most like, and means are by use (Li et al. 2023, arXiv 2310.01334, section 3.2): of uses
// .3 and .05 the weights are .857143 and .142857.

// CHECK-DAG: moe.bank @ffn.e0.up recipe(#moe.mix<[#moe.slice<@up[0]>, #moe.slice<@up[2]>], [0.7692307692{{[0-9]*}}, 0.2307692307{{[0-9]*}}]>)
// CHECK-DAG: moe.bank @ffn.e1.up recipe(#moe.mix<[#moe.slice<@up[1]>, #moe.slice<@up[3]>], [0.857142857{{[0-9]*}}, 0.142857142{{[0-9]*}}]>)
// CHECK: moe.pool @ffn {
// CHECK-NEXT: moe.expert @e0
// CHECK-NEXT: moe.expert @e1
// CHECK-NEXT: moe.alias @e2 of @e0
// CHECK-NEXT: moe.alias @e3 of @e1
// The router keeps its columns.
// CHECK: moe.router linear {{.*}} -> tensor<?x4xf32>
moe.bank @up recipe(dense<[[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.1]], [[0.1, 1.0]]]> : tensor<4x1x2xf32>) : tensor<4x1x2xf32>
moe.bank @down recipe(dense<[[[1.0], [0.0]], [[0.0], [1.0]], [[1.0], [0.1]], [[0.1], [1.0]]]> : tensor<4x2x1xf32>) : tensor<4x2x1xf32>
moe.bank @router recipe(dense<1.0> : tensor<4x2xf32>) : tensor<4x2xf32>
moe.pool @ffn {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
  moe.expert @e2 ffn relu up @up[2] down @down[2]
  moe.expert @e3 ffn relu up @up[3] down @down[3]
}
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = moe.weight @router : tensor<4x2xf32>
  %z = moe.router linear %x weight(%w : tensor<4x2xf32>) : tensor<?x2xf32> -> tensor<?x4xf32>
  %i, %g = moe.gate softmax %z over @ffn top_k 1 layer "l0" : tensor<?x4xf32>
  %y = moe.apply @ffn %x ids %i weights %g layer "l0" : (tensor<?x2xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
