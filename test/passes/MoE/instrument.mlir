// RUN: moe-opt %s --moe-instrument | FileCheck %s
// RUN: moe-opt %s --moe-instrument --remarks-filter='moe-.*' --remark-format=emitRemark 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK
// RUN: moe-opt %s --moe-instrument=gram=true | FileCheck %s --check-prefix=GRAM
// RUN: echo 'module {}' | moe-opt --moe-instrument 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: warning: has no MoE layer to observe

moe.bank @up in "m" key "up" : tensor<2x8x4xf32>
moe.bank @down in "m" key "down" : tensor<2x4x8xf32>

moe.pool @ffn {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
}

// A block: attention (here a product), its sum, a norm, the layer, the next sum. The layer's output goes through a
// reshape, a cast and a shared expert's sum.
// CHECK-LABEL: func.func @block
// CHECK: %[[H:.*]] = onnx.node "Add" v 14 (%arg0, %{{.*}})
// CHECK: %[[X:.*]] = onnx.node "Reshape" v 13 (%{{.*}}, %{{.*}}) : (tensor<?x3x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
// CHECK: %[[Z:.*]] = moe.router linear %[[X]]
// CHECK-NEXT: moe.observe logits "l0" score softmax %[[Z]] : tensor<?x2xf32>
// CHECK-NEXT: %[[G:.*]]:2 = moe.gate softmax
// CHECK-NEXT: moe.observe choice "l0" over @ffn %[[G]]#0, %[[G]]#1 : tensor<?x1xi32>, tensor<?x1xf32>
// CHECK-NEXT: moe.observe inputs "l0" over @ffn %[[X]], %[[G]]#0 : tensor<?x4xf32>, tensor<?x1xi32>
// CHECK-NOT: input_gram
// CHECK: %[[Y:.*]] = moe.apply
// CHECK-NEXT: moe.observe outputs "l0" %[[Y]] : tensor<?x4xf32>
// CHECK: %[[AFTER:.*]] = onnx.node "Add" v 14 (%{{.*}}, %[[H]])
// CHECK-NEXT: moe.observe block_cosine "l0" %arg0, %[[AFTER]] : tensor<?x3x4xf32>, tensor<?x3x4xf32>
// CHECK-NEXT: moe.observe sublayer_cosine "l0" %[[H]], %[[AFTER]] : tensor<?x3x4xf32>, tensor<?x3x4xf32>
// GRAM: moe.observe input_gram "l0"
func.func @block(%x: tensor<?x3x4xf32>, %w: tensor<2x4xf32>, %s: tensor<4x4xf32>) -> tensor<?x3x4xf32> {
  %two = onnx.constant dense<2.0> : tensor<f32>
  %last = onnx.constant dense<-1> : tensor<1xi64>
  %rows = onnx.constant dense<[-1, 4]> : tensor<2xi64>
  %a = onnx.node "MatMul" v 13 (%x, %s) : (tensor<?x3x4xf32>, tensor<4x4xf32>) -> tensor<?x3x4xf32>
  %h = onnx.node "Add" v 14 (%x, %a) : (tensor<?x3x4xf32>, tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  %p = onnx.node "Pow" v 15 (%h, %two) : (tensor<?x3x4xf32>, tensor<f32>) -> tensor<?x3x4xf32>
  %m = onnx.node "ReduceMean" v 18 (%p, %last) {keepdims = 1 : i64} : (tensor<?x3x4xf32>, tensor<1xi64>) -> tensor<?x3x1xf32>
  %r = onnx.node "Sqrt" v 13 (%m) : (tensor<?x3x1xf32>) -> tensor<?x3x1xf32>
  %n = onnx.node "Div" v 14 (%h, %r) : (tensor<?x3x4xf32>, tensor<?x3x1xf32>) -> tensor<?x3x4xf32>
  %t = onnx.node "Reshape" v 13 (%n, %rows) : (tensor<?x3x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %z = moe.router linear %t weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %i, %g = moe.gate softmax %z over @ffn top_k 1 layer "l0" : tensor<?x2xf32>
  %y = moe.apply @ffn %t ids %i weights %g layer "l0"
      : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %shared = onnx.node "MatMul" v 13 (%t, %s) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %both = onnx.node "Add" v 14 (%shared, %y) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %cast = onnx.node "Cast" v 13 (%both) {to = 1 : i64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %shape = onnx.node "Shape" v 15 (%x) : (tensor<?x3x4xf32>) -> tensor<3xi64>
  %back = onnx.node "Reshape" v 13 (%cast, %shape) : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x3x4xf32>
  %out = onnx.node "Add" v 14 (%back, %h) : (tensor<?x3x4xf32>, tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  return %out : tensor<?x3x4xf32>
}

// A layer alone: no stream.
// REMARK: remark: [Missed] instrument | {{.*}}the residual stream of alone cannot be observed
// CHECK-LABEL: func.func @alone
// CHECK-NOT: cosine
func.func @alone(%x: tensor<?x4xf32>, %w: tensor<2x4xf32>) -> tensor<?x4xf32> {
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %i, %g = moe.gate softmax %z over @ffn top_k 1 layer "alone" : tensor<?x2xf32>
  %y = moe.apply @ffn %x ids %i weights %g layer "alone"
      : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Added to something that its input is no norm of: no stream either.
// CHECK-LABEL: func.func @other
// CHECK: moe.observe outputs "other"
// CHECK-NOT: cosine
func.func @other(%x: tensor<?x4xf32>, %o: tensor<?x4xf32>, %w: tensor<2x4xf32>) -> tensor<?x4xf32> {
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %i, %g = moe.gate softmax %z over @ffn top_k 1 layer "other" : tensor<?x2xf32>
  %y = moe.apply @ffn %x ids %i weights %g layer "other"
      : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %out = onnx.node "Add" v 14 (%o, %y) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %out : tensor<?x4xf32>
}

// The stream without a block in front of it.
// REMARK: remark: [Missed] instrument | {{.*}}the block of first cannot be observed
// CHECK-LABEL: func.func @first
// CHECK: moe.observe sublayer_cosine "first" %arg0, %{{.*}} : tensor<?x4xf32>, tensor<?x4xf32>
// CHECK-NOT: block_cosine
func.func @first(%x: tensor<?x4xf32>, %w: tensor<2x4xf32>) -> tensor<?x4xf32> {
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %i, %g = moe.gate softmax %z over @ffn top_k 1 layer "first" : tensor<?x2xf32>
  %y = moe.apply @ffn %x ids %i weights %g layer "first"
      : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %out = onnx.node "Add" v 14 (%x, %y) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %out : tensor<?x4xf32>
}
