// RUN: split-file %s %t
// RUN: not moe-opt %t/bank.mlir -o %t/x 2>&1 | FileCheck %s --check-prefix=BANK
// RUN: not moe-opt %t/type.mlir -o %t/x 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: not moe-opt %t/end.mlir -o %t/x 2>&1 | FileCheck %s --check-prefix=END
// RUN: not moe-opt %t/nibbles.mlir -o %t/x 2>&1 | FileCheck %s --check-prefix=NIBBLES
// RUN: not ls %t/x

// Recipes that cannot be executed are found while weights are written: one message, and no file.

//--- bank.mlir
// BANK: bank.mlir:2:1: error: 'moe.bank' op takes columns of @none, which is not a moe.bank
moe.bank @p recipe(#moe.panels<width = 4, depth = 2, interleave = 0,
    matrices = [[#moe.columns<@none, count = 4, offset = 0, stride_n = 1, stride_k = 4>]]>) : tensor<1x1x2x4xf32>
func.func @main(%x: tensor<1xf32> {moe.name = "x"}) -> (tensor<1x1x2x4xf32> {moe.name = "y"}) {
  %w = moe.weight @p : tensor<1x1x2x4xf32>
  return %w : tensor<1x1x2x4xf32>
}
//--- type.mlir
// TYPE: error: 'moe.bank' op has elements of type 'f32', but @w of type 'f64'
moe.bank @w recipe(dense<1.0> : tensor<2x4xf64>) : tensor<2x4xf64>
moe.bank @p recipe(#moe.panels<width = 4, depth = 2, interleave = 0,
    matrices = [[#moe.columns<@w, count = 4, offset = 0, stride_n = 1, stride_k = 4>]]>) : tensor<1x1x2x4xf32>
func.func @main(%x: tensor<1xf32> {moe.name = "x"}) -> (tensor<1x1x2x4xf32> {moe.name = "y"}) {
  %w = moe.weight @p : tensor<1x1x2x4xf32>
  return %w : tensor<1x1x2x4xf32>
}
//--- end.mlir
// END: error: 'moe.bank' op takes columns beyond the end of @w
moe.bank @w recipe(dense<1.0> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.bank @p recipe(#moe.panels<width = 4, depth = 2, interleave = 0,
    matrices = [[#moe.columns<@w, count = 4, offset = 1, stride_n = 1, stride_k = 4>]]>) : tensor<1x1x2x4xf32>
func.func @main(%x: tensor<1xf32> {moe.name = "x"}) -> (tensor<1x1x2x4xf32> {moe.name = "y"}) {
  %w = moe.weight @p : tensor<1x1x2x4xf32>
  return %w : tensor<1x1x2x4xf32>
}
//--- nibbles.mlir
// NIBBLES: error: 'moe.bank' op cannot pack elements of type 'i4'
moe.bank @w recipe(dense<1> : tensor<2x4xi4>) : tensor<2x4xi4>
moe.bank @p recipe(#moe.panels<width = 4, depth = 2, interleave = 0,
    matrices = [[#moe.columns<@w, count = 4, offset = 0, stride_n = 1, stride_k = 4>]]>) : tensor<1x1x2x4xi4>
func.func @main(%x: tensor<1xf32> {moe.name = "x"}) -> (tensor<1xi8> {moe.name = "y"}) {
  %w = moe.weight @p : tensor<1x1x2x4xi4>
  %c0 = arith.constant 0 : index
  %e = tensor.extract %w[%c0, %c0, %c0, %c0] : tensor<1x1x2x4xi4>
  %f = arith.extsi %e : i4 to i8
  %y = tensor.from_elements %f : tensor<1xi8>
  return %y : tensor<1xi8>
}
