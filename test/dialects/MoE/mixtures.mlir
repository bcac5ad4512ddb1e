// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

moe.bank @b in "m" key "b" : tensor<4x64x4xf32>
moe.bank @a in "m" key "a" : tensor<4x4x64xf32>

moe.pool @adapters {
  moe.expert @e0 linear up factored<left = <@b[0]>, right = <@a[0]>, scale = 4.0>
  moe.expert @e1 linear up factored<left = <@b[1]>, right = <@a[1]>, scale = 4.0>
  moe.expert @e2 linear up factored<left = <@b[2]>, right = <@a[2]>, scale = 4.0>
  moe.expert @e3 linear up factored<left = <@b[3]>, right = <@a[3]>, scale = 4.0>
}

// CHECK-LABEL: func.func @soft_merge
func.func @soft_merge(%x: tensor<?x64xf32>, %p: tensor<?x4xf32>) -> tensor<?x64xf32> {
  // CHECK: moe.soft_merge @adapters %{{.*}} weights %{{.*}} : (tensor<?x64xf32>, tensor<?x4xf32>) -> tensor<?x64xf32>
  %y = moe.soft_merge @adapters %x weights %p
      : (tensor<?x64xf32>, tensor<?x4xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

func.func private @weak(tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4xf32>
func.func private @strong(tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4xf32>
func.func private @mlp(tensor<?x2xf32>) -> tensor<?x1xf32>
moe.pool @experts {
  moe.expert_fn @weak calls @weak
  moe.expert_fn @strong calls @strong
}

// CHECK-LABEL: func.func @confidence
func.func @confidence(%x: tensor<?x16xf32>, %ptr: tensor<?xi32>, %nbr: tensor<?xi32>) {
  // CHECK: moe.confidence_gate @experts %{{.*}} extras %{{.*}}, %{{.*}} confidence @mlp both joint hops 2 : (tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  %y, %g = moe.confidence_gate @experts %x extras %ptr, %nbr confidence @mlp both joint hops 2
      : (tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  // CHECK: moe.confidence_gate @experts %{{.*}} extras %{{.*}}, %{{.*}} confidence @mlp variance separate hops 2 double_softmax seed 7 :
  %y2, %g2 = moe.confidence_gate @experts %x extras %ptr, %nbr confidence @mlp variance separate hops 2 double_softmax seed 7
      : (tensor<?x16xf32>, tensor<?xi32>, tensor<?xi32>) -> (tensor<?x4xf32>, tensor<?x1xf32>)
  return
}

func.func private @hyper(tensor<?x128xf32>) -> (tensor<?x64x16xf32>, tensor<?x16xf32>, tensor<?x16x64xf32>, tensor<?x64xf32>)

// CHECK-LABEL: func.func @hyper_adapter
func.func @hyper_adapter(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %emb: tensor<8x128xf32>,
    %down: tensor<28x64x16xf32>, %db: tensor<28x16xf32>, %up: tensor<28x16x64xf32>, %ub: tensor<28x64xf32>) {
  // CHECK: moe.hyper_adapter %{{.*}} ids %{{.*}} experts 8 generator @hyper embeddings %{{.*}} :
  %y = moe.hyper_adapter %x ids %ids experts 8 generator @hyper embeddings %emb
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<8x128xf32>) -> tensor<?x64xf32>
  // Folded: 8 over 2 is 28 sets.
  // CHECK: moe.hyper_adapter %{{.*}} ids %{{.*}} experts 8 table %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} :
  %z = moe.hyper_adapter %x ids %ids experts 8 table %down, %db, %up, %ub
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<28x64x16xf32>, tensor<28x16xf32>, tensor<28x16x64xf32>, tensor<28x64xf32>) -> tensor<?x64xf32>
  return
}

moe.pool @ffn0 {
  moe.null_expert @a zero
  moe.null_expert @b copy
}

// CHECK-LABEL: func.func @observe
func.func @observe(%x: tensor<?x64xf32>, %ids: tensor<?x2xi32>, %w: tensor<?x2xf32>) {
  // CHECK: moe.observe choice "layers.0.moe" over @ffn0 %{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>
  moe.observe choice "layers.0.moe" over @ffn0 %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
  // CHECK: moe.observe choice "layers.0.moe" over @ffn0 %{{.*}} : tensor<?x2xi32>
  moe.observe choice "layers.0.moe" over @ffn0 %ids : tensor<?x2xi32>
  // CHECK: moe.observe logits "layers.0.moe" score softmax %{{.*}} : tensor<?x2xf32>
  moe.observe logits "layers.0.moe" score softmax %w : tensor<?x2xf32>
  // CHECK: moe.observe inputs "layers.0.moe" over @ffn0 %{{.*}}, %{{.*}} : tensor<?x64xf32>, tensor<?x2xi32>
  moe.observe inputs "layers.0.moe" over @ffn0 %x, %ids : tensor<?x64xf32>, tensor<?x2xi32>
  // CHECK: moe.observe input_gram "layers.0.moe" %{{.*}} : tensor<?x64xf32>
  moe.observe input_gram "layers.0.moe" %x : tensor<?x64xf32>
  // CHECK: moe.observe sublayer_cosine "layers.0" %{{.*}}, %{{.*}} : tensor<?x64xf32>, tensor<?x64xf32>
  moe.observe sublayer_cosine "layers.0" %x, %x : tensor<?x64xf32>, tensor<?x64xf32>
  // CHECK: moe.observe block_cosine "layers.0"
  moe.observe block_cosine "layers.0" %x, %x : tensor<?x64xf32>, tensor<?x64xf32>
  // CHECK: moe.observe outputs "layers.0.moe" %{{.*}} : tensor<?x64xf32>
  moe.observe outputs "layers.0.moe" %x : tensor<?x64xf32>
  return
}
