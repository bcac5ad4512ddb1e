// RUN: moe-opt %s --moe-raise-experts --split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-raise-experts --split-input-file --remarks-filter='moe-.*' --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=REMARK

moe.bank @fc1 in "m" at 0 length 6144 : tensor<4x24x16xf32>
moe.bank @fc2 in "m" at 6144 length 6144 : tensor<4x16x24xf32>

// Plain experts; the router's linear layer becomes a moe.router.

// CHECK:       moe.pool @moe0 {
// CHECK-NEXT:    moe.expert @e0 ffn silu up @fc1[0] down @fc2[0]
// CHECK:         moe.expert @e3 ffn silu up @fc1[3] down @fc2[3]
// CHECK-LABEL: func.func @plain(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x16xf32>
// CHECK-NOT:     onnx.node
// CHECK:         %[[L:.*]] = moe.router linear %[[X]] weight(%{{.*}} : tensor<16x4xf32>) transposed
// CHECK:         %[[G:.*]]:2 = moe.gate softmax %[[L]] over @moe0 top_k 2 norm selected
// CHECK:         %[[Y:.*]] = moe.apply @moe0 %[[X]] ids %[[G]]#0 weights %[[G]]#1
// CHECK:         return %[[Y]]
// REMARK: remark: [Passed] experts | Category:moe-raise | {{.*}}encoding=contrib-op, experts=4, top_k=2
func.func @plain(%x: tensor<?x16xf32>) -> tensor<?x16xf32> {
  %w = onnx.constant dense<0.5> : tensor<16x4xf32>
  %none = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x24x16xf32>
  %fc2 = moe.weight @fc2 : tensor<4x16x24xf32>
  %l = onnx.node "MatMul" v 13 (%x, %w) : (tensor<?x16xf32>, tensor<16x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2) {k = 2 : i64, activation_type = "silu", normalize_routing_weights = 1 : i64}
      : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x24x16xf32>, none, tensor<4x16x24xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 12288 : tensor<4x48x16xf32>
moe.bank @fc2 in "m" at 12288 length 6144 : tensor<4x16x24xf32>
moe.bank @b1 in "m" at 18432 length 768 : tensor<4x48xf32>

// Fused rows alternate gate and up; tokens come as sequences.

// CHECK:         moe.expert @e1 glu silu gate @fc1[1, 0:48:2] gate_bias @b1[1, 0:48:2] up @fc1[1, 1:48:2] up_bias @b1[1, 1:48:2] down @fc2[1] alpha 1.702000e+00 beta 1.000000e+00 limit 7.000000e+00
// CHECK-LABEL: func.func @interleaved(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x?x16xf32>, %[[L:[^:]+]]: tensor<?x4xf32>
// CHECK:         moe.router given %[[L]]
// CHECK:         %[[ROWS:.*]] = onnx.node "Reshape" v 13 (%[[X]], %{{.*}}) : (tensor<?x?x16xf32>, tensor<2xi64>) -> tensor<?x16xf32>
// CHECK:         %[[Y:.*]] = moe.apply @moe0 %[[ROWS]]
// CHECK:         %[[SHAPE:.*]] = onnx.node "Shape" v 15 (%[[X]])
// CHECK:         %[[R:.*]] = onnx.node "Reshape" v 13 (%[[Y]], %[[SHAPE]])
// CHECK:         return %[[R]]
func.func @interleaved(%x: tensor<?x?x16xf32>, %l: tensor<?x4xf32>) -> tensor<?x?x16xf32> {
  %fc1 = moe.weight @fc1 : tensor<4x48x16xf32>
  %fc2 = moe.weight @fc2 : tensor<4x16x24xf32>
  %b1 = moe.weight @b1 : tensor<4x48xf32>
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %b1, %fc2) {activation_type = "swiglu", swiglu_fusion = 1 : i64, activation_alpha = 1.702 : f64, activation_beta = 1.0 : f32, swiglu_limit = 7.0 : f32}
      : (tensor<?x?x16xf32>, tensor<?x4xf32>, tensor<4x48x16xf32>, tensor<4x48xf32>, tensor<4x16x24xf32>) -> tensor<?x?x16xf32>
  return %y : tensor<?x?x16xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 6144 : tensor<4x16x24xf32>
moe.bank @fc2 in "m" at 6144 length 6144 : tensor<4x24x16xf32>

// (in, out) weights of older tools are told by their shape.

// CHECK: moe.expert @e0 ffn relu up @fc1[0] transposed down @fc2[0] transposed
func.func @legacy(%x: tensor<?x16xf32>, %l: tensor<?x4xf32>) -> tensor<?x16xf32> {
  %none = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x16x24xf32>
  %fc2 = moe.weight @fc2 : tensor<4x24x16xf32>
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2)
      : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x16x24xf32>, none, tensor<4x24x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 1024 : tensor<2x32x16xui8>
moe.bank @fc2 in "m" at 1024 length 1024 : tensor<2x32x16xui8>
moe.bank @s1 in "m" at 2048 length 256 : tensor<2x32xf32>
moe.bank @s2 in "m" at 2304 length 256 : tensor<2x32xf32>

// Quantised weights stay so; packed zero points are unpacked; weights of the
// mixture may come from values of their own.

// CHECK:         moe.bank @[[Z:.*]] recipe(dense<{{.*}}> : tensor<2x32xui8>) : tensor<2x32xui8>
// CHECK:         moe.expert @e1 ffn relu up @fc1[1] quant<bits = 4, block = 0, scales = <@s1[1]>, zeros = <@[[Z]][1]>> down @fc2[1] quant<bits = 4, block = 0, scales = <@s2[1]>>
// CHECK-LABEL: func.func @quantised(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x32xf32>, %[[L:[^:]+]]: tensor<?x2xf32>, %[[W:[^:]+]]: tensor<?x2xf32>
// CHECK:         moe.gate none %{{.*}} over @moe0 top_k 1 values(%[[W]] : tensor<?x2xf32>)
func.func @quantised(%x: tensor<?x32xf32>, %l: tensor<?x2xf32>, %w: tensor<?x2xf32>) -> tensor<?x32xf32> {
  %0 = onnx.none
  %fc1 = moe.weight @fc1 : tensor<2x32x16xui8>
  %fc2 = moe.weight @fc2 : tensor<2x32x16xui8>
  %s1 = moe.weight @s1 : tensor<2x32xf32>
  %s2 = moe.weight @s2 : tensor<2x32xf32>
  %z = onnx.constant dense<0x87> : tensor<2x16xui8>
  %y = onnx.node "com.microsoft" "QMoE" v 1 (%x, %l, %fc1, %s1, %0, %fc2, %s2, %0, %0, %0, %0, %z, %0, %0, %w)
      : (tensor<?x32xf32>, tensor<?x2xf32>, tensor<2x32x16xui8>, tensor<2x32xf32>, none, tensor<2x32x16xui8>, tensor<2x32xf32>, none, none, none, none, tensor<2x16xui8>, none, none, tensor<?x2xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
