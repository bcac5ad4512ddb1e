// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// Uni-MoE (arXiv 2405.11273; HITsz-TMG/UMOE-Scaling-Unified-Multimodal-LLMs): one decoder with MoE layers, entered
// through several functions (an image's features or text). Four gated experts,
// each projection with a LoRA (scale alpha / r), router without bias, top 2 of
// the logits and then softmax over the pair.

moe.bank @router in "m" key "router" : tensor<4x64xf32>
moe.bank @gate in "m" key "gate" : tensor<4x128x64xf32>
moe.bank @up in "m" key "up" : tensor<4x128x64xf32>
moe.bank @down in "m" key "down" : tensor<4x64x128xf32>
moe.bank @gate_a in "m" key "gate_a" : tensor<4x8x64xf32>
moe.bank @gate_b in "m" key "gate_b" : tensor<4x128x8xf32>
moe.bank @up_a in "m" key "up_a" : tensor<4x8x64xf32>
moe.bank @up_b in "m" key "up_b" : tensor<4x128x8xf32>
moe.bank @down_a in "m" key "down_a" : tensor<4x8x128xf32>
moe.bank @down_b in "m" key "down_b" : tensor<4x64x8xf32>
moe.bank @connector in "m" key "connector" : tensor<64x32xf32>

// CHECK-LABEL: moe.pool @ffn0
// CHECK-COUNT-4: moe.expert @{{.*}} glu silu gate factored<base = <@gate[{{[0-3]}}]>, left = <@gate_b[{{[0-3]}}]>, right = <@gate_a[{{[0-3]}}]>, scale = 2.000000e+00 : f64> up factored<
moe.pool @ffn0 {
  moe.expert @text glu silu gate factored<base = <@gate[0]>, left = <@gate_b[0]>, right = <@gate_a[0]>, scale = 2.0>
      up factored<base = <@up[0]>, left = <@up_b[0]>, right = <@up_a[0]>, scale = 2.0>
      down factored<base = <@down[0]>, left = <@down_b[0]>, right = <@down_a[0]>, scale = 2.0>
  moe.expert @image glu silu gate factored<base = <@gate[1]>, left = <@gate_b[1]>, right = <@gate_a[1]>, scale = 2.0>
      up factored<base = <@up[1]>, left = <@up_b[1]>, right = <@up_a[1]>, scale = 2.0>
      down factored<base = <@down[1]>, left = <@down_b[1]>, right = <@down_a[1]>, scale = 2.0>
  moe.expert @speech glu silu gate factored<base = <@gate[2]>, left = <@gate_b[2]>, right = <@gate_a[2]>, scale = 2.0>
      up factored<base = <@up[2]>, left = <@up_b[2]>, right = <@up_a[2]>, scale = 2.0>
      down factored<base = <@down[2]>, left = <@down_b[2]>, right = <@down_a[2]>, scale = 2.0>
  moe.expert @audio glu silu gate factored<base = <@gate[3]>, left = <@gate_b[3]>, right = <@gate_a[3]>, scale = 2.0>
      up factored<base = <@up[3]>, left = <@up_b[3]>, right = <@up_a[3]>, scale = 2.0>
      down factored<base = <@down[3]>, left = <@down_b[3]>, right = <@down_a[3]>, scale = 2.0>
}

// CHECK-LABEL: func.func @decode
func.func @decode(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<4x64xf32>
  %logits = moe.router linear %x weight(%w : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  // CHECK: moe.gate softmax %{{.*}} over @ffn0 top_k 2 select_first : tensor<?x4xf32>
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 select_first : tensor<?x4xf32>
  // CHECK: moe.apply @ffn0
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Soft tokens of another modality go in front of the text and into the same
// decoder: entry functions share it.

// CHECK-LABEL: func.func @image_and_text
// CHECK:         call @decode
func.func @image_and_text(%features: tensor<?x32xf32>, %text: tensor<?x64xf32>, %soft: tensor<?x64xf32>,
                          %spliced: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @connector : tensor<64x32xf32>
  %prefix = moert.gemm ins(%features, %w : tensor<?x32xf32>, tensor<64x32xf32>)
      outs(%soft : tensor<?x64xf32>) {transpose_weight} -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %prefix, %c0 : tensor<?x64xf32>
  %m = tensor.dim %text, %c0 : tensor<?x64xf32>
  %a = tensor.insert_slice %prefix into %spliced[0, 0] [%n, 64] [1, 1] : tensor<?x64xf32> into tensor<?x64xf32>
  %b = tensor.insert_slice %text into %a[%n, 0] [%m, 64] [1, 1] : tensor<?x64xf32> into tensor<?x64xf32>
  %y = func.call @decode(%b) : (tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @text
// CHECK:         call @decode
func.func @text(%text: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = func.call @decode(%text) : (tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
