// RUN: moe-opt %s --moe-raise-experts --split-input-file --verify-diagnostics

// Two branches for a router of three.

func.func @lost_expert(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<0.5> : tensor<4x3xf32>
  %g0 = onnx.constant dense<0.1> : tensor<4x3xf32>
  %u0 = onnx.constant dense<0.2> : tensor<4x3xf32>
  %d0 = onnx.constant dense<0.3> : tensor<3x4xf32>
  %g1 = onnx.constant dense<0.4> : tensor<4x3xf32>
  %u1 = onnx.constant dense<0.5> : tensor<4x3xf32>
  %d1 = onnx.constant dense<0.6> : tensor<3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %c0 = onnx.constant dense<0> : tensor<i64>
  %c1 = onnx.constant dense<1> : tensor<i64>
  // expected-error @below {{the router scores 3 experts, but the file holds no branch for expert 2}}
  %z = onnx.node "MatMul" v 13 (%x, %r) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %w, %i = onnx.node "TopK" v 11 (%p, %k) : (tensor<?x3xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %q0 = onnx.node "Equal" v 13 (%i, %c0) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi1>
  %f0 = onnx.node "Cast" v 13 (%q0) {to = 1 : i64} : (tensor<?x1xi1>) -> tensor<?x1xf32>
  %w0 = onnx.node "Mul" v 14 (%w, %f0) : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %a0 = onnx.node "MatMul" v 13 (%x, %g0) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %b0 = onnx.node "MatMul" v 13 (%x, %u0) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %s0 = onnx.node "Sigmoid" v 13 (%a0) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %t0 = onnx.node "Mul" v 14 (%a0, %s0) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %h0 = onnx.node "Mul" v 14 (%t0, %b0) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %o0 = onnx.node "MatMul" v 13 (%h0, %d0) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %y0 = onnx.node "Mul" v 14 (%o0, %w0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %q1 = onnx.node "Equal" v 13 (%i, %c1) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi1>
  %f1 = onnx.node "Cast" v 13 (%q1) {to = 1 : i64} : (tensor<?x1xi1>) -> tensor<?x1xf32>
  %w1 = onnx.node "Mul" v 14 (%w, %f1) : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %a1 = onnx.node "MatMul" v 13 (%x, %g1) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %b1 = onnx.node "MatMul" v 13 (%x, %u1) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %s1 = onnx.node "Sigmoid" v 13 (%a1) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %t1 = onnx.node "Mul" v 14 (%a1, %s1) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %h1 = onnx.node "Mul" v 14 (%t1, %b1) : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %o1 = onnx.node "MatMul" v 13 (%h1, %d1) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %y1 = onnx.node "Mul" v 14 (%o1, %w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add" v 14 (%y0, %y1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// A trace that lists the experts its example reached, and splits the list.

func.func @baked_list(%z: tensor<?x4xf32>) -> (tensor<1xi64>, tensor<1xi64>) {
  %k = onnx.constant dense<1> : tensor<1xi64>
  %depth = onnx.constant dense<4> : tensor<i64>
  %offon = onnx.constant dense<[0, 1]> : tensor<2xi64>
  %axes = onnx.constant dense<[0, 1]> : tensor<2xi64>
  %ones = onnx.constant dense<1> : tensor<2xi64>
  %v, %i = onnx.node "TopK" v 11 (%z, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %oh = onnx.node "OneHot" v 11 (%i, %depth, %offon) : (tensor<?x1xi64>, tensor<i64>, tensor<2xi64>) -> tensor<?x1x4xi64>
  %hit = onnx.node "ReduceSum" v 13 (%oh, %axes) {keepdims = 0 : i64} : (tensor<?x1x4xi64>, tensor<2xi64>) -> tensor<4xi64>
  %nz = onnx.node "NonZero" v 13 (%hit) : (tensor<4xi64>) -> tensor<1x?xi64>
  %nt = onnx.node "Transpose" v 13 (%nz) {perm = array<i64: 1, 0>} : (tensor<1x?xi64>) -> tensor<?x1xi64>
  // expected-error @below {{Split: the file runs exactly 2 experts, those that the input it was traced with reached}}
  %s:2 = onnx.node "Split" v 13 (%nt, %ones) {axis = 0 : i64} : (tensor<?x1xi64>, tensor<2xi64>) -> (tensor<1x1xi64>, tensor<1x1xi64>)
  %a = onnx.node "Squeeze" v 13 (%s#0, %k) : (tensor<1x1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %b = onnx.node "Squeeze" v 13 (%s#1, %k) : (tensor<1x1xi64>, tensor<1xi64>) -> tensor<1xi64>
  return %a, %b : tensor<1xi64>, tensor<1xi64>
}

// -----

// Ids that point past the last expert.

moe.bank @up in "m" at 0 length 96 : tensor<2x4x3xf32>
moe.bank @down in "m" at 96 length 96 : tensor<2x3x4xf32>
func.func @expert_out_of_range(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<0.5> : tensor<4x2xf32>
  %up = moe.weight @up : tensor<2x4x3xf32>
  %down = moe.weight @down : tensor<2x3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<i64>
  // expected-error @below {{the layer of this router is broken: expert id 2 is chosen, but there are 2 experts (ids from 0 to 1)}}
  %z = onnx.node "MatMul" v 13 (%x, %r) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %w, %i1 = onnx.node "TopK" v 11 (%p, %k) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %i = onnx.node "Squeeze" v 13 (%i1, %k) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %other = onnx.node "Add" v 14 (%one, %i) : (tensor<i64>, tensor<?xi64>) -> tensor<?xi64>
  %xu = onnx.node "Unsqueeze" v 13 (%x, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1x4xf32>
  %ui = onnx.node "Gather" v 13 (%up, %other) : (tensor<2x4x3xf32>, tensor<?xi64>) -> tensor<?x4x3xf32>
  %di = onnx.node "Gather" v 13 (%down, %other) : (tensor<2x3x4xf32>, tensor<?xi64>) -> tensor<?x3x4xf32>
  %a = onnx.node "MatMul" v 13 (%xu, %ui) : (tensor<?x1x4xf32>, tensor<?x4x3xf32>) -> tensor<?x1x3xf32>
  %h = onnx.node "Relu" v 13 (%a) : (tensor<?x1x3xf32>) -> tensor<?x1x3xf32>
  %o = onnx.node "MatMul" v 13 (%h, %di) : (tensor<?x1x3xf32>, tensor<?x3x4xf32>) -> tensor<?x1x4xf32>
  %os = onnx.node "Squeeze" v 13 (%o, %k) : (tensor<?x1x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %y = onnx.node "Mul" v 14 (%os, %w) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
