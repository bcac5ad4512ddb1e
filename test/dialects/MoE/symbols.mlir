// RUN: moe-opt %s --symbol-privatize=exclude=main --symbol-dce | FileCheck %s

// What entries of a pool name is in use, also through recipes, and what nothing names goes.

// CHECK-NOT: @unused
// CHECK:     moe.bank @used
// CHECK:     moe.bank @through_recipe
// CHECK:     moe.bank @derived
// CHECK:     moe.pool @p
// CHECK-NOT: @unused_pool
moe.bank @unused in "m" key "u" : tensor<4x4xf32>
moe.bank @used in "m" key "w" : tensor<4x4xf32>
moe.bank @through_recipe in "m" key "v" : tensor<4x4xf32>
moe.bank @derived recipe(#moe.permute<#moe.slice<@through_recipe>, dim = 0, order = [3, 2, 1, 0]>) : tensor<4x4xf32>
moe.pool @p {
  moe.expert @e0 linear up @used
  moe.expert @e1 linear up @derived
}
moe.pool @unused_pool {
  moe.expert @e0 linear up @used
}
func.func @main(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %y = moe.apply @p %x weights %w : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
