// RUN: moe-opt %s --convert-onnx-to-linalg --split-input-file --verify-diagnostics

func.func @no_iteration(%n: tensor<i64>, %go: tensor<i1>, %x: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{needs a body that takes the iteration, the condition and the carried values}}
  %r = onnx.node "Loop" v 16 (%n, %go, %x) do {
  ^bb0(%a: tensor<f32>):
    onnx.yield %go, %a : tensor<i1>, tensor<f32>
  } : (tensor<i64>, tensor<i1>, tensor<f32>) -> tensor<f32>
  return %r : tensor<f32>
}

// -----

func.func @two_counts(%n: tensor<1x1xi64>, %go: tensor<i1>, %x: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{needs a trip count of one element, not 'tensor<1x1xi64>'}}
  %r = onnx.node "Loop" v 16 (%n, %go, %x) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<f32>):
    onnx.yield %c, %a : tensor<i1>, tensor<f32>
  } : (tensor<1x1xi64>, tensor<i1>, tensor<f32>) -> tensor<f32>
  return %r : tensor<f32>
}

// -----

func.func @condition_at_the_start(%n: tensor<i64>, %go: tensor<*xi1>, %x: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{needs a condition of one element, not 'tensor<*xi1>'}}
  %r = onnx.node "Loop" v 16 (%n, %go, %x) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<f32>):
    onnx.yield %c, %a : tensor<i1>, tensor<f32>
  } : (tensor<i64>, tensor<*xi1>, tensor<f32>) -> tensor<f32>
  return %r : tensor<f32>
}

// -----

func.func @condition_in_the_body(%n: tensor<i64>, %go: tensor<i1>, %on: tensor<2x2xi1>, %x: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{needs a condition of one element, not 'tensor<2x2xi1>'}}
  %r = onnx.node "Loop" v 16 (%n, %go, %x) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<f32>):
    onnx.yield %on, %a : tensor<2x2xi1>, tensor<f32>
  } : (tensor<i64>, tensor<i1>, tensor<f32>) -> tensor<f32>
  return %r : tensor<f32>
}

// -----

func.func @unknown_rank(%n: tensor<i64>, %go: tensor<i1>, %x: tensor<*xf32>) -> tensor<*xf32> {
  // expected-error @below {{carries value 0 of unknown rank, which cannot be lowered}}
  %r = onnx.node "Loop" v 16 (%n, %go, %x) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    onnx.yield %c, %a : tensor<i1>, tensor<*xf32>
  } : (tensor<i64>, tensor<i1>, tensor<*xf32>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @changing_rank(%n: tensor<i64>, %go: tensor<i1>, %x: tensor<f32>, %y: tensor<2xf32>) -> tensor<*xf32> {
  // expected-error @below {{carries value 0 whose rank changes, which cannot be lowered}}
  %r = onnx.node "Loop" v 16 (%n, %go, %x) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %a: tensor<*xf32>):
    onnx.yield %c, %y : tensor<i1>, tensor<2xf32>
  } : (tensor<i64>, tensor<i1>, tensor<f32>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @open_rows(%n: tensor<i64>, %go: tensor<i1>, %x: tensor<*xf32>) -> tensor<*xf32> {
  // expected-error @below {{gives output 0 of unknown rank, which cannot be lowered}}
  %r = onnx.node "Loop" v 16 (%n, %go) do {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>):
    onnx.yield %c, %x : tensor<i1>, tensor<*xf32>
  } : (tensor<i64>, tensor<i1>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}
