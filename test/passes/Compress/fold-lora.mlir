// RUN: moe-opt %s --moe-fold-lora | FileCheck %s

moe.bank @w recipe(dense<0.5> : tensor<8x4xf32>) : tensor<8x4xf32>
moe.bank @d recipe(dense<0.5> : tensor<4x8xf32>) : tensor<4x8xf32>
moe.bank @b recipe(dense<0.5> : tensor<8x2xf32>) : tensor<8x2xf32>
moe.bank @a recipe(dense<0.5> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.bank @router recipe(dense<0.125> : tensor<2x4xf32>) : tensor<2x4xf32>
// The sum becomes a bank of its own; factors without a base stay.
// CHECK: moe.bank @ffn.e0.up recipe(#moe.mix<[#moe.factored<base = <@w>, left = <@b>, right = <@a>, scale = 4.000000e+00 : f64>], [1.000000e+00]>) : tensor<8x4xf32>
// CHECK: moe.expert @e0 ffn relu up @ffn.e0.up down @d
// CHECK: moe.expert @e1 ffn relu up factored<left = <@b>, right = <@a>> down @d
moe.pool @ffn {
  moe.expert @e0 ffn relu up factored<base = <@w>, left = <@b>, right = <@a>, scale = 4.0 : f64> down @d
  moe.expert @e1 ffn relu up factored<left = <@b>, right = <@a>> down @d
}
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = moe.weight @router : tensor<2x4xf32>
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 1 : tensor<?x2xf32>
  %y = moe.apply @ffn %x ids %ids weights %g : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
