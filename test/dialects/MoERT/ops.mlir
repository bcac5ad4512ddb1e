// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// Every op on tensors, as the documentation shows it, then on memrefs.

// CHECK-LABEL: func.func @embed
func.func @embed(%ids: tensor<?x?xi64>, %table: tensor<256x192xbf16>, %init: tensor<?x?x192xf32>) {
  // CHECK: moert.embed ins(%{{.*}}, %{{.*}} : tensor<?x?xi64>, tensor<256x192xbf16>) outs(%{{.*}} : tensor<?x?x192xf32>) -> tensor<?x?x192xf32>
  %y = moert.embed ins(%ids, %table : tensor<?x?xi64>, tensor<256x192xbf16>)
      outs(%init : tensor<?x?x192xf32>) -> tensor<?x?x192xf32>
  return
}

// CHECK-LABEL: func.func @gemm
func.func @gemm(%x: tensor<?x192xf32>, %w: tensor<192x64xbf16>, %wt: tensor<64x192xbf16>, %p: tensor<1x2x192x32xbf16>,
                %b: tensor<64xf32>, %init: tensor<?x64xf32>) {
  // CHECK: moert.gemm ins(%{{.*}}, %{{.*}} : tensor<?x192xf32>, tensor<192x64xbf16>) outs(%{{.*}} : tensor<?x64xf32>) -> tensor<?x64xf32>
  %y = moert.gemm ins(%x, %w : tensor<?x192xf32>, tensor<192x64xbf16>)
      outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  // CHECK: moert.gemm ins({{.*}}) bias(%{{.*}} : tensor<64xf32>) residual(%{{.*}} : tensor<?x64xf32>) outs({{.*}}) {transpose_weight}
  %y1 = moert.gemm ins(%x, %wt : tensor<?x192xf32>, tensor<64x192xbf16>) bias(%b : tensor<64xf32>)
      residual(%init : tensor<?x64xf32>) outs(%init : tensor<?x64xf32>) {transpose_weight} -> tensor<?x64xf32>
  // Packed.
  // CHECK: moert.gemm ins(%{{.*}}, %{{.*}} : tensor<?x192xf32>, tensor<1x2x192x32xbf16>)
  %y2 = moert.gemm ins(%x, %p : tensor<?x192xf32>, tensor<1x2x192x32xbf16>)
      outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
  return
}

// CHECK-LABEL: func.func @norms
func.func @norms(%x: tensor<?x192xf32>, %scale: tensor<192xf32>, %init: tensor<?x192xf32>) {
  // CHECK: moert.rms_norm ins({{.*}}) outs({{.*}}) epsilon {{.*}} -> tensor<?x192xf32>
  %y = moert.rms_norm ins(%x, %scale : tensor<?x192xf32>, tensor<192xf32>)
      outs(%init : tensor<?x192xf32>) epsilon 1.0e-6 -> tensor<?x192xf32>
  return
}

// CHECK-LABEL: func.func @layer_norm
func.func @layer_norm(%x: tensor<?x192xf32>, %scale: tensor<192xf32>, %init: tensor<?x192xf32>) {
  // CHECK: moert.layer_norm ins({{.*}}) outs({{.*}}) epsilon {{.*}} -> tensor<?x192xf32>
  %y = moert.layer_norm ins(%x, %scale : tensor<?x192xf32>, tensor<192xf32>)
      outs(%init : tensor<?x192xf32>) epsilon 1.0e-5 -> tensor<?x192xf32>
  // CHECK: moert.layer_norm ins({{.*}}) bias(%{{.*}} : tensor<192xf32>)
  %z = moert.layer_norm ins(%x, %scale : tensor<?x192xf32>, tensor<192xf32>) bias(%scale : tensor<192xf32>)
      outs(%init : tensor<?x192xf32>) epsilon 1.0e-5 -> tensor<?x192xf32>
  return
}

// CHECK-LABEL: func.func @rope
func.func @rope(%x: tensor<?x?x6x32xf32>, %pos: tensor<?x?xi64>, %freq: tensor<16xf32>,
                %c: tensor<?x?x16xf32>, %s: tensor<?x?x16xf32>, %init: tensor<?x?x6x32xf32>) {
  // CHECK: moert.rope_table ins(%{{.*}}, %{{.*}} : tensor<?x?xi64>, tensor<16xf32>) outs(%{{.*}}, %{{.*}} : tensor<?x?x16xf32>, tensor<?x?x16xf32>)
  %cos, %sin = moert.rope_table ins(%pos, %freq : tensor<?x?xi64>, tensor<16xf32>)
      outs(%c, %s : tensor<?x?x16xf32>, tensor<?x?x16xf32>)
      -> tensor<?x?x16xf32>, tensor<?x?x16xf32>
  // CHECK: moert.rope ins(
  %y = moert.rope ins(%x, %cos, %sin : tensor<?x?x6x32xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>)
      outs(%init : tensor<?x?x6x32xf32>) -> tensor<?x?x6x32xf32>
  return
}

