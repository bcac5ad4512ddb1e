// RUN: moe-opt %s --split-input-file --verify-diagnostics --moe-prune-experts='keep=1 score=magnitude'
// RUN: not moe-opt %s --split-input-file --moe-prune-experts='keep=1 score=magnitude semantics=null' 2>&1 | FileCheck %s
// RUN: not moe-opt %s --split-input-file --moe-reduce-top-k='k=1' 2>&1 | FileCheck %s --check-prefix=IDS
// CHECK: error: layer 'l0': has merged experts; prune before merging, for a removed expert may serve several columns
// IDS: error: layer 'l0': something else reads which experts its gate chooses

// Layers that cannot lose an expert.

moe.bank @m recipe(dense<0.5> : tensor<2x4x4xf32>) : tensor<2x4x4xf32>
moe.bank @router recipe(dense<0.125> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.pool @ffn {
  moe.expert @e0 ffn relu up @m[0] down @m[0]
  moe.expert @e1 ffn relu up @m[1] down @m[1]
}
func.func @given(%x: tensor<?x4xf32>, %z: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %ids, %g = moe.gate softmax %z over @ffn top_k 1 : tensor<?x2xf32>
  // expected-error @below {{layer 'l0': only columns of a linear router with stored weights can be changed}}
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0" : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

moe.bank @m recipe(dense<0.5> : tensor<2x4x4xf32>) : tensor<2x4x4xf32>
moe.bank @router recipe(dense<0.125> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.pool @ffn {
  moe.expert @e0 ffn relu up @m[0] down @m[0]
  moe.expert @e1 ffn relu up @m[1] down @m[1]
}
func.func @read(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x2xf32>) {
  %w = moe.weight @router : tensor<2x4xf32>
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 1 : tensor<?x2xf32>
  // expected-error @below {{layer 'l0': something else reads its logits}}
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0" : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x2xf32>
}

// -----

moe.bank @m recipe(dense<0.5> : tensor<2x4x4xf32>) : tensor<2x4x4xf32>
moe.bank @router recipe(dense<0.125> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.pool @ffn {
  moe.expert @e0 ffn relu up @m[0] down @m[0]
  moe.alias @e1 of @e0
}
func.func @merged(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = moe.weight @router : tensor<2x4xf32>
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 1 : tensor<?x2xf32>
  // expected-error @below {{layer 'l0': has merged experts; prune before merging, for a removed expert may serve several columns}}
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0" : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

moe.bank @m recipe(dense<0.5> : tensor<2x4x4xf32>) : tensor<2x4x4xf32>
moe.bank @router recipe(dense<0.125> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.pool @ffn {
  moe.expert @e0 ffn relu up @m[0] down @m[0]
  moe.expert @e1 ffn relu up @m[1] down @m[1]
}
func.func @ids(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x2xi32>) {
  %w = moe.weight @router : tensor<2x4xf32>
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 2 : tensor<?x2xf32>
  // expected-error @below {{layer 'l0': something else reads which experts its gate chooses}}
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0" : (tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return %y, %ids : tensor<?x4xf32>, tensor<?x2xi32>
}

// -----
// expected-error @above {{the module has no MoE layer that can be compressed}}

moe.bank @m recipe(dense<0.5> : tensor<2x4x4xf32>) : tensor<2x4x4xf32>
moe.bank @router recipe(dense<0.125> : tensor<2x4xf32>) : tensor<2x4xf32>
moe.pool @ffn {
  moe.expert @e0 ffn relu up @m[0] down @m[0]
  moe.expert @e1 ffn relu up @m[1] down @m[1]
}
// Two layers over one pool: neither is compressed.
func.func @shared(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = moe.weight @router : tensor<2x4xf32>
  %z = moe.router linear %x weight(%w : tensor<2x4xf32>) : tensor<?x4xf32> -> tensor<?x2xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 1 : tensor<?x2xf32>
  %y = moe.apply @ffn %x ids %ids weights %g : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %u = moe.apply @ffn %y ids %ids weights %g : (tensor<?x4xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %u : tensor<?x4xf32>
}
