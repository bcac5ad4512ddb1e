// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

moe.bank @up in "a" at 0 length 294912 : tensor<2x192x384xbf16>

// CHECK-LABEL: func.func @weight
func.func @weight() -> memref<2x192x384xbf16> {
  // CHECK: moert.weight_ref @up : memref<2x192x384xbf16>
  %w = moert.weight_ref @up : memref<2x192x384xbf16>
  return %w : memref<2x192x384xbf16>
}

// CHECK-LABEL: func.func @marks
func.func @marks(%ids: tensor<?x2xi32>, %real: i1, %t: index) {
  // CHECK: moert.phase "experts"
  moert.phase "experts"
  // CHECK: moert.observe choice %{{.*}} of "layers.0" experts 16 : tensor<?x2xi32>
  moert.observe choice %ids of "layers.0" experts 16 : tensor<?x2xi32>
  // CHECK: moert.phase{{$}}
  moert.phase
  // CHECK: moert.check %{{.*}}, "a logit of layer '%s' is not a number (token %lld)" where "layers.0" value %{{.*}}
  moert.check %real, "a logit of layer '%s' is not a number (token %lld)" where "layers.0" value %t
  // CHECK: moert.check %{{.*}}, "100 %% sure"
  moert.check %real, "100 %% sure"
  return
}