// CHECK-LABEL: func.func @attention
func.func @attention(%past: tensor<?x2x?x32xf32>, %k: tensor<?x?x2x32xf32>, %init: tensor<?x2x?x32xf32>) {
  // CHECK: moert.kv_append past(%{{.*}} : tensor<?x2x?x32xf32>) ins(%{{.*}} : tensor<?x?x2x32xf32>) outs(
  %present = moert.kv_append past(%past : tensor<?x2x?x32xf32>)
      ins(%k : tensor<?x?x2x32xf32>) outs(%init : tensor<?x2x?x32xf32>)
      -> tensor<?x2x?x32xf32>
  // CHECK: moert.kv_append ins(
  %first = moert.kv_append ins(%k : tensor<?x?x2x32xf32>) outs(%init : tensor<?x2x?x32xf32>)
      -> tensor<?x2x?x32xf32>
  return
}

// CHECK-LABEL: func.func @cache
func.func @cache(%past: memref<?x2x?x32xf32>, %s: index) {
  // CHECK: moert.cache %{{.*}} fresh %{{.*}} input 1 output 2 : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
  %present = moert.cache %past fresh %s input 1 output 2
      : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
  return
}

// CHECK-LABEL: func.func @device_cache
func.func @device_cache(%past: memref<?x2x?x32xf32>, %s: index) {
  // CHECK: moert.device_cache %{{.*}} fresh %{{.*}} input 1 output 2 : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
  %present = moert.device_cache %past fresh %s input 1 output 2
      : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
  // CHECK: moert.device_present %{{.*}} : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>> -> memref<?x2x?x32xf32>
  %out = moert.device_present %present
      : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>> -> memref<?x2x?x32xf32>
  return
}

// CHECK-LABEL: func.func @scores
func.func @scores(%q: tensor<?x?x6x32xf32>, %k: tensor<?x2x?x32xf32>, %v: tensor<?x2x?x32xf32>, %mask: tensor<?x?xi64>,
                  %init: tensor<?x?x6x32xf32>) {
  // CHECK: moert.attention ins({{.*}}) outs({{.*}}) scale {{.*}} causal -> tensor<?x?x6x32xf32>
  %y = moert.attention ins(%q, %k, %v : tensor<?x?x6x32xf32>, tensor<?x2x?x32xf32>, tensor<?x2x?x32xf32>)
      outs(%init : tensor<?x?x6x32xf32>) scale 0.1767767 causal -> tensor<?x?x6x32xf32>
  // CHECK: moert.attention ins({{.*}}) key_mask(%{{.*}} : tensor<?x?xi64>) outs({{.*}}) scale {{.*}} {masked_row = 1 : i32, softcap = 3.000000e+01 : f64, window = 64 : i64}
  %z = moert.attention ins(%q, %k, %v : tensor<?x?x6x32xf32>, tensor<?x2x?x32xf32>, tensor<?x2x?x32xf32>)
      key_mask(%mask : tensor<?x?xi64>) outs(%init : tensor<?x?x6x32xf32>) scale 0.1767767
      {masked_row = 1 : i32, softcap = 30.0 : f64, window = 64 : i64} -> tensor<?x?x6x32xf32>
  return
}

