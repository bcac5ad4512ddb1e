// RUN: moe-opt %s --split-input-file --moe-verify-phase=optimized --verify-diagnostics -o /dev/null

func.func @fine(%x: tensor<?x4xf32>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  %n = moert.rms_norm ins(%x, %s : tensor<?x4xf32>, tensor<4xf32>) outs(%x : tensor<?x4xf32>) epsilon 1.0e-6 -> tensor<?x4xf32>
  return %n : tensor<?x4xf32>
}

// -----

func.func @vector(%x: vector<4xf32>) -> vector<4xf32> {
  // expected-error @below {{'vector.broadcast' op may not occur in phase optimized}}
  %y = vector.broadcast %x : vector<4xf32> to vector<4xf32>
  return %y : vector<4xf32>
}
