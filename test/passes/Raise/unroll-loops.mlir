// RUN: moe-opt %s --moe-unroll-loops | FileCheck %s

moe.bank @w in "m" at 0 length 128 : tensor<2x4x4xf32>

// A matrix of the stack in each turn: two turns, one after the other; the
// result keeps its type.

// CHECK-LABEL: func.func @experts
// CHECK-SAME:    %[[X:[^:]+]]: tensor<3x4xf32>
func.func @experts(%x: tensor<3x4xf32>) -> tensor<?x4xf32> {
  %w = moe.weight @w : tensor<2x4x4xf32>
  %two = onnx.constant dense<2> : tensor<i64>
  %true = onnx.constant dense<true> : tensor<i1>
  // CHECK-NOT: "Loop"
  // CHECK:     %[[C0:.*]] = onnx.constant dense<0> : tensor<1xi64>
  // CHECK:     %[[M0:.*]] = onnx.node "Gather" v 13 (%{{.*}}, %[[C0]])
  // CHECK:     %[[S0:.*]] = onnx.node "Squeeze" v 13 (%[[M0]])
  // CHECK:     %[[Y0:.*]] = onnx.node "MatMul" v 13 (%[[X]], %[[S0]])
  // CHECK:     %[[C1:.*]] = onnx.constant dense<1> : tensor<1xi64>
  // CHECK:     %[[M1:.*]] = onnx.node "Gather" v 13 (%{{.*}}, %[[C1]])
  // CHECK:     %[[S1:.*]] = onnx.node "Squeeze" v 13 (%[[M1]])
  // CHECK:     %[[Y1:.*]] = onnx.node "MatMul" v 13 (%[[Y0]], %[[S1]])
  // CHECK:     return %[[Y1]] : tensor<?x4xf32>
  %y = onnx.node "Loop" v 16 (%two, %true, %x) do {
  ^bb0(%i: tensor<1xi64>, %go: tensor<i1>, %a: tensor<?x4xf32>):
    %m = onnx.node "Gather" v 13 (%w, %i) : (tensor<2x4x4xf32>, tensor<1xi64>) -> tensor<1x4x4xf32>
    %s = onnx.node "Squeeze" v 13 (%m) : (tensor<1x4x4xf32>) -> tensor<4x4xf32>
    %b = onnx.node "MatMul" v 13 (%a, %s) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %on = onnx.node "Identity" v 16 (%go) : (tensor<i1>) -> tensor<i1>
    onnx.yield %on, %b : tensor<i1>, tensor<?x4xf32>
  } : (tensor<i64>, tensor<i1>, tensor<3x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// What is carried may change its place and its type.

// CHECK-LABEL: func.func @swap
// CHECK-SAME:    %[[X:[^:]+]]: tensor<1x4x4xf32>
func.func @swap(%x: tensor<1x4x4xf32>) -> (tensor<?x4x4xf32>, tensor<?x4x4xf32>) {
  %w = moe.weight @w : tensor<2x4x4xf32>
  %one = onnx.constant dense<1> : tensor<i64>
  %none = onnx.none
  // CHECK:     %[[M:.*]] = onnx.node "Gather"
  // CHECK:     %[[P:.*]] = onnx.node "Identity" v 16 (%[[M]]) : (tensor<1x4x4xf32>) -> tensor<?x4x4xf32>
  // CHECK:     %[[Q:.*]] = onnx.node "Identity" v 16 (%[[X]]) : (tensor<1x4x4xf32>) -> tensor<?x4x4xf32>
  // CHECK:     return %[[P]], %[[Q]]
  %y:2 = onnx.node "Loop" v 16 (%one, %none, %x, %x) do {
  ^bb0(%i: tensor<1xi64>, %go: tensor<i1>, %a: tensor<?x4x4xf32>, %b: tensor<?x4x4xf32>):
    %m = onnx.node "Gather" v 13 (%w, %i) : (tensor<2x4x4xf32>, tensor<1xi64>) -> tensor<1x4x4xf32>
    onnx.yield %go, %m, %a : tensor<i1>, tensor<1x4x4xf32>, tensor<?x4x4xf32>
  } : (tensor<i64>, none, tensor<1x4x4xf32>, tensor<1x4x4xf32>) -> (tensor<?x4x4xf32>, tensor<?x4x4xf32>)
  return %y#0, %y#1 : tensor<?x4x4xf32>, tensor<?x4x4xf32>
}

// The same matrix each time is no stack of experts; a loop that may end early
// is not known to reach all; rows that are collected stay in their loop.

// CHECK-LABEL: func.func @others
func.func @others(%x: tensor<1x4x4xf32>, %c: tensor<i1>, %n: tensor<i64>) -> (tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<2x1x4x4xf32>) {
  %w = moe.weight @w : tensor<2x4x4xf32>
  %two = onnx.constant dense<2> : tensor<i64>
  %first = onnx.constant dense<0> : tensor<1xi64>
  %true = onnx.constant dense<true> : tensor<i1>
  // CHECK: "Loop"
  %same = onnx.node "Loop" v 16 (%two, %true, %x) do {
  ^bb0(%i: tensor<1xi64>, %go: tensor<i1>, %a: tensor<1x4x4xf32>):
    %m = onnx.node "Gather" v 13 (%w, %first) : (tensor<2x4x4xf32>, tensor<1xi64>) -> tensor<1x4x4xf32>
    onnx.yield %go, %m : tensor<i1>, tensor<1x4x4xf32>
  } : (tensor<i64>, tensor<i1>, tensor<1x4x4xf32>) -> tensor<1x4x4xf32>
  // CHECK: "Loop"
  %early = onnx.node "Loop" v 16 (%two, %true, %x) do {
  ^bb0(%i: tensor<1xi64>, %go: tensor<i1>, %a: tensor<1x4x4xf32>):
    %m = onnx.node "Gather" v 13 (%w, %i) : (tensor<2x4x4xf32>, tensor<1xi64>) -> tensor<1x4x4xf32>
    onnx.yield %c, %m : tensor<i1>, tensor<1x4x4xf32>
  } : (tensor<i64>, tensor<i1>, tensor<1x4x4xf32>) -> tensor<1x4x4xf32>
  // CHECK: "Loop"
  %open = onnx.node "Loop" v 16 (%n, %true, %x) do {
  ^bb0(%i: tensor<1xi64>, %go: tensor<i1>, %a: tensor<1x4x4xf32>):
    %m = onnx.node "Gather" v 13 (%w, %i) : (tensor<2x4x4xf32>, tensor<1xi64>) -> tensor<1x4x4xf32>
    onnx.yield %go, %m : tensor<i1>, tensor<1x4x4xf32>
  } : (tensor<i64>, tensor<i1>, tensor<1x4x4xf32>) -> tensor<1x4x4xf32>
  // CHECK: "Loop"
  %rows = onnx.node "Loop" v 16 (%two, %true) do {
  ^bb0(%i: tensor<1xi64>, %go: tensor<i1>):
    %m = onnx.node "Gather" v 13 (%w, %i) : (tensor<2x4x4xf32>, tensor<1xi64>) -> tensor<1x4x4xf32>
    onnx.yield %go, %m : tensor<i1>, tensor<1x4x4xf32>
  } : (tensor<i64>, tensor<i1>) -> tensor<2x1x4x4xf32>
  return %same, %early, %open, %rows : tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<2x1x4x4xf32>
}
