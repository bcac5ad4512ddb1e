// RUN: moe-opt %s --convert-moert-to-linalg | FileCheck %s --implicit-check-not=moert.embed --implicit-check-not=moert.attention --implicit-check-not=moert.rope

// CHECK-LABEL: func.func @embed(
// CHECK:         linalg.generic
// CHECK:           arith.select
// CHECK:           cf.assert {{.*}}, "moert.embed: an id is outside the table"
// CHECK:           arith.extf {{.*}} : bf16 to f32
func.func @embed(%ids: tensor<?xi64>, %table: tensor<5x4xbf16>, %init: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = moert.embed ins(%ids, %table : tensor<?xi64>, tensor<5x4xbf16>) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Rows of any rank.
// CHECK-LABEL: func.func @gemm(
// CHECK:         linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel"]
// CHECK:           scf.for
func.func @gemm(%x: tensor<?x?x4xf32>, %w: tensor<4x5xf32>, %init: tensor<?x?x5xf32>) -> tensor<?x?x5xf32> {
  %y = moert.gemm ins(%x, %w : tensor<?x?x4xf32>, tensor<4x5xf32>) outs(%init : tensor<?x?x5xf32>) -> tensor<?x?x5xf32>
  return %y : tensor<?x?x5xf32>
}

// CHECK-LABEL: func.func @norms(
// CHECK-COUNT-2: math.sqrt
func.func @norms(%x: tensor<?x8xf32>, %s: tensor<8xf32>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = moert.rms_norm ins(%x, %s : tensor<?x8xf32>, tensor<8xf32>) outs(%init : tensor<?x8xf32>) epsilon 1.0e-6 -> tensor<?x8xf32>
  %z = moert.layer_norm ins(%y, %s : tensor<?x8xf32>, tensor<8xf32>) outs(%init : tensor<?x8xf32>) epsilon 1.0e-6 -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}

// The angle is rounded to f32 only after cosine and sine.
// CHECK-LABEL: func.func @rotation(
// CHECK:         math.cos {{.*}} : f64
// CHECK:         arith.truncf {{.*}} : f64 to f32
// CHECK:         math.sin {{.*}} : f64
func.func @rotation(%p: tensor<?x?xi64>, %f: tensor<2xf32>, %t: tensor<?x?x2xf32>,
                    %x: tensor<?x?x3x4xf32>) -> tensor<?x?x3x4xf32> {
  %c, %s = moert.rope_table ins(%p, %f : tensor<?x?xi64>, tensor<2xf32>)
      outs(%t, %t : tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>, tensor<?x?x2xf32>
  %y = moert.rope ins(%x, %c, %s : tensor<?x?x3x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
      outs(%x : tensor<?x?x3x4xf32>) -> tensor<?x?x3x4xf32>
  return %y : tensor<?x?x3x4xf32>
}

// CHECK-LABEL: func.func @attention(
// CHECK:         scf.if
// CHECK:         arith.maximumf
// CHECK-COUNT-2: math.exp
func.func @attention(%q: tensor<?x?x4x6xf32>, %k: tensor<?x2x?x6xf32>, %mask: tensor<?x?xi64>,
                     %init: tensor<?x?x4x6xf32>, %cache: tensor<?x2x?x6xf32>) -> tensor<?x?x4x6xf32> {
  %y = moert.attention ins(%q, %k, %k : tensor<?x?x4x6xf32>, tensor<?x2x?x6xf32>, tensor<?x2x?x6xf32>)
      key_mask(%mask : tensor<?x?xi64>) outs(%init : tensor<?x?x4x6xf32>) scale 0.5 causal {window = 3 : i64}
      -> tensor<?x?x4x6xf32>
  return %y : tensor<?x?x4x6xf32>
}

// Plain weights: no panels.
// CHECK-LABEL: func.func @experts(
// CHECK:         tensor.extract %{{.*}} : tensor<3x8x4xbf16>
// CHECK:         arith.extf
// CHECK:         tensor.extract %{{.*}} : tensor<3x4x4xbf16>
func.func @experts(%x: tensor<?x4xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<3x8x4xbf16>,
                   %down: tensor<3x4x4xbf16>, %init: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = moert.expert_ffn silu glu ins(%x, %ids, %w : tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
      up(%up : tensor<3x8x4xbf16>) down(%down : tensor<3x4x4xbf16>) outs(%init : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
