// RUN: moe-opt %s --moe-raise-experts --split-input-file --verify-diagnostics

moe.bank @fc1 in "m" at 0 length 6144 : tensor<4x24x16xf32>
moe.bank @fc2 in "m" at 6144 length 6144 : tensor<4x16x24xf32>
func.func @k_too_large(%x: tensor<?x16xf32>, %l: tensor<?x4xf32>) -> tensor<?x16xf32> {
  %none = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x24x16xf32>
  %fc2 = moe.weight @fc2 : tensor<4x16x24xf32>
  // expected-error @below {{MoE: k is 5, but there are 4 experts}}
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2) {k = 5 : i64}
      : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x24x16xf32>, none, tensor<4x16x24xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 6144 : tensor<4x24x16xf32>
moe.bank @fc2 in "m" at 6144 length 6144 : tensor<4x16x24xf32>
func.func @unknown_activation(%x: tensor<?x16xf32>, %l: tensor<?x4xf32>) -> tensor<?x16xf32> {
  %none = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x24x16xf32>
  %fc2 = moe.weight @fc2 : tensor<4x16x24xf32>
  // expected-error @below {{activation_type 'swish' is unknown}}
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2) {activation_type = "swish"}
      : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x24x16xf32>, none, tensor<4x16x24xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

func.func @computed_weights(%x: tensor<?x16xf32>, %l: tensor<?x4xf32>, %fc1: tensor<4x24x16xf32>, %fc2: tensor<4x16x24xf32>) -> tensor<?x16xf32> {
  %none = onnx.none
  // expected-error @below {{MoE: fc1 weights is computed, expected a constant}}
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2)
      : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x24x16xf32>, none, tensor<4x16x24xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 6144 : tensor<4x24x16xf32>
moe.bank @fc2 in "m" at 6144 length 4608 : tensor<4x12x24xf32>
func.func @wrong_width(%x: tensor<?x16xf32>, %l: tensor<?x4xf32>) -> tensor<?x16xf32> {
  %none = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x24x16xf32>
  %fc2 = moe.weight @fc2 : tensor<4x12x24xf32>
  // expected-error @below {{MoE: fc2 weights have shape (4, 12, 24), expected (4, 16, 24)}}
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2)
      : (tensor<?x16xf32>, tensor<?x4xf32>, tensor<4x24x16xf32>, none, tensor<4x12x24xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 6144 : tensor<4x24x16xf32>
moe.bank @fc2 in "m" at 6144 length 6144 : tensor<4x16x24xf32>
func.func @wrong_router(%x: tensor<?x16xf32>, %l: tensor<?x5xf32>) -> tensor<?x16xf32> {
  %none = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x24x16xf32>
  %fc2 = moe.weight @fc2 : tensor<4x16x24xf32>
  // expected-error @below {{MoE: the router scores 5 experts, fc1 has 4}}
  %y = onnx.node "com.microsoft" "MoE" v 1 (%x, %l, %fc1, %none, %fc2)
      : (tensor<?x16xf32>, tensor<?x5xf32>, tensor<4x24x16xf32>, none, tensor<4x16x24xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 4096 : tensor<4x32x32xui8>
moe.bank @fc2 in "m" at 4096 length 4096 : tensor<4x64x16xui8>
moe.bank @s in "m" at 8192 length 1024 : tensor<4x64xf32>
func.func @prepacked_by_shape(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) -> tensor<?x32xf32> {
  %0 = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x32x32xui8>
  %fc2 = moe.weight @fc2 : tensor<4x64x16xui8>
  %s = moe.weight @s : tensor<4x64xf32>
  // expected-error @below {{QMoE: fc1 weights have the shape (experts, in, out / 2) of a provider's prepacked layout}}
  %y = onnx.node "com.microsoft" "QMoE" v 1 (%x, %l, %fc1, %s, %0, %fc2, %s)
      : (tensor<?x32xf32>, tensor<?x4xf32>, tensor<4x32x32xui8>, tensor<4x64xf32>, none, tensor<4x64x16xui8>, tensor<4x64xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 2048 : tensor<4x32x16xui8>
moe.bank @s in "m" at 8192 length 256 : tensor<4x16xf32>
func.func @scales_and_types(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) -> tensor<?x32xf32> {
  %0 = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x32x16xui8>
  %s = moe.weight @s : tensor<4x16xf32>
  // expected-error @below {{QMoE: fc1_scales have shape (4, 16), expected (4, 32)}}
  %y = onnx.node "com.microsoft" "QMoE" v 1 (%x, %l, %fc1, %s, %0, %fc1, %s)
      : (tensor<?x32xf32>, tensor<?x4xf32>, tensor<4x32x16xui8>, tensor<4x16xf32>, none, tensor<4x32x16xui8>, tensor<4x16xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

moe.bank @fc1 in "m" at 0 length 2048 : tensor<4x32x16xui8>
moe.bank @s in "m" at 8192 length 512 : tensor<4x32xf32>
func.func @float_quantisation(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) -> tensor<?x32xf32> {
  %0 = onnx.none
  %fc1 = moe.weight @fc1 : tensor<4x32x16xui8>
  %s = moe.weight @s : tensor<4x32xf32>
  // expected-error @below {{QMoE: quant_type 'fp4' is not supported, expected 'int'}}
  %y = onnx.node "com.microsoft" "QMoE" v 1 (%x, %l, %fc1, %s, %0, %fc1, %s) {quant_type = "fp4"}
      : (tensor<?x32xf32>, tensor<?x4xf32>, tensor<4x32x16xui8>, tensor<4x32xf32>, none, tensor<4x32x16xui8>, tensor<4x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
