// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// Branch-Train-Merge (arXiv 2208.03306; hadasah/btm) and c-BTM (arXiv 2303.14177;
// kernelmachine/cbtm): experts are whole language models, loaded when first
// needed; the next token's distributions are mixed as probabilities.

func.func private @model0(tensor<?x?xi64>) -> tensor<?x256xf32>
func.func private @model1(tensor<?x?xi64>) -> tensor<?x256xf32>
func.func private @model2(tensor<?x?xi64>) -> tensor<?x256xf32>
func.func private @model3(tensor<?x?xi64>) -> tensor<?x256xf32>

// CHECK-LABEL: moe.pool @forest
// CHECK-COUNT-4: moe.expert_fn @{{.*}} calls @model{{[0-3]}} lazy
moe.pool @forest {
  moe.expert_fn @news calls @model0 lazy
  moe.expert_fn @code calls @model1 lazy
  moe.expert_fn @law calls @model2 lazy
  moe.expert_fn @reviews calls @model3 lazy
}

// Posterior = prior times what each model gave the previous token, normalised;
// the two likeliest models run. The prior is carried from step to step.

// CHECK-LABEL: func.func @next_token
func.func @next_token(%tokens: tensor<?x?xi64>, %evidence: tensor<1x4xf32>) -> tensor<?x256xf32> {
  // CHECK: %[[PRIOR:.*]] = moe.state "prior" init dense<2.500000e-01> : tensor<1x4xf32> -> tensor<1x4xf32>
  %prior = moe.state "prior" init dense<0.25> : tensor<1x4xf32> -> tensor<1x4xf32>
  // CHECK: %[[JOINT:.*]] = arith.mulf %[[PRIOR]]
  %joint = arith.mulf %prior, %evidence : tensor<1x4xf32>
  // CHECK: %[[POSTERIOR:.*]] = moe.gate none %[[JOINT]] dense norm selected : tensor<1x4xf32>
  %posterior = moe.gate none %joint dense norm selected : tensor<1x4xf32>
  // CHECK: moe.state "prior" = %[[POSTERIOR]] : tensor<1x4xf32>
  moe.state "prior" = %posterior : tensor<1x4xf32>
  // CHECK: %[[GIVEN:.*]] = moe.router given %[[POSTERIOR]]
  %logits = moe.router given %posterior : tensor<1x4xf32> -> tensor<?x4xf32>
  // CHECK: moe.gate none %[[GIVEN]] over @forest top_k 2 norm selected granularity sequence
  %ids, %weights = moe.gate none %logits over @forest top_k 2 norm selected granularity sequence : tensor<?x4xf32>
  // CHECK: moe.apply @forest %{{.*}} ids %{{.*}} weights %{{.*}} combine probability
  %y = moe.apply @forest %tokens ids %ids weights %weights combine probability
      : (tensor<?x?xi64>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x256xf32>
  return %y : tensor<?x256xf32>
}

// c-BTM: softmax of the squared distances of the context's embedding to the
// clusters' centres over T = 0.1, top 2, renormalised.

// CHECK-LABEL: func.func @clusters
func.func @clusters(%tokens: tensor<?x?xi64>, %embedding: tensor<?x100xf32>, %centres: tensor<4x100xf32>) -> tensor<?x256xf32> {
  // CHECK: moe.router distance %{{.*}} weight(%{{.*}} : tensor<4x100xf32>) temperature 1.000000e-01
  %logits = moe.router distance %embedding weight(%centres : tensor<4x100xf32>) temperature 0.1 : tensor<?x100xf32> -> tensor<?x4xf32>
  // CHECK: moe.gate softmax %{{.*}} over @forest top_k 2 norm selected granularity sequence
  %ids, %weights = moe.gate softmax %logits over @forest top_k 2 norm selected granularity sequence : tensor<?x4xf32>
  // CHECK: moe.apply @forest %{{.*}} combine probability
  %y = moe.apply @forest %tokens ids %ids weights %weights combine probability
      : (tensor<?x?xi64>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x256xf32>
  return %y : tensor<?x256xf32>
}

// Parameter averaging: the forest as one model, tensor by tensor.

moe.bank @w0 in "model0" key "w" : tensor<64x64xf32>
moe.bank @w1 in "model1" key "w" : tensor<64x64xf32>
// CHECK: moe.bank @soup recipe(#moe.mix<[#moe.slice<@w0>, #moe.slice<@w1>], [5.000000e-01, 5.000000e-01]>) : tensor<64x64xf32>
moe.bank @soup recipe(#moe.mix<[#moe.slice<@w0>, #moe.slice<@w1>], [0.5, 0.5]>) : tensor<64x64xf32>
