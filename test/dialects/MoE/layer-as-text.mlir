// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// The most common layer (Mixtral, Qwen3-MoE) as it reads in text: gated
// experts that are slices of two stacked banks, renormalised softmax, top 2.

moe.bank @router in "model.onnx.data" at 0 length 2048 : tensor<8x64xf32>
moe.bank @gate_up in "model.onnx.data" at 2048 length 262144 : tensor<8x256x64xbf16>
moe.bank @down in "model.onnx.data" at 264192 length 131072 : tensor<8x64x128xbf16>

// CHECK-LABEL: moe.pool @ffn0 {
// CHECK-NEXT:    moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
// CHECK-NEXT:    moe.expert @e1 glu silu gate @gate_up[1, 0:128] up @gate_up[1, 128:] down @down[1]
moe.pool @ffn0 {
  moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
  moe.expert @e1 glu silu gate @gate_up[1, :128] up @gate_up[1, 128:] down @down[1]
  moe.null_expert @e2 zero
  moe.alias @e3 of @e0
}

// CHECK-LABEL: func.func @layer
func.func @layer(%x: tensor<?x64xf32>, %w: tensor<4x64xf32>) -> tensor<?x64xf32> {
  // CHECK: %[[L:.*]] = moe.router linear %{{.*}} weight(%{{.*}} : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  %logits = moe.router linear %x weight(%w : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  // CHECK: %[[G:.*]]:2 = moe.gate softmax %[[L]] over @ffn0 top_k 2 norm selected : tensor<?x4xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 norm selected : tensor<?x4xf32>
  // CHECK: moe.apply @ffn0 %{{.*}} ids %[[G]]#0 weights %[[G]]#1 : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
