// RUN: moe-opt %s --compress='reduce-top-k{k=1}' --stop-after=imported -o - 2>&1 >%t.mlir | FileCheck %s

// What a token reads: of 400000 rows of a table the one that it looks up (32
// bytes), of the projection all 2400000 bytes, of 4 experts of 3072000 bytes
// two, then one. Weights that nothing uses cost nothing.

// CHECK:      step {{ *}}params/M bytes/MB experts/MB % active/M read MB/token MFLOP/token
// CHECK-NEXT: original 10.072 27.488 12.288 100.00 1.536 8.544 3.072
// CHECK-NEXT: reduce-top-k{k=1} 10.072 27.488 12.288 100.00 0.768 5.472 1.536

moe.bank @table in "m" at 0 length 12800000 : tensor<400000x16xbf16>
moe.bank @w in "m" at 12800000 length 2400000 : tensor<16x37500xf32>
moe.bank @fc1 in "m" at 15200000 length 6144000 : tensor<4x24000x16xf32>
moe.bank @fc2 in "m" at 21344000 length 6144000 : tensor<4x16x24000xf32>
moe.bank @unused in "m" at 27488000 length 4000000 : tensor<1000000xf32>

func.func @main(%ids: tensor<?xi64>, %router: tensor<16x4xf32>) -> (tensor<?x16xf32>, tensor<?x37500xf32>) {
  %unused = moe.weight @unused : tensor<1000000xf32>
  %table = moe.weight @table : tensor<400000x16xbf16>
  %w = moe.weight @w : tensor<16x37500xf32>
  %none = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x24000x16xf32>
  %fc2 = moe.weight @fc2 : tensor<4x16x24000xf32>
  %wide = onnx.node "Cast" v 13 (%table) {to = 1 : i64} : (tensor<400000x16xbf16>) -> tensor<400000x16xf32>
  %x = onnx.node "Gather" v 13 (%wide, %ids) {axis = 0 : i64} : (tensor<400000x16xf32>, tensor<?xi64>) -> tensor<?x16xf32>
  %z = onnx.node "MatMul" v 13 (%x, %w) : (tensor<?x16xf32>, tensor<16x37500xf32>) -> tensor<?x37500xf32>
  %l = onnx.node "MatMul" v 13 (%x, %router) : (tensor<?x16xf32>, tensor<16x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2) {k = 2 : i64, activation_type = "silu", normalize_routing_weights = 1 : i64}
      : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x24000x16xf32>, none, tensor<4x16x24000xf32>) -> tensor<?x16xf32>
  return %y, %z : tensor<?x16xf32>, tensor<?x37500xf32>
}
