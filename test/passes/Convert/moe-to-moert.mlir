// RUN: moe-opt %s --convert-moe-to-moert --split-input-file | FileCheck %s

moe.bank @up in "w" at 0 length 192 : tensor<2x4x6xf32>
moe.bank @down in "w" at 192 length 192 : tensor<2x6x4xf32>

// An alias computes what its target does; a copy adds its token.
moe.pool @p {
  moe.expert @e0 ffn relu up @up[0] down @down[0]
  moe.expert @e1 ffn relu up @up[1] down @down[1]
  moe.alias @e2 of @e0
  moe.null_expert @e3 zero
  moe.null_expert @e4 copy
}

// CHECK-LABEL: func.func @main(
// CHECK:         %[[COPIES:.*]] = linalg.generic
// CHECK:           scf.for
// CHECK:           arith.constant 4 : i32
// CHECK:         moert.expert_ffn relu
// CHECK-SAME:      residual(%[[COPIES]] :
func.func @main(%x: tensor<?x6xf32> {moe.name = "x"}, %ids: tensor<?x3xi32> {moe.name = "ids"},
                %w: tensor<?x3xf32> {moe.name = "w"}) -> (tensor<?x6xf32> {moe.name = "y"}) {
  %y = moe.apply @p %x ids %ids weights %w : (tensor<?x6xf32>, tensor<?x3xi32>, tensor<?x3xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
