// RUN: moe-opt %s --moe-quantize-dense | FileCheck %s
// RUN: moe-opt %s --moe-quantize-dense=type=f16 | FileCheck %s --check-prefix=F16
// RUN: not moe-opt %s --moe-quantize-dense=type=int8 2>&1 | FileCheck %s --check-prefix=BAD
// BAD: error: quantize-dense: type is bf16 or f16, not 'int8'
// RUN: not moe-opt %s --moe-quantize-dense --moe-prune-experts=keep=1 2>&1 | FileCheck %s --check-prefix=ORDER
// ORDER: error: prune-experts trims, but quantize-dense, which quantises, has run before

moe.bank @table in "m" key "table" : tensor<8x4xf32>
moe.bank @w in "m" key "w" : tensor<4x4xf32>
moe.bank @norm in "m" key "norm" : tensor<4xf32>
moe.bank @both in "m" key "both" : tensor<4x4xf32>
moe.bank @router in "m" key "router" : tensor<2x4xf32>
moe.bank @up in "m" key "up" : tensor<2x8x4xf32>
moe.bank @down in "m" key "down" : tensor<2x4x8xf32>

// Products and tables are narrow; norms, routers, experts, and what is used otherwise too, are not.
// CHECK-DAG: moe.bank @table.bf16 recipe(#moe.mix<[#moe.slice<@table>], [1.000000e+00]>) : tensor<8x4xbf16>
// CHECK-DAG: moe.bank @w.bf16 recipe(#moe.mix<[#moe.slice<@w>], [1.000000e+00]>) : tensor<4x4xbf16>
// CHECK-NOT: @norm.bf16
// CHECK-NOT: @both.bf16
// CHECK-NOT: @router.bf16
// CHECK-NOT: @up.bf16
// F16: moe.bank @w.f16 {{.*}} : tensor<4x4xf16>
moe.pool @p {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
}

// CHECK-LABEL: func.func @main
// CHECK: %[[T:.*]] = moe.weight @table.bf16 : tensor<8x4xbf16>
// CHECK: %[[WIDE:.*]] = onnx.node "Cast" v 13 (%[[T]]) {to = 1 : i64} : (tensor<8x4xbf16>) -> tensor<8x4xf32>
// CHECK: "Gather" v 13 (%[[WIDE]], %
func.func @main(%ids: tensor<?xi64>) -> (tensor<?x4xf32> {moe.name = "y"}) {
  %table = moe.weight @table : tensor<8x4xf32>
  %w = moe.weight @w : tensor<4x4xf32>
  %norm = moe.weight @norm : tensor<4xf32>
  %both = moe.weight @both : tensor<4x4xf32>
  %router = moe.weight @router : tensor<2x4xf32>
  %x = onnx.node "Gather" v 13 (%table, %ids) {axis = 0 : i64} : (tensor<8x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %a = onnx.node "MatMul" v 13 (%x, %w) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %b = onnx.node "Mul" v 14 (%a, %norm) : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %twice = onnx.node "Add" v 14 (%both, %both) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %c = onnx.node "MatMul" v 13 (%b, %both) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %d = onnx.node "MatMul" v 13 (%c, %twice) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %z = moe.router linear %d weight(%router : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %i, %g = moe.gate softmax %z over @p top_k 1 layer "l0" : tensor<?x2xf32>
  %y = moe.apply @p %d ids %i weights %g layer "l0" : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
