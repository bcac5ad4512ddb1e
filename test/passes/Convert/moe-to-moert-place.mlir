// RUN: moe-opt %s --target=cpu:x86-64-v4 --stop-after=bufferized -o - | FileCheck %s

// Each op of a pool adds to the sum of the one before where it lies: one
// buffer, no copies.

moe.bank @up in "w" at 0 length 192 : tensor<2x4x6xf32>
moe.bank @down in "w" at 192 length 192 : tensor<2x6x4xf32>
moe.bank @narrow_up in "w" at 384 length 48 : tensor<2x6xf32>
moe.bank @narrow_down in "w" at 432 length 48 : tensor<6x2xf32>
moe.pool @p {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @narrow_up down @narrow_down
  moe.alias @e2 of @e1
  moe.null_expert @e3 zero
  moe.expert @e4 ffn relu up @up[1] down @down[1]
  moe.alias @e5 of @e0
}

// CHECK-LABEL: func.func @main(
// CHECK:         %[[SUM:.*]] = memref.alloc
// CHECK-NOT:     memref.alloc
// CHECK-NOT:     copy
// CHECK:         moert.expert_ffn {{.*}} outs(%[[SUM]] :
// CHECK:         moert.expert_ffn {{.*}} residual(%[[SUM]] :{{.*}} outs(%[[SUM]] :
// CHECK-NOT:     copy
// CHECK:         return
func.func @main(%x: tensor<?x6xf32> {moe.name = "x"}, %ids: tensor<?x3xi32> {moe.name = "ids"},
                %w: tensor<?x3xf32> {moe.name = "w"}) -> (tensor<?x6xf32> {moe.name = "y"}) {
  %y = moe.apply @p %x ids %ids weights %w : (tensor<?x6xf32>, tensor<?x3xi32>, tensor<?x3xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
