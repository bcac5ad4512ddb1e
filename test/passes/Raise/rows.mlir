// RUN: moe-opt %s --moe-raise-rows | FileCheck %s

moe.bank @table in "a" at 0 length 96 : tensor<12x4xbf16>

// A row of a stored table for each id, read as it is stored.

// CHECK-LABEL: func.func @embedding
// CHECK-SAME: %[[IDS:.*]]: tensor<?x?xi64>
func.func @embedding(%ids: tensor<?x?xi64>) -> tensor<?x?x4xf32> {
  // CHECK: %[[W:.*]] = moe.weight @table
  %w = moe.weight @table : tensor<12x4xbf16>
  %f = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<12x4xbf16>) -> tensor<12x4xf32>
  // CHECK: moert.embed ins(%[[IDS]], %[[W]] : tensor<?x?xi64>, tensor<12x4xbf16>)
  // CHECK-NOT: onnx.node
  %y = onnx.node "Gather" v 13 (%f, %ids) {axis = 0 : i64} : (tensor<12x4xf32>, tensor<?x?xi64>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// Columns of a table are no embedding.

// CHECK-LABEL: func.func @columns
func.func @columns(%ids: tensor<?xi64>) -> tensor<12x?xf32> {
  %w = moe.weight @table : tensor<12x4xbf16>
  %f = onnx.node "Cast" v 19 (%w) {to = 1 : i64} : (tensor<12x4xbf16>) -> tensor<12x4xf32>
  // CHECK: onnx.node "Gather"
  %y = onnx.node "Gather" v 13 (%f, %ids) {axis = 1 : i64} : (tensor<12x4xf32>, tensor<?xi64>) -> tensor<12x?xf32>
  return %y : tensor<12x?xf32>
}

// New rows come after those of an argument; the transposition in front of them
// is what kv_append does by itself.

// CHECK-LABEL: func.func @append
// CHECK-SAME: %[[PAST:[^:]*]]: tensor<?x2x?x8xf32> {{.*}}, %[[NEW:[^:]*]]: tensor<?x?x2x8xf32>
// CHECK-NOT: cf.assert
func.func @append(%past: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "p", 8]},
                  %new: tensor<?x?x2x8xf32> {moe.dims = ["b", "s", 2, 8]}) -> tensor<?x2x?x8xf32> {
  %heads = onnx.node "Transpose" v 13 (%new) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x2x8xf32>) -> tensor<?x2x?x8xf32>
  // CHECK: moert.kv_append past(%[[PAST]] : {{.*}}) ins(%[[NEW]] :
  // CHECK-NOT: onnx.node
  %y = onnx.node "Concat" v 13 (%past, %heads) {axis = -2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return %y : tensor<?x2x?x8xf32>
}

// What a loop carries is no argument of the graph.

// CHECK-LABEL: func.func @carried
func.func @carried(%n: tensor<i64>, %c: tensor<i1>, %past: tensor<?x2x?x8xf32>, %new: tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32> {
  // CHECK: onnx.node "Loop"
  // CHECK: onnx.node "Concat"
  %y = onnx.node "Loop" v 16 (%n, %c, %past) do {
  ^bb0(%i: tensor<i64>, %go: tensor<i1>, %rows: tensor<?x2x?x8xf32>):
    %more = onnx.node "Concat" v 13 (%rows, %new) {axis = -2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
    onnx.yield %go, %more : tensor<i1>, tensor<?x2x?x8xf32>
  } : (tensor<i64>, tensor<i1>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return %y : tensor<?x2x?x8xf32>
}

// Heads beside each other are no cache.

// CHECK-LABEL: func.func @heads
func.func @heads(%past: tensor<?x2x?x8xf32>, %new: tensor<?x2x?x8xf32>) -> tensor<?x4x?x8xf32> {
  // CHECK: onnx.node "Concat"
  %y = onnx.node "Concat" v 13 (%past, %new) {axis = 1 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// Batches that are not known to be as large are compared in the run.

// CHECK-LABEL: func.func @other_batch
func.func @other_batch(%past: tensor<?x2x?x8xf32> {moe.dims = ["pb", 2, "p", 8]},
                       %new: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "s", 8]}) -> tensor<?x2x?x8xf32> {
  // CHECK: cf.assert %{{.*}}, "a cache and the rows that are appended to it have different batch sizes"
  // CHECK: moert.kv_append
  %y = onnx.node "Concat" v 13 (%past, %new) {axis = 2 : i64} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
  return %y : tensor<?x2x?x8xf32>
}
