// RUN: moe-opt %s --moe-fold-batch-norm | FileCheck %s
// RUN: moe-opt %s --moe-fold-batch-norm --remarks-filter=moe-compress --remark-format=emitRemark 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// Experts `Swish(BN(v W + b))` that are functions (Pan et al. 2024, arXiv 2408.05430): the norm goes into the linear layer.

moe.bank @w in "m" key "w" : tensor<4x2xf32>
moe.bank @wt in "m" key "wt" : tensor<2x4xf32>

// CHECK-DAG: moe.bank @batch_norm.scale recipe(dense<[2.49804918862{{[0-9]+}}, 0.49999999{{[0-9]+}}]> : tensor<2xf64>) : tensor<2xf64>
// CHECK-DAG: moe.bank @w.normed recipe(#moe.scale<#moe.slice<@w>, dim = 1, factors = #moe.slice<@batch_norm.scale>>) : tensor<4x2xf32>
// CHECK-DAG: moe.bank @wt.normed recipe(#moe.scale<#moe.slice<@wt>, dim = 0, factors = #moe.slice<@batch_norm.scale_{{[0-9]}}>>) : tensor<2x4xf32>

moe.pool @experts {
  moe.expert_fn @e0 calls @mlp_bn
  moe.expert_fn @e1 calls @gemm_bn
}

// gamma / sqrt(variance + epsilon) = 2 / sqrt(0.641) = 2.49804919 and 1 / sqrt(4) = 0.5; with the bias -0.3 the first output's is
// 2.49804919 * (-0.3 - 0.25) + 0.5 = -0.87392705.
// CHECK-LABEL: func.func private @mlp_bn
// CHECK: %[[W:.*]] = moe.weight @w.normed : tensor<4x2xf32>
// CHECK: %[[B:.*]] = onnx.constant dense<[-0.87392{{[67][0-9]*}}, 1.500000e+00]> : tensor<2xf32>
// CHECK: %[[Z:.*]] = onnx.node "MatMul" v 13 (%{{.*}}, %[[W]])
// CHECK: %[[Y:.*]] = onnx.node "Add" v 14 (%[[Z]], %[[B]])
// CHECK-NEXT: onnx.node "Sigmoid" v 13 (%[[Y]])
// CHECK-NOT: "BatchNormalization"
func.func private @mlp_bn(%v: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = moe.weight @w : tensor<4x2xf32>
  %b = onnx.constant dense<[-0.3, 1.0]> : tensor<2xf32>
  %gamma = onnx.constant dense<[2.0, 1.0]> : tensor<2xf32>
  %beta = onnx.constant dense<[0.5, 1.0]> : tensor<2xf32>
  %mean = onnx.constant dense<[0.25, 0.0]> : tensor<2xf32>
  %variance = onnx.constant dense<[0.64, 3.999]> : tensor<2xf32>
  %z = onnx.node "MatMul" v 13 (%v, %w) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %a = onnx.node "Add" v 14 (%b, %z) : (tensor<2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %n = onnx.node "BatchNormalization" v 15 (%a, %gamma, %beta, %mean, %variance) {epsilon = 1.0e-3 : f32}
      : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %s = onnx.node "Sigmoid" v 13 (%n) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %y = onnx.node "Mul" v 14 (%n, %s) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// A Gemm keeps what it does to the product; its bias, times beta, follows the norm.
// CHECK-LABEL: func.func private @gemm_bn
// CHECK: %[[W:.*]] = moe.weight @wt.normed : tensor<2x4xf32>
// CHECK: %[[B:.*]] = onnx.constant dense<[{{.*}}]> : tensor<2xf32>
// CHECK: %[[Y:.*]] = onnx.node "Gemm" v 13 (%{{.*}}, %[[W]], %[[B]]) {alpha = 2.000000e+00 : f32, transB = 1 : i64}
// CHECK-NEXT: return %[[Y]]
func.func private @gemm_bn(%v: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = moe.weight @wt : tensor<2x4xf32>
  %b = onnx.constant dense<[[4.0, 6.0]]> : tensor<1x2xf32>
  %one = onnx.constant dense<1.0> : tensor<2xf32>
  %z = onnx.node "Gemm" v 13 (%v, %w, %b) {alpha = 2.0 : f32, beta = 0.5 : f32, transB = 1 : i64} : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<1x2xf32>) -> tensor<?x2xf32>
  %n = onnx.node "BatchNormalization" v 15 (%z, %one, %one, %one, %one) {epsilon = 0.0 : f32}
      : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %n : tensor<?x2xf32>
}

// What cannot be folded stays, with a reason.
// CHECK-LABEL: func.func private @refused
// CHECK-COUNT-4: "BatchNormalization"
// REMARK-COUNT-2: remark: [Passed] batch-norm {{.*}}folded a batch norm into the linear layer before it
// REMARK: remark: [Missed] batch-norm {{.*}}left a batch norm alone: its channels are not the outputs of the linear layer
// REMARK: remark: [Missed] batch-norm {{.*}}left a batch norm alone: its statistics are not stored
// REMARK: remark: [Missed] batch-norm {{.*}}left a batch norm alone: what it reads is no linear layer with stored weights, or others read that too
// REMARK: remark: [Missed] batch-norm {{.*}}left a batch norm alone: it is in its training form
func.func private @refused(%v: tensor<?x4xf32>, %u: tensor<?x2x4xf32>, %s: tensor<2xf32>)
    -> (tensor<?x2x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = moe.weight @w : tensor<4x2xf32>
  %one = onnx.constant dense<1.0> : tensor<2xf32>
  %z3 = onnx.node "MatMul" v 13 (%u, %w) : (tensor<?x2x4xf32>, tensor<4x2xf32>) -> tensor<?x2x2xf32>
  %n3 = onnx.node "BatchNormalization" v 15 (%z3, %one, %one, %one, %one)
      : (tensor<?x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2x2xf32>
  %z = onnx.node "MatMul" v 13 (%v, %w) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %given = onnx.node "BatchNormalization" v 15 (%z, %one, %s, %one, %one)
      : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %both = onnx.node "MatMul" v 13 (%v, %w) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %read = onnx.node "BatchNormalization" v 15 (%both, %one, %one, %one, %one)
      : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %t = onnx.node "MatMul" v 13 (%v, %w) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %train = onnx.node "BatchNormalization" v 15 (%t, %one, %one, %one, %one) {training_mode = 1 : i64}
      : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %n3, %given, %read, %both, %train : tensor<?x2x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}
