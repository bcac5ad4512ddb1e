// RUN: moe-opt %s --split-input-file --moe-verify-phase=imported --verify-diagnostics -o /dev/null
// RUN: moe-opt %s --pass-pipeline='builtin.module(moe-verify-phase{phase=imported})' --split-input-file --verify-diagnostics -o /dev/null

// What an import gives.

moe.bank @w in "m" key "w" : tensor<4xf32>
func.func @fine(%x: tensor<?xf32>) -> tensor<?xf32> {
  %w = moe.weight @w : tensor<4xf32>
  %c = onnx.constant dense<1.0> : tensor<f32>
  %y = onnx.node "Add" v 14 (%x, %c) : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

// One error for two offending ops.

func.func @first_only(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{'arith.addf' op may not occur in phase imported}}
  %y = arith.addf %x, %x : tensor<4xf32>
  %z = arith.addf %y, %x : tensor<4xf32>
  return %z : tensor<4xf32>
}

// -----

// A part of the moe dialect is not in yet.

func.func @gate(%z: tensor<?x8xf32>) {
  // expected-error @below {{'moe.gate' op may not occur in phase imported}}
  %ids, %w = moe.gate softmax %z top_k 2 : tensor<?x8xf32>
  return
}
