// REQUIRES: python-onnx
// RUN: %python %S/Inputs/profile.py %t.moeprof l0 2 4
// RUN: moe-opt %s --profile=%t.moeprof --moe-drop-layers=count=1 | FileCheck %s --check-prefix=LAYER
// RUN: moe-opt %s --profile=%t.moeprof --moe-drop-blocks=count=1 | FileCheck %s --check-prefix=BLOCK
// RUN: moe-opt %s --moe-strip-outputs=names=head | FileCheck %s --check-prefix=STRIP
// RUN: not moe-opt %s --profile=%t.moeprof --moe-drop-layers=count=2 2>&1 | FileCheck %s --check-prefix=MANY
// RUN: %python %S/Inputs/profile.py %t.lacking l0 2 4 sublayer_cosine
// RUN: not moe-opt %s --profile=%t.lacking --moe-drop-layers=count=1 --remarks-filter=moe-compress --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=LACKING
// MANY: error: drop-layers: only 1 of the 1 layers can be dropped, not 2
// LACKING-DAG: remark: [Missed] drop {{.*}}the profile has no cosine of it
// LACKING-DAG: error: drop-layers: only 0 of the 1 layers can be dropped, not 1

// A block: attention (here a product), its sum, a norm, the layer, the next sum; then a norm of the model, and a head.
// Without the layer, its norm and its experts go, and the stream runs on.
// LAYER-NOT: moe.pool
// LAYER-NOT: moe.bank
// LAYER-LABEL: func.func @main
// LAYER: %[[H:.*]] = onnx.node "Add" v 14 (%arg0,
// LAYER-NOT: moe.
// LAYER-NOT: "Sqrt"
// LAYER: onnx.node "Neg" v 13 (%[[H]])

// Without the block, attention goes too, and so does the cache that it alone fills.
// BLOCK-NOT: moe.pool
// BLOCK: func.func @main(%arg0: tensor<?x3x4xf32>) -> (tensor<?x3x4xf32> {moe.name = "y"}, tensor<?x3x4xf32> {moe.name = "head"})
// BLOCK-NOT: "MatMul"
// BLOCK: onnx.node "Neg" v 13 (%arg0)

// STRIP: moe.pool
// STRIP: func.func @main({{.*}}) -> (tensor<?x3x4xf32> {moe.name = "y"}, tensor<?x3x4xf32> {moe.name = "cache"})
// STRIP-NOT: "Abs"
moe.bank @up recipe(dense<0.5> : tensor<2x8x4xf32>) : tensor<2x8x4xf32>
moe.bank @down recipe(dense<0.5> : tensor<2x4x8xf32>) : tensor<2x4x8xf32>
moe.bank @router recipe(dense<0.5> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.pool @ffn {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
}
func.func @main(%x: tensor<?x3x4xf32>, %s: tensor<4x4xf32>) -> (tensor<?x3x4xf32> {moe.name = "y"}, tensor<?x3x4xf32> {moe.name = "head"}, tensor<?x3x4xf32> {moe.name = "cache"}) {
  %w = moe.weight @router : tensor<2x4xf32>
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
  %shape = onnx.node "Shape" v 15 (%x) : (tensor<?x3x4xf32>) -> tensor<3xi64>
  %back = onnx.node "Reshape" v 13 (%y, %shape) : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x3x4xf32>
  %out = onnx.node "Add" v 14 (%back, %h) : (tensor<?x3x4xf32>, tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  %result = onnx.node "Neg" v 13 (%out) : (tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  %head = onnx.node "Abs" v 13 (%out) : (tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  return %result, %head, %a : tensor<?x3x4xf32>, tensor<?x3x4xf32>, tensor<?x3x4xf32>
}
