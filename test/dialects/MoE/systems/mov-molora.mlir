// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// MoV and MoLoRA (arXiv 2309.05444; for-ai/parameter-efficient-moe): a dense router without bias over
// small adapters. MoV scales a hidden vector by the mixture of vectors; MoLoRA
// adds the mixture of low-rank maps, alpha / r = 4, to a frozen matrix.

moe.bank @router in "m" key "router" : tensor<4x64xf32>
moe.bank @vectors in "m" key "l" : tensor<4x64xf32>
moe.bank @a in "m" key "lora_a" : tensor<4x4x64xf32>
moe.bank @b in "m" key "lora_b" : tensor<4x64x4xf32>
moe.bank @w0 in "m" key "w0" : tensor<64x64xf32>

// CHECK-LABEL: moe.pool @mov
// CHECK-COUNT-4: moe.expert @{{.*}} scale up @vectors[{{[0-3]}}]
moe.pool @mov {
  moe.expert @l0 scale up @vectors[0]
  moe.expert @l1 scale up @vectors[1]
  moe.expert @l2 scale up @vectors[2]
  moe.expert @l3 scale up @vectors[3]
}

// CHECK-LABEL: moe.pool @molora
// CHECK-COUNT-4: moe.expert @{{.*}} linear up factored<left = <@b[{{[0-3]}}]>, right = <@a[{{[0-3]}}]>, scale = 4.000000e+00 : f64>
moe.pool @molora {
  moe.expert @e0 linear up factored<left = <@b[0]>, right = <@a[0]>, scale = 4.0>
  moe.expert @e1 linear up factored<left = <@b[1]>, right = <@a[1]>, scale = 4.0>
  moe.expert @e2 linear up factored<left = <@b[2]>, right = <@a[2]>, scale = 4.0>
  moe.expert @e3 linear up factored<left = <@b[3]>, right = <@a[3]>, scale = 4.0>
}

// CHECK-LABEL: func.func @hidden
func.func @hidden(%h: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<4x64xf32>
  %logits = moe.router linear %h weight(%w : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  // CHECK: %[[P:.*]] = moe.gate softmax %{{.*}} over @mov dense : tensor<?x4xf32>
  %p = moe.gate softmax %logits over @mov dense : tensor<?x4xf32>
  // CHECK: moe.soft_merge @mov %{{.*}} weights %[[P]]
  %y = moe.soft_merge @mov %h weights %p : (tensor<?x64xf32>, tensor<?x4xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// The option of keeping the top k without renormalising.

// CHECK-LABEL: func.func @query
func.func @query(%x: tensor<?x64xf32>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<4x64xf32>
  %w0 = moe.weight @w0 : tensor<64x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  // CHECK: %[[P:.*]] = moe.gate softmax %{{.*}} over @molora dense top_k 2 : tensor<?x4xf32>
  %p = moe.gate softmax %logits over @molora dense top_k 2 : tensor<?x4xf32>
  // CHECK: %[[D:.*]] = moe.soft_merge @molora %{{.*}} weights %[[P]]
  %delta = moe.soft_merge @molora %x weights %p : (tensor<?x64xf32>, tensor<?x4xf32>) -> tensor<?x64xf32>
  // CHECK: moert.gemm ins({{.*}}) residual(%[[D]] : tensor<?x64xf32>)
  %y = moert.gemm ins(%x, %w0 : tensor<?x64xf32>, tensor<64x64xf32>) residual(%delta : tensor<?x64xf32>)
      outs(%init : tensor<?x64xf32>) {transpose_weight} -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
