// REQUIRES: python-onnx
// RUN: %python %S/Inputs/profile.py %t.moeprof l0 4 4
// RUN: moe-opt %s --moe-prune-experts='keep=2 score=magnitude' | FileCheck %s
// RUN: moe-opt %s --moe-prune-experts='keep=2 score=magnitude semantics=null' | FileCheck %s --check-prefix=ZERO
// RUN: moe-opt %s --profile=%t.moeprof --moe-prune-experts='keep=2 score=frequency' | FileCheck %s --check-prefix=USE
// RUN: moe-opt %s --profile=%t.moeprof --moe-prune-experts='ratio=0.75 score=probability' | FileCheck %s --check-prefix=PROBABILITY
// RUN: moe-opt %s --profile=%t.moeprof --moe-prune-experts='keep=3 score=saliency' | FileCheck %s --check-prefix=SALIENCY
// RUN: moe-opt %s --moe-prune-experts='keep=4 score=magnitude' | FileCheck %s --check-prefix=ALL
// RUN: moe-opt %s --moe-prune-experts='keep=2 score=magnitude' --remarks-filter=moe-compress --remark-format=emitRemark 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// Norms of the experts' weights: 2, 0, 8, 4 times the same.
moe.bank @up recipe(dense<[[[2.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]], [[0.0, 8.0, 0.0, 0.0]], [[0.0, 0.0, 4.0, 0.0]]]> : tensor<4x1x4xf32>) : tensor<4x1x4xf32>
moe.bank @down recipe(dense<[[[1.0], [0.0], [0.0], [0.0]], [[0.0], [0.0], [0.0], [0.0]], [[0.0], [1.0], [0.0], [0.0]], [[0.0], [0.0], [1.0], [0.0]]]> : tensor<4x4x1xf32>) : tensor<4x4x1xf32>
moe.bank @router recipe(dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]> : tensor<4x4xf32>) : tensor<4x4xf32>

// Removed: the entries and the router's columns are gone, tokens choose again. The column order stays.
// CHECK: moe.bank @router.kept recipe(#moe.permute<#moe.slice<@router>, dim = 0, order = [2, 3]>) : tensor<2x4xf32>
// CHECK: moe.pool @ffn attributes
// CHECK-NEXT: moe.expert @e2 ffn relu up @up[2] down @down[2]
// CHECK-NEXT: moe.expert @e3
// CHECK-NEXT: }
// CHECK: %[[W:.*]] = moe.weight @router.kept : tensor<2x4xf32>
// CHECK: moe.router linear %{{.*}} weight(%[[W]] : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
// CHECK: moe.gate softmax {{.*}} top_k 2 norm selected

// Null semantics: the columns stay, what chooses them gets nothing.
// ZERO-NOT: moe.bank @router.kept
// ZERO: moe.pool @ffn {
// ZERO-NEXT: moe.null_expert @e0 zero
// ZERO-NEXT: moe.null_expert @e1 zero
// ZERO-NEXT: moe.expert @e2
// ZERO-NEXT: moe.expert @e3
// ZERO-NEXT: }
// ZERO: moe.router linear {{.*}} -> tensor<?x4xf32>

// The profile has seen lower numbers more often, but gives higher ones more probability.
// USE: moe.pool @ffn attributes
// USE-NEXT: moe.expert @e0
// USE-NEXT: moe.expert @e1
// USE-NEXT: }

// One is left, so one is chosen.
// PROBABILITY: moe.pool @ffn attributes
// PROBABILITY-NEXT: moe.expert @e3
// PROBABILITY-NEXT: }
// PROBABILITY: top_k 1 norm selected

// An expert whose output is always zero has no saliency.
// SALIENCY: moe.pool @ffn attributes
// SALIENCY-NOT: moe.expert @e1
// SALIENCY: }

// ALL: moe.pool @ffn {
// ALL-NEXT: moe.expert @e0
// ALL-NEXT: moe.expert @e1
// ALL-NEXT: moe.expert @e2
// ALL-NEXT: moe.expert @e3
// ALL-NEXT: }
// REMARK: remark: [Passed] prune | Category:moe-compress | Remark="dropped e0, e1 of l0", kept=2
moe.pool @ffn {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
  moe.expert @e2 ffn relu up @up[2] down @down[2]
  moe.expert @e3 ffn relu up @up[3] down @down[3]
}

func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = moe.weight @router : tensor<4x4xf32>
  %z = moe.router linear %x weight(%w : tensor<4x4xf32>) : tensor<?x4xf32> -> tensor<?x4xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 2 norm selected layer "l0" : tensor<?x4xf32>
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0"
      : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