// CHECK-LABEL: func.func @route
func.func @route(%logits: tensor<?x16xf32>, %i: tensor<?x2xi32>, %v: tensor<?x2xf32>, %n: index) {
  // CHECK: moert.route softmax ins(%{{.*}} : tensor<?x16xf32>) outs(%{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>) {normalize} -> tensor<?x2xi32>, tensor<?x2xf32>
  %ids, %w = moert.route softmax ins(%logits : tensor<?x16xf32>)
      outs(%i, %v : tensor<?x2xi32>, tensor<?x2xf32>) {normalize}
      -> tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: moert.route softmax ins(%{{.*}} : tensor<?x16xf32>) dynamic %{{.*}} outs(
  %some, %sw = moert.route softmax ins(%logits : tensor<?x16xf32>) dynamic %n
      outs(%i, %v : tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x2xi32>, tensor<?x2xf32>
  return
}

// CHECK-LABEL: func.func @expert_ffn
func.func @expert_ffn(%x: tensor<?x192xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>,
                      %up: tensor<16x384x192xbf16>, %down: tensor<16x192x192xbf16>, %init: tensor<?x192xf32>) {
  // CHECK: moert.expert_ffn silu glu ins({{.*}}) up(%{{.*}} : tensor<16x384x192xbf16>) down(%{{.*}} : tensor<16x192x192xbf16>) outs({{.*}}) -> tensor<?x192xf32>
  %y = moert.expert_ffn silu glu ins(%x, %ids, %w : tensor<?x192xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
      up(%up : tensor<16x384x192xbf16>) down(%down : tensor<16x192x192xbf16>)
      outs(%init : tensor<?x192xf32>) -> tensor<?x192xf32>
  return
}

// CHECK-LABEL: func.func @memref
func.func @memref(%x: memref<?x192xf32>, %w: memref<192x64xbf16>, %y: memref<?x64xf32>) {
  // CHECK: moert.gemm ins(%{{.*}}, %{{.*}} : memref<?x192xf32>, memref<192x64xbf16>) outs(%{{.*}} : memref<?x64xf32>)
  moert.gemm ins(%x, %w : memref<?x192xf32>, memref<192x64xbf16>) outs(%y : memref<?x64xf32>)
  return
}

// CHECK-LABEL: func.func @device
func.func @device(%t: index, %host: memref<?x192xf32>, %weights: memref<192xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>) -> i1 {
  // CHECK: moert.on_device
  %is = moert.on_device
  // CHECK: moert.device_alloc(%{{.*}}) : memref<?x192xf32>
  %memory = moert.device_alloc(%t) : memref<?x192xf32>
  // CHECK: moert.device_constant %{{.*}} : memref<192xf32>
  %copy = moert.device_constant %weights : memref<192xf32>
  // CHECK: moert.transfer up %{{.*}} to %{{.*}} : memref<?x192xf32>
  moert.transfer up %host to %memory : memref<?x192xf32>
  // CHECK: moert.launch kernel 0(%{{.*}}, %{{.*}} : memref<?x192xf32>, memref<192xf32>) numbers(%{{.*}} : index)
  moert.launch kernel 0 (%memory, %copy : memref<?x192xf32>, memref<192xf32>) numbers(%t : index)
  // CHECK: moert.launch_layer 0 ins(%{{.*}} : memref<?x192xf32>) choices(%{{.*}}, %{{.*}} : memref<?x2xi32>, memref<?x2xf32>) outs(%{{.*}} : memref<?x192xf32>)
  moert.launch_layer 0 ins(%memory : memref<?x192xf32>) choices(%ids, %w : memref<?x2xi32>, memref<?x2xf32>)
      outs(%memory : memref<?x192xf32>)
  // CHECK: moert.launch_layer 1 ins(%{{.*}} : memref<?x192xf32>) residual(%{{.*}} : memref<?x192xf32>) outs(%{{.*}} : memref<?x192xf32>)
  moert.launch_layer 1 ins(%memory : memref<?x192xf32>) residual(%memory : memref<?x192xf32>) outs(%memory : memref<?x192xf32>)
  // CHECK: moert.transfer down %{{.*}} to %{{.*}} : memref<?x192xf32>
  moert.transfer down %memory to %host : memref<?x192xf32>
  // CHECK: moert.device_free %{{.*}} : memref<?x192xf32>
  moert.device_free %memory : memref<?x192xf32>
  return %is : i1
}

// CHECK-LABEL: func.func @launches
func.func @launches(%t: index, %host: memref<?x192xf32>, %device: memref<?x192xf32>, %x: memref<?x192xf32>, %y: memref<?x192xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>) {
  // CHECK: moert.transfer up
  // CHECK: moert.transfer down
  moert.transfer up %host to %device : memref<?x192xf32>
  moert.transfer down %device to %host : memref<?x192xf32>
  // CHECK: moert.launch kernel 0
  moert.launch kernel 0 (%x, %y : memref<?x192xf32>, memref<?x192xf32>) numbers(%t : index)
  // CHECK: moert.launch_layer 0
  moert.launch_layer 0 ins(%x : memref<?x192xf32>) choices(%ids, %w : memref<?x2xi32>, memref<?x2xf32>)
      outs(%y : memref<?x192xf32>)
  return
}
