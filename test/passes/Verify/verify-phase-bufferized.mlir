// RUN: moe-opt %s --split-input-file --moe-verify-phase=bufferized --verify-diagnostics -o /dev/null

moe.bank @w in "m" key "w" : tensor<4xf32>
func.func @fine(%x: memref<?x192xf32>, %w: memref<192x64xbf16>, %y: memref<?x64xf32>) {
  moert.gemm ins(%x, %w : memref<?x192xf32>, memref<192x64xbf16>) outs(%y : memref<?x64xf32>)
  return
}

// -----

func.func @tensor_left() {
  // expected-error @below {{'arith.constant' op uses 'tensor<4xf32>', which may not occur in phase bufferized}}
  %0 = arith.constant dense<1.0> : tensor<4xf32>
  return
}

// -----

func.func @tensor_dialect(%x: f32) {
  // expected-error @below {{'tensor.from_elements' op may not occur in phase bufferized}}
  %0 = tensor.from_elements %x : tensor<1xf32>
  return
}
