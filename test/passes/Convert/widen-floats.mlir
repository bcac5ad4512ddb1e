// RUN: moe-opt %s --moe-widen-floats --split-input-file --verify-diagnostics | FileCheck %s

moe.bank @table in "w" at 0 length 64 : tensor<4x8xbf16>
moe.bank @scale in "w" at 64 length 32 : tensor<8xf32>

// Only the border has the model's types: arguments are widened, results
// rounded. A weight is widened for the graph, and as it is for a kernel.

// CHECK-LABEL: func.func @border(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x8xf32>, %[[IDS:[^:]+]]: tensor<?xi64>) -> (tensor<?x8xf16>, tensor<?x8xf32>, tensor<?xi64>)
// CHECK:         %[[WIDE:.*]] = onnx.node "Cast" v 13 (%[[X]]) : (tensor<?x8xf32>) -> tensor<?x8xf64>
// CHECK:         %[[TABLE:.*]] = moe.weight @table : tensor<4x8xbf16>
// CHECK:         %[[SCALE:.*]] = moe.weight @scale : tensor<8xf32>
// CHECK:         %[[S:.*]] = onnx.node "Cast" v 13 (%[[SCALE]]) : (tensor<8xf32>) -> tensor<8xf64>
// CHECK:         moert.embed ins(%[[IDS]], %[[TABLE]] : tensor<?xi64>, tensor<4x8xbf16>)
// CHECK-SAME:      -> tensor<?x8xf64>
// CHECK:         %[[P:.*]] = onnx.node "Mul" v 14 (%[[WIDE]], %[[S]]) : (tensor<?x8xf64>, tensor<8xf64>) -> tensor<?x8xf64>
// A rounding of the graph is none any more.
// CHECK:         %[[Q:.*]] = onnx.node "Cast" v 13 (%[[P]]) {{.*}} -> tensor<?x8xf64>
// CHECK:         %[[R:.*]] = onnx.node "Cast" v 13 (%[[Q]]) : (tensor<?x8xf64>) -> tensor<?x8xf16>
// CHECK:         %[[E:.*]] = onnx.node "Cast" v 13 ({{.*}}) : (tensor<?x8xf64>) -> tensor<?x8xf32>
// CHECK:         return %[[R]], %[[E]], %[[IDS]]
func.func @border(%x: tensor<?x8xf32>, %ids: tensor<?xi64>) -> (tensor<?x8xf16>, tensor<?x8xf32>, tensor<?xi64>) {
  %table = moe.weight @table : tensor<4x8xbf16>
  %scale = moe.weight @scale : tensor<8xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %ids, %c0 : tensor<?xi64>
  %init = tensor.empty(%n) : tensor<?x8xf32>
  %rows = moert.embed ins(%ids, %table : tensor<?xi64>, tensor<4x8xbf16>) outs(%init : tensor<?x8xf32>) -> tensor<?x8xf32>
  %p = onnx.node "Mul" v 14 (%x, %scale) : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %q = onnx.node "Cast" v 13 (%p) {to = 10 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf16>
  return %q, %rows, %ids : tensor<?x8xf16>, tensor<?x8xf32>, tensor<?xi64>
}

// -----

// What is returned as it came keeps its type; f64 and integers stay.

// CHECK-LABEL: func.func @through(
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?xf16>, %[[D:[^:]+]]: tensor<?xf64>
// CHECK-NEXT:    return %[[X]], %[[D]]
func.func @through(%x: tensor<?xf16>, %d: tensor<?xf64>) -> (tensor<?xf16>, tensor<?xf64>) {
  return %x, %d : tensor<?xf16>, tensor<?xf64>
}

// -----

// Angles are rounded as the model rounds them.

// CHECK-LABEL: func.func @angles(
// CHECK:         %[[P:.*]] = onnx.node "Mul" {{.*}} -> tensor<?x4xf64>
// CHECK:         %[[A:.*]] = onnx.node "Cast" v 13 (%[[P]]) : (tensor<?x4xf64>) -> tensor<?x4xf32>
// CHECK:         %[[W:.*]] = onnx.node "Cast" v 13 (%[[A]]) : (tensor<?x4xf32>) -> tensor<?x4xf64>
// CHECK:         onnx.node "Cos" v 7 (%[[W]]) : (tensor<?x4xf64>) -> tensor<?x4xf64>
func.func @angles(%x: tensor<?x1xf32>, %f: tensor<4xf32>) -> tensor<?x4xf32> {
  %p = onnx.node "Mul" v 14 (%x, %f) : (tensor<?x1xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %c = onnx.node "Cos" v 7 (%p) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %c : tensor<?x4xf32>
}

// -----

// Constants keep their value, not their digits; branches and loops are inside.

// CHECK-LABEL: func.func @inside(
// CHECK-DAG:     onnx.constant dense<[0.10000000149011612, -0.000000e+00]> : tensor<2xf64>
// CHECK-DAG:     arith.constant 0.0999755859375 : f64
// CHECK:         linalg.generic
// CHECK:           ^bb0(%[[A:.*]]: f64, %{{.*}}: f64):
// CHECK-NEXT:        %[[SUM:.*]] = arith.addf %[[A]], %{{.*}} : f64
// CHECK-NEXT:        linalg.yield %[[SUM]] : f64
// CHECK:         onnx.node "If"
// CHECK:           onnx.yield %{{.*}} : tensor<2xf64>
func.func @inside(%c: tensor<i1>) -> tensor<2xf32> {
  %x = onnx.constant dense<[0.1, -0.0]> : tensor<2xf32>
  %tenth = arith.constant 0.1 : f16
  %init = tensor.empty() : tensor<2xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x : tensor<2xf32>) outs(%init : tensor<2xf32>) {
  ^bb0(%a: f32, %b: f32):
    %t = arith.extf %tenth : f16 to f32
    %s = arith.addf %a, %t : f32
    linalg.yield %s : f32
  } -> tensor<2xf32>
  %z = onnx.node "If" v 16 (%c) do {
    onnx.yield %y : tensor<2xf32>
  } do {
    onnx.yield %x : tensor<2xf32>
  } : (tensor<i1>) -> tensor<2xf32>
  return %z : tensor<2xf32>
}

// -----

// Numbers that are not in the module cannot be widened.
func.func @elsewhere() -> tensor<2xf32> {
  // expected-error @below {{'arith.constant' op holds numbers that cannot be widened to f64}}
  %k = arith.constant dense_resource<numbers> : tensor<2xf32>
  return %k : tensor<2xf32>
}
{-# dialect_resources: { builtin: { numbers: "0x040000000000803F00000040" } } #-}
