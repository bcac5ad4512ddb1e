// RUN: moe-opt %s --convert-moert-to-kernels | FileCheck %s

// Equal ops share one function; the phases are what --trace shows.
// CHECK-LABEL: func.func @twice(
// CHECK:         moert.phase "rms_norm"
// CHECK:         call @[[$NORM:moe_rms_norm_8_f32_[0-9A-F]+]](
// CHECK-NEXT:    moert.phase
// CHECK:         call @[[$NORM]](
func.func @twice(%x: memref<?x8xf32>, %s: memref<8xf32>, %y: memref<?x8xf32>, %z: memref<?x8xf32>) {
  moert.rms_norm ins(%x, %s : memref<?x8xf32>, memref<8xf32>) outs(%y : memref<?x8xf32>) epsilon 1.0e-6
  moert.rms_norm ins(%y, %s : memref<?x8xf32>, memref<8xf32>) outs(%z : memref<?x8xf32>) epsilon 1.0e-6
  return
}

// Views are made dense first, and copied back where they are written.
// CHECK-LABEL: func.func @views(
// CHECK:         %[[IN:.*]] = memref.alloc
// CHECK:         linalg.copy ins(%arg0 {{.*}} outs(%[[IN]]
// CHECK:         %[[OUT:.*]] = memref.alloc
// CHECK:         call @moe_rms_norm_8
// CHECK:         linalg.copy ins(%[[OUT]] {{.*}} outs(%arg2
// CHECK-DAG:     memref.dealloc %[[IN]]
// CHECK-DAG:     memref.dealloc %[[OUT]]
func.func @views(%x: memref<?x8xf32, strided<[16, 1]>>, %s: memref<8xf32>, %y: memref<?x8xf32, strided<[16, 1]>>) {
  moert.rms_norm ins(%x, %s : memref<?x8xf32, strided<[16, 1]>>, memref<8xf32>)
      outs(%y : memref<?x8xf32, strided<[16, 1]>>) epsilon 1.0e-6
  return
}

// Attention reads keys and values of a cache where they lie, with room behind
// each head.
// CHECK-LABEL: func.func @cached(
// CHECK-NOT:     memref.alloc
// CHECK:         memref.extract_strided_metadata %arg1
// CHECK-NOT:     linalg.copy
// CHECK:         call @moe_attention_6_2x32_causal
func.func @cached(%q: memref<?x?x6x32xf32>, %k: memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>,
                  %v: memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>, %y: memref<?x?x6x32xf32>) {
  moert.attention ins(%q, %k, %v : memref<?x?x6x32xf32>, memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>,
                      memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>)
      outs(%y : memref<?x?x6x32xf32>) scale 0.25 causal
  return
}

// CHECK:       func.func private @[[$NORM]](
// CHECK:         llvm.call @moert_parallel_for(
// CHECK:       func.func private @[[$NORM]]_rows(
