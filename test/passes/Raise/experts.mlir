// RUN: moe-opt %s --moe-raise-experts --split-input-file | FileCheck %s
// RUN: moe-opt %s --moe-raise-experts --split-input-file --remarks-filter='moe-.*' --remark-format=emitRemark 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// Every expert on all tokens, masked; gated experts, [in, out] weights, top 1.

// REMARK:        remark: [Passed] experts | {{.*}}encoding=subgraph, experts=2, top_k=1
// CHECK:         moe.pool @moe0 {
// CHECK-NEXT:      moe.expert @e0 glu silu gate @weight transposed up @weight_0 transposed down @weight_1 transposed
// CHECK-NEXT:      moe.expert @e1 glu silu gate @weight_2 transposed up @weight_3 transposed down @weight_4 transposed
// CHECK-LABEL:   func.func @dense_mask(
// CHECK-SAME:      %[[X:[^:]+]]: tensor<?x4xf32>
// CHECK-NOT:       onnx.node
// CHECK:           %[[L:.*]] = moe.router linear %[[X]] weight(%{{.*}} : tensor<4x2xf32>) transposed
// CHECK:           %[[G:.*]]:2 = moe.gate softmax %[[L]] over @moe0 top_k 1
// CHECK-NOT:       norm
// CHECK:           %[[Y:.*]] = moe.apply @moe0 %[[X]] ids %[[G]]#0 weights %[[G]]#1
// CHECK-NOT:       onnx.node
// CHECK:           return %[[Y]]
func.func @dense_mask(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<0.5> : tensor<4x2xf32>
  %g0 = onnx.constant dense<0.1> : tensor<4x3xf32>
  %u0 = onnx.constant dense<0.2> : tensor<4x3xf32>
  %d0 = onnx.constant dense<0.3> : tensor<3x4xf32>
  %g1 = onnx.constant dense<0.4> : tensor<4x3xf32>
  %u1 = onnx.constant dense<0.5> : tensor<4x3xf32>
  %d1 = onnx.constant dense<0.6> : tensor<3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %c0 = onnx.constant dense<0> : tensor<i64>
  %c1 = onnx.constant dense<1> : tensor<i64>
  %z = onnx.node "MatMul" v 13 (%x, %r) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %w, %i = onnx.node "TopK" v 11 (%p, %k) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
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

// The expert that a column chooses is measured, not read off the order of the
// nodes: here logit 0 chooses the second branch. Scores are sigmoids, chosen with a bias and
// scaled; sequences are rows.

// CHECK:           moe.expert @e0 ffn relu up @up[1] down @down[1]
// CHECK-NEXT:      moe.expert @e1 ffn relu up @up[0] down @down[0]
// CHECK-LABEL:   func.func @tiled_swapped(
// CHECK-SAME:      %[[X:[^:]+]]: tensor<?x?x4xf32>
// CHECK:           %[[ROWS:.*]] = onnx.node "Reshape" v 13 (%[[X]],
// CHECK:           %[[L:.*]] = moe.router linear %[[ROWS]]
// CHECK:           %[[G:.*]]:2 = moe.gate sigmoid %[[L]] over @moe0 top_k 1 choice_bias(%{{.*}} : tensor<2xf32>) scale 2.500000e+00
// CHECK:           %[[Y:.*]] = moe.apply @moe0 %[[ROWS]] ids %[[G]]#0 weights %[[G]]#1
// CHECK:           return %[[Y]]
moe.bank @up in "m" at 0 length 96 : tensor<2x3x4xf32>
moe.bank @down in "m" at 96 length 96 : tensor<2x4x3xf32>
func.func @tiled_swapped(%x3: tensor<?x?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<0.5> : tensor<2x4xf32>
  %bias = onnx.constant dense<[0.25, 0.0]> : tensor<2xf32>
  %scale = onnx.constant dense<2.5> : tensor<f32>
  %up = moe.weight @up : tensor<2x3x4xf32>
  %down = moe.weight @down : tensor<2x4x3xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %swap = onnx.constant dense<[1, 0]> : tensor<2xi64>
  %rows = onnx.constant dense<[-1, 4]> : tensor<2xi64>
  %first = onnx.constant dense<0> : tensor<1xi64>
  %last = onnx.constant dense<2> : tensor<1xi64>
  %depth = onnx.constant dense<2> : tensor<i64>
  %offon = onnx.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %x = onnx.node "Reshape" v 13 (%x3, %rows) : (tensor<?x?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %z = onnx.node "Gemm" v 13 (%x, %r) {transB = 1 : i64} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %p = onnx.node "Sigmoid" v 13 (%z) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %c = onnx.node "Add" v 14 (%p, %bias) : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %v, %i = onnx.node "TopK" v 11 (%c, %k) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %g = onnx.node "GatherElements" v 13 (%p, %i) {axis = 1 : i64} : (tensor<?x2xf32>, tensor<?x1xi64>) -> tensor<?x1xf32>
  %w = onnx.node "Mul" v 14 (%g, %scale) : (tensor<?x1xf32>, tensor<f32>) -> tensor<?x1xf32>
  %oh = onnx.node "OneHot" v 11 (%i, %depth, %offon) : (tensor<?x1xi64>, tensor<i64>, tensor<2xf32>) -> tensor<?x1x2xf32>
  %sq = onnx.node "Squeeze" v 13 (%oh, %k) : (tensor<?x1x2xf32>, tensor<1xi64>) -> tensor<?x2xf32>
  %m = onnx.node "Mul" v 14 (%sq, %w) : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
  %mt = onnx.node "Transpose" v 13 (%m) {perm = array<i64: 1, 0>} : (tensor<?x2xf32>) -> tensor<2x?xf32>
  %ms = onnx.node "Gather" v 13 (%mt, %swap) {axis = 0 : i64} : (tensor<2x?xf32>, tensor<2xi64>) -> tensor<2x?xf32>
  %mu = onnx.node "Unsqueeze" v 13 (%ms, %last) : (tensor<2x?xf32>, tensor<1xi64>) -> tensor<2x?x1xf32>
  %xe = onnx.node "Unsqueeze" v 13 (%x, %first) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<1x?x4xf32>
  %ut = onnx.node "Transpose" v 13 (%up) {perm = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %dt = onnx.node "Transpose" v 13 (%down) {perm = array<i64: 0, 2, 1>} : (tensor<2x4x3xf32>) -> tensor<2x3x4xf32>
  %a = onnx.node "MatMul" v 13 (%xe, %ut) : (tensor<1x?x4xf32>, tensor<2x4x3xf32>) -> tensor<2x?x3xf32>
  %h = onnx.node "Relu" v 13 (%a) : (tensor<2x?x3xf32>) -> tensor<2x?x3xf32>
  %o = onnx.node "MatMul" v 13 (%h, %dt) : (tensor<2x?x3xf32>, tensor<2x3x4xf32>) -> tensor<2x?x4xf32>
  %ow = onnx.node "Mul" v 14 (%o, %mu) : (tensor<2x?x4xf32>, tensor<2x?x1xf32>) -> tensor<2x?x4xf32>
  %y = onnx.node "ReduceSum" v 13 (%ow, %first) {keepdims = 0 : i64} : (tensor<2x?x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Weights gathered per token; but gate and down projection of different
// experts: no such layer.

// REMARK:        remark: [Missed] experts | {{.*}}gate, up and down weights of different experts
// CHECK-LABEL:   func.func @near_miss_ids
// CHECK-NOT:       moe.apply
moe.bank @up in "m" at 0 length 96 : tensor<2x4x3xf32>
moe.bank @down in "m" at 96 length 96 : tensor<2x3x4xf32>
func.func @near_miss_ids(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<0.5> : tensor<4x2xf32>
  %up = moe.weight @up : tensor<2x4x3xf32>
  %down = moe.weight @down : tensor<2x3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %one = onnx.constant dense<1> : tensor<i64>
  %z = onnx.node "MatMul" v 13 (%x, %r) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %w, %i1 = onnx.node "TopK" v 11 (%p, %k) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %i = onnx.node "Squeeze" v 13 (%i1, %k) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %other = onnx.node "Sub" v 14 (%one, %i) : (tensor<i64>, tensor<?xi64>) -> tensor<?xi64>
  %xu = onnx.node "Unsqueeze" v 13 (%x, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1x4xf32>
  %ui = onnx.node "Gather" v 13 (%up, %i) : (tensor<2x4x3xf32>, tensor<?xi64>) -> tensor<?x4x3xf32>
  %di = onnx.node "Gather" v 13 (%down, %other) : (tensor<2x3x4xf32>, tensor<?xi64>) -> tensor<?x3x4xf32>
  %a = onnx.node "MatMul" v 13 (%xu, %ui) : (tensor<?x1x4xf32>, tensor<?x4x3xf32>) -> tensor<?x1x3xf32>
  %h = onnx.node "Relu" v 13 (%a) : (tensor<?x1x3xf32>) -> tensor<?x1x3xf32>
  %o = onnx.node "MatMul" v 13 (%h, %di) : (tensor<?x1x3xf32>, tensor<?x3x4xf32>) -> tensor<?x1x4xf32>
  %os = onnx.node "Squeeze" v 13 (%o, %k) : (tensor<?x1x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  %y = onnx.node "Mul" v 14 (%os, %w) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// A weight that depends on the other tokens is no gate.

// REMARK:        remark: [Missed] experts | {{.*}}Reason=
// CHECK-LABEL:   func.func @near_miss_batch
// CHECK-NOT:       moe.apply
moe.bank @up in "m" at 0 length 96 : tensor<2x4x3xf32>
moe.bank @down in "m" at 96 length 96 : tensor<2x3x4xf32>
func.func @near_miss_batch(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<0.5> : tensor<4x2xf32>
  %up = moe.weight @up : tensor<2x4x3xf32>
  %down = moe.weight @down : tensor<2x3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %zero = onnx.constant dense<0> : tensor<1xi64>
  %z = onnx.node "MatMul" v 13 (%x, %r) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %w1, %i1 = onnx.node "TopK" v 11 (%p, %k) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %all = onnx.node "ReduceMax" v 18 (%w1, %zero) {keepdims = 1 : i64} : (tensor<?x1xf32>, tensor<1xi64>) -> tensor<1x1xf32>
  %w = onnx.node "Div" v 14 (%w1, %all) : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
  %i = onnx.node "Squeeze" v 13 (%i1, %k) : (tensor<?x1xi64>, tensor<1xi64>) -> tensor<?xi64>
  %xu = onnx.node "Unsqueeze" v 13 (%x, %k) : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x1x4xf32>
  %ui = onnx.node "Gather" v 13 (%up, %i) : (tensor<2x4x3xf32>, tensor<?xi64>) -> tensor<?x4x3xf32>
  %di = onnx.node "Gather" v 13 (%down, %i) : (tensor<2x3x4xf32>, tensor<?xi64>) -> tensor<?x3x4xf32>
  %a = onnx.node "MatMul" v 13 (%xu, %ui) : (tensor<?x1x4xf32>, tensor<?x4x3xf32>) -> tensor<?x1x3xf32>
  %h = onnx.node "Relu" v 13 (%a) : (tensor<?x1x3xf32>) -> tensor<?x1x3xf32>
  %hw = onnx.node "Unsqueeze" v 13 (%w, %k) : (tensor<?x1xf32>, tensor<1xi64>) -> tensor<?x1x1xf32>
  %o = onnx.node "MatMul" v 13 (%h, %di) : (tensor<?x1x3xf32>, tensor<?x3x4xf32>) -> tensor<?x1x4xf32>
  %ow = onnx.node "Mul" v 14 (%o, %hw) : (tensor<?x1x4xf32>, tensor<?x1x1xf32>) -> tensor<?x1x4xf32>
  %y = onnx.node "Squeeze" v 13 (%ow, %k) : (tensor<?x1x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Experts over one input that no router chooses are not a layer.

// CHECK-LABEL:   func.func @ensemble
// CHECK-NOT:       moe.apply
func.func @ensemble(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %u0 = onnx.constant dense<0.2> : tensor<4x3xf32>
  %d0 = onnx.constant dense<0.3> : tensor<3x4xf32>
  %u1 = onnx.constant dense<0.5> : tensor<4x3xf32>
  %d1 = onnx.constant dense<0.6> : tensor<3x4xf32>
  %b0 = onnx.node "MatMul" v 13 (%x, %u0) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %h0 = onnx.node "Relu" v 13 (%b0) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %o0 = onnx.node "MatMul" v 13 (%h0, %d0) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %b1 = onnx.node "MatMul" v 13 (%x, %u1) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %h1 = onnx.node "Relu" v 13 (%b1) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %o1 = onnx.node "MatMul" v 13 (%h1, %d1) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add" v 14 (%o0, %o1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// The router reads the rows in another order than the experts: its linear
// layer stays a layer over those rows.

// CHECK-LABEL:   func.func @router_of_other_rows(
// CHECK-SAME:      %[[X:[^:]+]]: tensor<3x4xf32>
// CHECK:           %[[R:.*]] = onnx.node "Gather" v 13 (%[[X]],
// CHECK:           %[[L:.*]] = moe.router linear %[[R]]
// CHECK:           moe.apply @moe0 %[[X]]
moe.bank @up in "m" at 0 length 96 : tensor<2x4x3xf32>
moe.bank @down in "m" at 96 length 96 : tensor<2x3x4xf32>
func.func @router_of_other_rows(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %r = onnx.constant dense<0.5> : tensor<4x2xf32>
  %up = moe.weight @up : tensor<2x4x3xf32>
  %down = moe.weight @down : tensor<2x3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %order = onnx.constant dense<[2, 0, 1]> : tensor<3xi64>
  %xr = onnx.node "Gather" v 13 (%x, %order) {axis = 0 : i64} : (tensor<3x4xf32>, tensor<3xi64>) -> tensor<3x4xf32>
  %z = onnx.node "MatMul" v 13 (%xr, %r) : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<3x2xf32>) -> tensor<3x2xf32>
  %w, %i1 = onnx.node "TopK" v 11 (%p, %k) : (tensor<3x2xf32>, tensor<1xi64>) -> (tensor<3x1xf32>, tensor<3x1xi64>)
  %i = onnx.node "Squeeze" v 13 (%i1, %k) : (tensor<3x1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %xu = onnx.node "Unsqueeze" v 13 (%x, %k) : (tensor<3x4xf32>, tensor<1xi64>) -> tensor<3x1x4xf32>
  %ui = onnx.node "Gather" v 13 (%up, %i) : (tensor<2x4x3xf32>, tensor<3xi64>) -> tensor<3x4x3xf32>
  %di = onnx.node "Gather" v 13 (%down, %i) : (tensor<2x3x4xf32>, tensor<3xi64>) -> tensor<3x3x4xf32>
  %a = onnx.node "MatMul" v 13 (%xu, %ui) : (tensor<3x1x4xf32>, tensor<3x4x3xf32>) -> tensor<3x1x3xf32>
  %h = onnx.node "Relu" v 13 (%a) : (tensor<3x1x3xf32>) -> tensor<3x1x3xf32>
  %o = onnx.node "MatMul" v 13 (%h, %di) : (tensor<3x1x3xf32>, tensor<3x3x4xf32>) -> tensor<3x1x4xf32>
  %os = onnx.node "Squeeze" v 13 (%o, %k) : (tensor<3x1x4xf32>, tensor<1xi64>) -> tensor<3x4xf32>
  %y = onnx.node "Mul" v 14 (%os, %w) : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// The size of a value from before the layer: it is as long as the tokens,
// whatever is in it.

// REMARK:        remark: [Passed] experts | {{.*}}encoding=subgraph, experts=2, top_k=1
// CHECK-LABEL:   func.func @size_from_before(
// CHECK:           moe.apply @moe0
func.func @size_from_before(%a: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<[[0.5, 0.1], [0.2, 0.4], [-0.3, 0.6], [0.7, -0.2]]> : tensor<4x2xf32>
  %e = onnx.constant dense<0.5> : tensor<4x3xf32>
  %u0 = onnx.constant dense<0.2> : tensor<4x3xf32>
  %d0 = onnx.constant dense<0.3> : tensor<3x4xf32>
  %u1 = onnx.constant dense<0.4> : tensor<4x3xf32>
  %d1 = onnx.constant dense<0.6> : tensor<3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %c0 = onnx.constant dense<0> : tensor<i64>
  %c1 = onnx.constant dense<1> : tensor<i64>
  %four = onnx.constant dense<4> : tensor<1xi64>
  %m = onnx.node "Gemm" v 13 (%a, %e) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %v, %j = onnx.node "TopK" v 11 (%m, %k) : (tensor<?x3xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %rows = onnx.node "Shape" v 15 (%j) {end = 1 : i64} : (tensor<?x1xi64>) -> tensor<1xi64>
  %sizes = onnx.node "Concat" v 13 (%rows, %four) {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %zero = onnx.node "ConstantOfShape" v 9 (%sizes) : (tensor<2xi64>) -> tensor<?x4xf32>
  %x = onnx.node "Softplus" v 1 (%a) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %z = onnx.node "MatMul" v 13 (%x, %r) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %w, %i = onnx.node "TopK" v 11 (%p, %k) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %q0 = onnx.node "Equal" v 13 (%i, %c0) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi1>
  %f0 = onnx.node "Cast" v 13 (%q0) {to = 1 : i64} : (tensor<?x1xi1>) -> tensor<?x1xf32>
  %w0 = onnx.node "Mul" v 14 (%w, %f0) : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %t0 = onnx.node "MatMul" v 13 (%x, %u0) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %h0 = onnx.node "Relu" v 14 (%t0) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %o0 = onnx.node "MatMul" v 13 (%h0, %d0) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %y0 = onnx.node "Mul" v 14 (%o0, %w0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %q1 = onnx.node "Equal" v 13 (%i, %c1) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi1>
  %f1 = onnx.node "Cast" v 13 (%q1) {to = 1 : i64} : (tensor<?x1xi1>) -> tensor<?x1xf32>
  %w1 = onnx.node "Mul" v 14 (%w, %f1) : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %t1 = onnx.node "MatMul" v 13 (%x, %u1) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %h1 = onnx.node "Relu" v 14 (%t1) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %o1 = onnx.node "MatMul" v 13 (%h1, %d1) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %y1 = onnx.node "Mul" v 14 (%o1, %w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %s0 = onnx.node "Add" v 14 (%zero, %y0) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add" v 14 (%s0, %y1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// As many as there are numbers other than zero: nothing says how many.

// REMARK:        remark: [Missed] experts | {{.*}}depends on an argument of the graph
// CHECK-LABEL:   func.func @near_miss_size(
// CHECK-NOT:       moe.apply
func.func @near_miss_size(%a: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = onnx.constant dense<[[0.5, 0.1], [0.2, 0.4], [-0.3, 0.6], [0.7, -0.2]]> : tensor<4x2xf32>
  %u0 = onnx.constant dense<0.2> : tensor<4x3xf32>
  %d0 = onnx.constant dense<0.3> : tensor<3x4xf32>
  %u1 = onnx.constant dense<0.4> : tensor<4x3xf32>
  %d1 = onnx.constant dense<0.6> : tensor<3x4xf32>
  %k = onnx.constant dense<1> : tensor<1xi64>
  %c0 = onnx.constant dense<0> : tensor<i64>
  %c1 = onnx.constant dense<1> : tensor<i64>
  %n = onnx.node "NonZero" v 13 (%a) : (tensor<?x4xf32>) -> tensor<2x?xi64>
  %t = onnx.node "Transpose" v 13 (%n) {perm = array<i64: 1, 0>} : (tensor<2x?xi64>) -> tensor<?x2xi64>
  %four = onnx.constant dense<4> : tensor<1xi64>
  %rows = onnx.node "Shape" v 15 (%t) {end = 1 : i64} : (tensor<?x2xi64>) -> tensor<1xi64>
  %sizes = onnx.node "Concat" v 13 (%rows, %four) {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %zero = onnx.node "ConstantOfShape" v 9 (%sizes) : (tensor<2xi64>) -> tensor<?x4xf32>
  %x = onnx.node "Softplus" v 1 (%a) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %z = onnx.node "MatMul" v 13 (%x, %r) : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.node "Softmax" v 13 (%z) : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %w, %i = onnx.node "TopK" v 11 (%p, %k) : (tensor<?x2xf32>, tensor<1xi64>) -> (tensor<?x1xf32>, tensor<?x1xi64>)
  %q0 = onnx.node "Equal" v 13 (%i, %c0) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi1>
  %f0 = onnx.node "Cast" v 13 (%q0) {to = 1 : i64} : (tensor<?x1xi1>) -> tensor<?x1xf32>
  %w0 = onnx.node "Mul" v 14 (%w, %f0) : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %t0 = onnx.node "MatMul" v 13 (%x, %u0) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %h0 = onnx.node "Relu" v 14 (%t0) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %o0 = onnx.node "MatMul" v 13 (%h0, %d0) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %y0 = onnx.node "Mul" v 14 (%o0, %w0) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %q1 = onnx.node "Equal" v 13 (%i, %c1) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi1>
  %f1 = onnx.node "Cast" v 13 (%q1) {to = 1 : i64} : (tensor<?x1xi1>) -> tensor<?x1xf32>
  %w1 = onnx.node "Mul" v 14 (%w, %f1) : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  %t1 = onnx.node "MatMul" v 13 (%x, %u1) : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
  %h1 = onnx.node "Relu" v 14 (%t1) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %o1 = onnx.node "MatMul" v 13 (%h1, %d1) : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
  %y1 = onnx.node "Mul" v 14 (%o1, %w1) : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
  %s0 = onnx.node "Add" v 14 (%zero, %y0) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.node "Add" v 14 (%s0, %y1) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
