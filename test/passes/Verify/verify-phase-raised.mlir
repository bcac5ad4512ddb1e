// RUN: moe-opt %s --split-input-file --moe-verify-phase=raised --verify-diagnostics -o /dev/null

moe.pool @p {
  moe.null_expert @a zero
  moe.null_expert @b copy
}
func.func @fine(%x: tensor<?x4xf32>, %z: tensor<?x2xf32>, %s: tensor<4xf32>, %i: i1) -> tensor<?x4xf32> {
  cf.assert %i, "index"
  %ids, %w = moe.gate softmax %z over @p top_k 1 : tensor<?x2xf32>
  %y = moe.apply @p %x ids %ids weights %w : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %n = moert.rms_norm ins(%y, %s : tensor<?x4xf32>, tensor<4xf32>) outs(%x : tensor<?x4xf32>) epsilon 1.0e-6 -> tensor<?x4xf32>
  return %n : tensor<?x4xf32>
}

// -----

func.func @onnx(%x: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{'onnx.node' op may not occur in phase raised}}
  %y = onnx.node "Relu" v 14 (%x) : (tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

// The op is allowed, but not on memrefs.

// expected-error @below {{'func.func' op uses 'memref<?x192xf32>', which may not occur in phase raised}}
func.func @memref(%x: memref<?x192xf32>, %w: memref<192x64xbf16>, %y: memref<?x64xf32>) {
  moert.gemm ins(%x, %w : memref<?x192xf32>, memref<192x64xbf16>) outs(%y : memref<?x64xf32>)
  return
}
