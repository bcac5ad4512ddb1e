// RUN: moe-opt %s --moe-expand-variants | FileCheck %s

// Storages lie one after the other, each with an entry per column: what has no second storage, null experts among them, is named again.
// Ids move with the storage, but where there is no expert.

// CHECK: moe.pool @ffn.variants {
// CHECK-NEXT: moe.expert @a ffn relu up @w[0] down @w[0]
// CHECK-NOT: variants
// CHECK-NEXT: moe.null_expert @n copy
// CHECK-NEXT: moe.alias @b of @a
// CHECK-NEXT: moe.expert @c ffn relu up @w[1] down @w[1]
// CHECK-NEXT: moe.expert @a.storage1 ffn relu up @low[0] down @w[0]
// CHECK-NEXT: moe.alias @n.storage1 of @n
// CHECK-NEXT: moe.alias @b.storage1 of @a.storage1
// CHECK-NEXT: moe.alias @c.storage1 of @c
// CHECK-NEXT: }
moe.bank @w recipe(dense<0.5> : tensor<2x4x4xf32>) : tensor<2x4x4xf32>
moe.bank @low recipe(dense<0.5> : tensor<2x4x4xbf16>) : tensor<2x4x4xbf16>
moe.pool @ffn {
  moe.expert @a ffn relu up @w[0] down @w[0] variants [#moe.variant<"bf16", {up = #moe.slice<@low[0]>}>]
  moe.null_expert @n copy
  moe.alias @b of @a
  moe.expert @c ffn relu up @w[1] down @w[1]
}

// Names that an entry has already are not taken again.
// CHECK: moe.pool @taken.variants {
// CHECK-NEXT: moe.expert @a ffn
// CHECK-NEXT: moe.null_expert @a.storage1 zero
// CHECK-NEXT: moe.expert @a.storage_1 ffn relu up @low[0]
// CHECK-NEXT: moe.alias @a.storage1.storage_1 of @a.storage1
// CHECK-NEXT: }
moe.pool @taken {
  moe.expert @a ffn relu up @w[0] down @w[0] variants [#moe.variant<"bf16", {up = #moe.slice<@low[0]>}>]
  moe.null_expert @a.storage1 zero
}

// CHECK-LABEL: func.func @main
// CHECK: %[[G:.*]]:3 = moe.gate softmax %{{.*}} over @ffn top_k 2 skip_cumulative
// CHECK: %[[IDS:.*]] = linalg.generic {{.*}} ins(%[[G]]#0, %[[G]]#2 : tensor<?x2xi32>, tensor<?x2xi32>)
// CHECK: ^bb0(%[[ID:.*]]: i32, %[[V:.*]]: i32, %{{.*}}: i32):
// CHECK-DAG: %[[FOUR:.*]] = arith.constant 4 : i32
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0 : i32
// CHECK-DAG: %[[BY:.*]] = arith.muli %[[V]], %[[FOUR]] : i32
// CHECK-DAG: %[[MOVED:.*]] = arith.addi %[[ID]], %[[BY]] : i32
// CHECK-DAG: %[[NONE:.*]] = arith.cmpi slt, %[[ID]], %[[ZERO]] : i32
// CHECK: %[[TO:.*]] = arith.select %[[NONE]], %[[ID]], %[[MOVED]] : i32
// CHECK: linalg.yield %[[TO]]
// CHECK: moe.apply @ffn.variants %{{.*}} ids %[[IDS]] weights %[[G]]#1 :
func.func @main(%x: tensor<?x4xf32>, %z: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %i, %g, %v = moe.gate softmax %z over @ffn top_k 2 skip_cumulative [0.5, 0.75] : tensor<?x4xf32>
  %y = moe.apply @ffn %x ids %i weights %g variants %v : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<?x2xi32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

func.func @uses_taken(%x: tensor<?x4xf32>, %z: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %i, %g, %v = moe.gate softmax %z over @taken top_k 1 skip_cumulative [0.5, 0.75] : tensor<?x2xf32>
  %y = moe.apply @taken %x ids %i weights %g variants %v : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<?x1xi32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
