// RUN: moe-opt %s --convert-moert-to-kernels --verify-diagnostics --split-input-file

func.func @doubles(%x: memref<?x8xf64>, %s: memref<8xf64>, %y: memref<?x8xf64>) {
  // expected-error @+1 {{'moert.rms_norm' op has no kernel for these types and sizes}}
  moert.rms_norm ins(%x, %s : memref<?x8xf64>, memref<8xf64>) outs(%y : memref<?x8xf64>) epsilon 1.0e-6
  return
}

// -----

// Panels of 16 columns are for 256-bit vectors.
func.func @narrow(%x: memref<?x8xf32>, %w: memref<1x2x8x16xf32>, %y: memref<?x32xf32>) {
  // expected-error @+1 {{'moert.gemm' op has no kernel for these types and sizes}}
  moert.gemm ins(%x, %w : memref<?x8xf32>, memref<1x2x8x16xf32>) outs(%y : memref<?x32xf32>)
  return
}
