// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// Mowst (arXiv 2311.05185; facebookresearch/mowst-gnn): a weak MLP sees a node's
// features, a strong graph network its neighbourhood. The dispersion of the
// weak prediction, through a small MLP, says how far to trust it: jointly
// (Mowst*, a mixture of both) or separately (a draw per node).

moe.bank @w in "m" key "weak.weight" : tensor<4x16xf32>
moe.bank @gate_w in "m" key "gate.weight" : tensor<1x2xf32>

func.func private @weak(%x: tensor<?x16xf32>, %indptr: tensor<?xi32>, %indices: tensor<?xi32>) -> tensor<?x4xf32> {
  %w = moe.weight @w : tensor<4x16xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x16xf32>
  %init = tensor.empty(%n) : tensor<?x4xf32>
  %a = moert.gemm ins(%x, %w : tensor<?x16xf32>, tensor<4x16xf32>) outs(%init : tensor<?x4xf32>) {transpose_weight} -> tensor<?x4xf32>
  return %a : tensor<?x4xf32>
}

// Two graph convolutions D^-1/2 (A + I) D^-1/2 X W, rows of A in CSR form.
func.func private @gcn(tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4xf32>

func.func private @confidence(%ve: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = moe.weight @gate_w : tensor<1x2xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %ve, %c0 : tensor<?x2xf32>
  %init = tensor.empty(%n) : tensor<?x1xf32>
  %g = moert.gemm ins(%ve, %w : tensor<?x2xf32>, tensor<1x2xf32>) outs(%init : tensor<?x1xf32>) {transpose_weight} -> tensor<?x1xf32>
  return %g : tensor<?x1xf32>
}

// CHECK-LABEL: moe.pool @experts
// CHECK-NEXT:    moe.expert_fn @weak calls @weak
// CHECK-NEXT:    moe.expert_fn @strong calls @gcn
moe.pool @experts {
  moe.expert_fn @weak calls @weak
  moe.expert_fn @strong calls @gcn
}

// CHECK-LABEL: func.func @joint
func.func @joint(%x: tensor<?x16xf32>, %indptr: tensor<?xi32>, %indices: tensor<?xi32>) -> tensor<?x4xf32> {
  // CHECK: moe.confidence_gate @experts %{{.*}} extras %{{.*}}, %{{.*}} confidence @confidence both joint hops 2 double_softmax :
  %y, %g = moe.confidence_gate @experts %x extras %indptr, %indices confidence @confidence both joint hops 2 double_softmax
      : (tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @separate
func.func @separate(%x: tensor<?x16xf32>, %indptr: tensor<?xi32>, %indices: tensor<?xi32>) -> tensor<?x4xf32> {
  // CHECK: moe.confidence_gate @experts %{{.*}} confidence @confidence both separate hops 2 double_softmax seed 1 :
  %y, %g = moe.confidence_gate @experts %x extras %indptr, %indices confidence @confidence both separate hops 2 double_softmax seed 1
      : (tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return %y : tensor<?x4xf32>
}
