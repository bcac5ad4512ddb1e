// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s
// RUN: moe-opt %s --canonicalize --cse | FileCheck %s

// A closer look into MoE (arXiv 2406.18219; kamanphoebe/Look-into-MoEs): observers beside an ordinary layer. They
// survive clean-up, and no result depends on them. Output similarities need all experts on one input: whoever reads the
// profile evaluates them on its sample of inputs.

moe.bank @router in "m" key "router" : tensor<2x64xf32>
moe.bank @gate in "m" key "w1" : tensor<2x128x64xf32>
moe.bank @up in "m" key "w3" : tensor<2x128x64xf32>
moe.bank @down in "m" key "w2" : tensor<2x64x128xf32>

moe.pool @ffn0 {
  moe.expert @e0 glu silu gate @gate[0] up @up[0] down @down[0]
  moe.expert @e1 glu silu gate @gate[1] up @up[1] down @down[1]
}

// CHECK-LABEL: func.func @layer
func.func @layer(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = moe.weight @router : tensor<2x64xf32>
  // CHECK: %[[Z:.*]] = moe.router
  %logits = moe.router linear %x weight(%w : tensor<2x64xf32>) : tensor<?x64xf32> -> tensor<?x2xf32>
  // CHECK: moe.observe logits "layers.0.moe" score softmax %[[Z]]
  moe.observe logits "layers.0.moe" score softmax %logits : tensor<?x2xf32>
  // CHECK: %[[G:.*]]:2 = moe.gate softmax
  %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 norm selected : tensor<?x2xf32>
  // CHECK: moe.observe choice "layers.0.moe" over @ffn0 %[[G]]#0, %[[G]]#1
  moe.observe choice "layers.0.moe" over @ffn0 %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: moe.observe inputs "layers.0.moe" over @ffn0 %[[X:.*]], %[[G]]#0
  moe.observe inputs "layers.0.moe" over @ffn0 %x, %ids : tensor<?x64xf32>, tensor<?x2xi32>
  // CHECK: moe.observe input_gram "layers.0.moe" %[[X]]
  moe.observe input_gram "layers.0.moe" %x : tensor<?x64xf32>
  // CHECK: %[[Y:.*]] = moe.apply @ffn0 %[[X]]
  %y = moe.apply @ffn0 %x ids %ids weights %weights
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  // CHECK: moe.observe outputs "layers.0.moe" %[[Y]]
  moe.observe outputs "layers.0.moe" %y : tensor<?x64xf32>
  // CHECK: moe.observe sublayer_cosine "layers.0.moe" %[[X]], %[[Y]]
  moe.observe sublayer_cosine "layers.0.moe" %x, %y : tensor<?x64xf32>, tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
