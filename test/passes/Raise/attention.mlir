// RUN: moe-opt %s --split-input-file --moe-raise-attention | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-raise-attention --remarks-filter='moe-.*' -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Four heads over two of keys, scaled on one side, a mask of keys that are
// there, rows without keys cleared of NaN. The transpositions around it are
// part of the operator.

// CHECK-LABEL: func.func @masked
// CHECK-SAME: %[[Q:[^:]*]]: tensor<?x?x4x8xf32> {{.*}}, %[[K:[^:]*]]: tensor<?x2x?x8xf32> {{.*}}, %[[V:[^:]*]]: tensor<?x2x?x8xf32> {{.*}}, %[[M:[^:]*]]: tensor<?x?xi64>
func.func @masked(%q: tensor<?x?x4x8xf32> {moe.dims = ["b", "s", 4, 8]},
                  %k: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %v: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %m: tensor<?x?xi64> {moe.dims = ["b", "l"]}) -> tensor<?x?x4x8xf32> {
  %half = onnx.constant dense<0.5> : tensor<f32>
  %zero = onnx.constant dense<0.0> : tensor<f32>
  %hidden = onnx.constant dense<0xFF800000> : tensor<f32>
  %a2 = onnx.constant dense<2> : tensor<1xi64>
  %a12 = onnx.constant dense<[1, 2]> : tensor<2xi64>
  %twice = onnx.constant dense<[1, 1, 2, 1, 1]> : tensor<5xi64>
  %four = onnx.constant dense<[0, 4, -1, 8]> : tensor<4xi64>
  %qh = onnx.node "Transpose" v 13 (%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x4x8xf32>) -> tensor<?x4x?x8xf32>
  %qs = onnx.node "Mul" v 14 (%qh, %half) : (tensor<?x4x?x8xf32>, tensor<f32>) -> tensor<?x4x?x8xf32>
  %k5 = onnx.node "Unsqueeze" v 13 (%k, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ke = onnx.node "Expand" v 13 (%k5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %kr = onnx.node "Reshape" v 14 (%ke, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %kt = onnx.node "Transpose" v 13 (%kr) {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x4x?x8xf32>) -> tensor<?x4x8x?xf32>
  %v5 = onnx.node "Unsqueeze" v 13 (%v, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ve = onnx.node "Expand" v 13 (%v5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %vr = onnx.node "Reshape" v 14 (%ve, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %mb = onnx.node "Cast" v 19 (%m) {to = 9 : i64} : (tensor<?x?xi64>) -> tensor<?x?xi1>
  %m4 = onnx.node "Unsqueeze" v 13 (%mb, %a12) : (tensor<?x?xi1>, tensor<2xi64>) -> tensor<?x1x1x?xi1>
  %add = onnx.node "Where" v 16 (%m4, %zero, %hidden) : (tensor<?x1x1x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x1x1x?xf32>
  %s0 = onnx.node "MatMul" v 13 (%qs, %kt) : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
  %s1 = onnx.node "Add" v 14 (%s0, %add) : (tensor<?x4x?x?xf32>, tensor<?x1x1x?xf32>) -> tensor<?x4x?x?xf32>
  %p0 = onnx.node "Softmax" v 13 (%s1) {axis = -1 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %nan = onnx.node "IsNaN" v 13 (%p0) : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xi1>
  %p1 = onnx.node "Where" v 16 (%nan, %zero, %p0) : (tensor<?x4x?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  // CHECK: %[[Y:.*]] = moert.attention ins(%[[Q]], %[[K]], %[[V]] :
  // CHECK-SAME: key_mask(%[[M]] : tensor<?x?xi64>)
  // CHECK-SAME: scale 5.000000e-01
  // CHECK-NOT: causal
  // CHECK-NOT: onnx.node
  // CHECK: return %[[Y]]
  // REMARK: raised attention
  %o = onnx.node "MatMul" v 13 (%p1, %vr) : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %y = onnx.node "Transpose" v 13 (%o) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x4x?x8xf32>) -> tensor<?x?x4x8xf32>
  return %y : tensor<?x?x4x8xf32>
}

// -----

// Causal within a window of six, a cap, a huge negative number instead of
// minus infinity; rows lie first, heads after them.

// CHECK-LABEL: func.func @window
// CHECK-SAME: %[[Q:[^:]*]]: tensor<1x?x2x4xf32> {{.*}}, %[[K:[^:]*]]: tensor<1x?x2x4xf32> {{.*}}, %[[V:[^:]*]]: tensor<1x?x2x4xf32>
func.func @window(%q: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]},
                  %k: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]},
                  %v: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]}) -> tensor<1x2x?x4xf32> {
  %cap = onnx.constant dense<20.0> : tensor<f32>
  %hidden = onnx.constant dense<-3.40282347E+38> : tensor<f32>
  %n0 = onnx.constant dense<0> : tensor<i64>
  %n1 = onnx.constant dense<1> : tensor<i64>
  %n6 = onnx.constant dense<6> : tensor<i64>
  %a1 = onnx.constant dense<1> : tensor<1xi64>
  %qh = onnx.node "Transpose" v 13 (%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %kt = onnx.node "Transpose" v 13 (%k) {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x4x?xf32>
  %vh = onnx.node "Transpose" v 13 (%v) {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %len = onnx.node "Shape" v 15 (%q) {start = 1 : i64, end = 2 : i64} : (tensor<1x?x2x4xf32>) -> tensor<1xi64>
  %n = onnx.node "Squeeze" v 13 (%len) : (tensor<1xi64>) -> tensor<i64>
  %at = onnx.node "Range" v 11 (%n0, %n, %n1) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %row = onnx.node "Unsqueeze" v 13 (%at, %a1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %far = onnx.node "Sub" v 14 (%row, %n6) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi64>
  %after = onnx.node "Greater" v 13 (%at, %row) : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %before = onnx.node "LessOrEqual" v 16 (%at, %far) : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %out = onnx.node "Or" v 7 (%after, %before) : (tensor<?x?xi1>, tensor<?x?xi1>) -> tensor<?x?xi1>
  %s0 = onnx.node "MatMul" v 13 (%qh, %kt) : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %s1 = onnx.node "Div" v 14 (%s0, %cap) : (tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %s2 = onnx.node "Tanh" v 13 (%s1) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %s3 = onnx.node "Mul" v 14 (%s2, %cap) : (tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %s4 = onnx.node "Where" v 16 (%out, %hidden, %s3) : (tensor<?x?xi1>, tensor<f32>, tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p = onnx.node "Softmax" v 13 (%s4) {axis = 3 : i64} : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  // CHECK-DAG: %[[KH:.*]] = moert.kv_append ins(%[[K]]
  // CHECK-DAG: %[[VH:.*]] = moert.kv_append ins(%[[V]]
  // CHECK: %[[Y:.*]] = moert.attention ins(%[[Q]], %[[KH]], %[[VH]] :
  // CHECK-SAME: scale 1.000000e+00 causal {softcap = 2.000000e+01 : f64, window = 6 : i64}
  // CHECK: %[[T:.*]] = onnx.node "Transpose" v 13 (%[[Y]])
  // CHECK: return %[[T]]
  // REMARK: raised attention
  %o = onnx.node "MatMul" v 13 (%p, %vh) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %o : tensor<1x2x?x4xf32>
}

// -----

// Numbers of its own for every query and key stay a bias.

// CHECK-LABEL: func.func @biased
// CHECK-SAME: %[[B:[^:]*]]: tensor<1x2x?x?xf32> {moe.dims = [1, 2, "s", "s"]})
func.func @biased(%q: tensor<1x2x?x4xf32> {moe.dims = [1, 2, "s", 4]},
                  %k: tensor<1x2x?x4xf32> {moe.dims = [1, 2, "s", 4]},
                  %v: tensor<1x2x?x4xf32> {moe.dims = [1, 2, "s", 4]},
                  %b: tensor<1x2x?x?xf32> {moe.dims = [1, 2, "s", "s"]}) -> tensor<1x2x?x4xf32> {
  %kt = onnx.node "Transpose" v 13 (%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x4xf32>) -> tensor<1x2x4x?xf32>
  %s0 = onnx.node "MatMul" v 13 (%q, %kt) : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %s1 = onnx.node "Add" v 14 (%b, %s0) : (tensor<1x2x?x?xf32>, tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p = onnx.node "Softmax" v 13 (%s1) {axis = -1 : i64} : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  // CHECK: moert.attention {{.*}} bias(%[[B]] :
  // REMARK: raised attention
  %o = onnx.node "MatMul" v 13 (%p, %v) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %o : tensor<1x2x?x4xf32>
}

// -----

// Weights that are multiplied after the softmax are no attention.

// CHECK-LABEL: func.func @scaled_after
func.func @scaled_after(%q: tensor<1x2x?x4xf32> {moe.dims = [1, 2, "s", 4]},
                        %k: tensor<1x2x?x4xf32> {moe.dims = [1, 2, "s", 4]},
                        %v: tensor<1x2x?x4xf32> {moe.dims = [1, 2, "s", 4]}) -> tensor<1x2x?x4xf32> {
  %two = onnx.constant dense<2.0> : tensor<f32>
  %v2 = onnx.node "Mul" v 14 (%v, %two) : (tensor<1x2x?x4xf32>, tensor<f32>) -> tensor<1x2x?x4xf32>
  %kt = onnx.node "Transpose" v 13 (%k) {perm = array<i64: 0, 1, 3, 2>} : (tensor<1x2x?x4xf32>) -> tensor<1x2x4x?xf32>
  %s0 = onnx.node "MatMul" v 13 (%q, %kt) : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  // CHECK: onnx.node "Softmax"
  // CHECK-NOT: moert.attention
  // REMARK: a softmax is no attention: its values are multiplied by a number
  %p = onnx.node "Softmax" v 13 (%s0) {axis = -1 : i64} : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %o = onnx.node "MatMul" v 13 (%p, %v2) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %o : tensor<1x2x?x4xf32>
}

// -----

// A softmax over classes: no product reads it.

// CHECK-LABEL: func.func @classes
func.func @classes(%x: tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32> {
  // CHECK: onnx.node "Softmax"
  // REMARK: a softmax is no attention: no product reads its result
  %p = onnx.node "Softmax" v 13 (%x) {axis = -1 : i64} : (tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %p : tensor<1x2x?x4xf32>
}

// -----

// A finite number in place of minus infinity: rows that see no key become the
// mean of all values.

// CHECK-LABEL: func.func @blind_mean
func.func @blind_mean(%q: tensor<?x?x4x8xf32> {moe.dims = ["b", "s", 4, 8]},
                  %k: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %v: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %m: tensor<?x?xi64> {moe.dims = ["b", "l"]}) -> tensor<?x?x4x8xf32> {
  %half = onnx.constant dense<0.5> : tensor<f32>
  %zero = onnx.constant dense<0.0> : tensor<f32>
  %hidden = onnx.constant dense<-3.40282347E+38> : tensor<f32>
  %a2 = onnx.constant dense<2> : tensor<1xi64>
  %a12 = onnx.constant dense<[1, 2]> : tensor<2xi64>
  %twice = onnx.constant dense<[1, 1, 2, 1, 1]> : tensor<5xi64>
  %four = onnx.constant dense<[0, 4, -1, 8]> : tensor<4xi64>
  %qh = onnx.node "Transpose" v 13 (%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x4x8xf32>) -> tensor<?x4x?x8xf32>
  %qs = onnx.node "Mul" v 14 (%qh, %half) : (tensor<?x4x?x8xf32>, tensor<f32>) -> tensor<?x4x?x8xf32>
  %k5 = onnx.node "Unsqueeze" v 13 (%k, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ke = onnx.node "Expand" v 13 (%k5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %kr = onnx.node "Reshape" v 14 (%ke, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %kt = onnx.node "Transpose" v 13 (%kr) {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x4x?x8xf32>) -> tensor<?x4x8x?xf32>
  %v5 = onnx.node "Unsqueeze" v 13 (%v, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ve = onnx.node "Expand" v 13 (%v5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %vr = onnx.node "Reshape" v 14 (%ve, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %mb = onnx.node "Cast" v 19 (%m) {to = 9 : i64} : (tensor<?x?xi64>) -> tensor<?x?xi1>
  %m4 = onnx.node "Unsqueeze" v 13 (%mb, %a12) : (tensor<?x?xi1>, tensor<2xi64>) -> tensor<?x1x1x?xi1>
  %add = onnx.node "Where" v 16 (%m4, %zero, %hidden) : (tensor<?x1x1x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x1x1x?xf32>
  %s0 = onnx.node "MatMul" v 13 (%qs, %kt) : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
  %s1 = onnx.node "Add" v 14 (%s0, %add) : (tensor<?x4x?x?xf32>, tensor<?x1x1x?xf32>) -> tensor<?x4x?x?xf32>
  %p0 = onnx.node "Softmax" v 13 (%s1) {axis = -1 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %nan = onnx.node "IsNaN" v 13 (%p0) : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xi1>
  %p1 = onnx.node "Where" v 16 (%nan, %zero, %p0) : (tensor<?x4x?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  // CHECK: moert.attention {{.*}} key_mask({{.*}} {masked_row = 1 : i32}
  // REMARK: raised attention
  %o = onnx.node "MatMul" v 13 (%p1, %vr) : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %y = onnx.node "Transpose" v 13 (%o) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x4x?x8xf32>) -> tensor<?x?x4x8xf32>
  return %y : tensor<?x?x4x8xf32>
}

// -----

// Only ones show keys; two would not.

// CHECK-LABEL: func.func @ones
func.func @ones(%q: tensor<?x?x4x8xf32> {moe.dims = ["b", "s", 4, 8]},
                  %k: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %v: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %m: tensor<?x?xi64> {moe.dims = ["b", "l"]}) -> tensor<?x?x4x8xf32> {
  %half = onnx.constant dense<0.5> : tensor<f32>
  %zero = onnx.constant dense<0.0> : tensor<f32>
  %hidden = onnx.constant dense<0xFF800000> : tensor<f32>
  %a2 = onnx.constant dense<2> : tensor<1xi64>
  %a12 = onnx.constant dense<[1, 2]> : tensor<2xi64>
  %twice = onnx.constant dense<[1, 1, 2, 1, 1]> : tensor<5xi64>
  %four = onnx.constant dense<[0, 4, -1, 8]> : tensor<4xi64>
  %qh = onnx.node "Transpose" v 13 (%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x4x8xf32>) -> tensor<?x4x?x8xf32>
  %qs = onnx.node "Mul" v 14 (%qh, %half) : (tensor<?x4x?x8xf32>, tensor<f32>) -> tensor<?x4x?x8xf32>
  %k5 = onnx.node "Unsqueeze" v 13 (%k, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ke = onnx.node "Expand" v 13 (%k5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %kr = onnx.node "Reshape" v 14 (%ke, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %kt = onnx.node "Transpose" v 13 (%kr) {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x4x?x8xf32>) -> tensor<?x4x8x?xf32>
  %v5 = onnx.node "Unsqueeze" v 13 (%v, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ve = onnx.node "Expand" v 13 (%v5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %vr = onnx.node "Reshape" v 14 (%ve, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %k1 = onnx.constant dense<1> : tensor<i64>
  %mb = onnx.node "Equal" v 13 (%m, %k1) : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi1>
  %m4 = onnx.node "Unsqueeze" v 13 (%mb, %a12) : (tensor<?x?xi1>, tensor<2xi64>) -> tensor<?x1x1x?xi1>
  %add = onnx.node "Where" v 16 (%m4, %zero, %hidden) : (tensor<?x1x1x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x1x1x?xf32>
  %s0 = onnx.node "MatMul" v 13 (%qs, %kt) : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
  %s1 = onnx.node "Add" v 14 (%s0, %add) : (tensor<?x4x?x?xf32>, tensor<?x1x1x?xf32>) -> tensor<?x4x?x?xf32>
  %p0 = onnx.node "Softmax" v 13 (%s1) {axis = -1 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %nan = onnx.node "IsNaN" v 13 (%p0) : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xi1>
  %p1 = onnx.node "Where" v 16 (%nan, %zero, %p0) : (tensor<?x4x?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  // CHECK: %[[M:.*]] = onnx.node "Equal" v 13 (%{{.*}}, %{{.*}}) : (tensor<?x?xi64>, tensor<i64>) -> tensor<?x?xi1>
  // CHECK: moert.attention {{.*}} key_mask(%[[M]] : tensor<?x?xi1>)
  // REMARK: raised attention
  %o = onnx.node "MatMul" v 13 (%p1, %vr) : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %y = onnx.node "Transpose" v 13 (%o) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x4x?x8xf32>) -> tensor<?x?x4x8xf32>
  return %y : tensor<?x?x4x8xf32>
}

// -----

// A mask with sizes of its own: a run checks them, as the graph would.

// CHECK-LABEL: func.func @own_sizes
func.func @own_sizes(%q: tensor<?x?x4x8xf32> {moe.dims = ["b", "s", 4, 8]},
                  %k: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %v: tensor<?x2x?x8xf32> {moe.dims = ["b", 2, "l", 8]},
                  %m: tensor<?x?xi64> {moe.dims = ["rows", "total"]}) -> tensor<?x?x4x8xf32> {
  %half = onnx.constant dense<0.5> : tensor<f32>
  %zero = onnx.constant dense<0.0> : tensor<f32>
  %hidden = onnx.constant dense<0xFF800000> : tensor<f32>
  %a2 = onnx.constant dense<2> : tensor<1xi64>
  %a12 = onnx.constant dense<[1, 2]> : tensor<2xi64>
  %twice = onnx.constant dense<[1, 1, 2, 1, 1]> : tensor<5xi64>
  %four = onnx.constant dense<[0, 4, -1, 8]> : tensor<4xi64>
  %qh = onnx.node "Transpose" v 13 (%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x4x8xf32>) -> tensor<?x4x?x8xf32>
  %qs = onnx.node "Mul" v 14 (%qh, %half) : (tensor<?x4x?x8xf32>, tensor<f32>) -> tensor<?x4x?x8xf32>
  %k5 = onnx.node "Unsqueeze" v 13 (%k, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ke = onnx.node "Expand" v 13 (%k5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %kr = onnx.node "Reshape" v 14 (%ke, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %kt = onnx.node "Transpose" v 13 (%kr) {perm = array<i64: 0, 1, 3, 2>} : (tensor<?x4x?x8xf32>) -> tensor<?x4x8x?xf32>
  %v5 = onnx.node "Unsqueeze" v 13 (%v, %a2) : (tensor<?x2x?x8xf32>, tensor<1xi64>) -> tensor<?x2x1x?x8xf32>
  %ve = onnx.node "Expand" v 13 (%v5, %twice) : (tensor<?x2x1x?x8xf32>, tensor<5xi64>) -> tensor<?x2x2x?x8xf32>
  %vr = onnx.node "Reshape" v 14 (%ve, %four) : (tensor<?x2x2x?x8xf32>, tensor<4xi64>) -> tensor<?x4x?x8xf32>
  %mb = onnx.node "Cast" v 19 (%m) {to = 9 : i64} : (tensor<?x?xi64>) -> tensor<?x?xi1>
  %m4 = onnx.node "Unsqueeze" v 13 (%mb, %a12) : (tensor<?x?xi1>, tensor<2xi64>) -> tensor<?x1x1x?xi1>
  %add = onnx.node "Where" v 16 (%m4, %zero, %hidden) : (tensor<?x1x1x?xi1>, tensor<f32>, tensor<f32>) -> tensor<?x1x1x?xf32>
  %s0 = onnx.node "MatMul" v 13 (%qs, %kt) : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
  %s1 = onnx.node "Add" v 14 (%s0, %add) : (tensor<?x4x?x?xf32>, tensor<?x1x1x?xf32>) -> tensor<?x4x?x?xf32>
  %p0 = onnx.node "Softmax" v 13 (%s1) {axis = -1 : i64} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  %nan = onnx.node "IsNaN" v 13 (%p0) : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xi1>
  %p1 = onnx.node "Where" v 16 (%nan, %zero, %p0) : (tensor<?x4x?x?xi1>, tensor<f32>, tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
  // CHECK: cf.assert %{{.*}}, "attention: queries, keys, values and mask have different batch sizes"
  // CHECK: cf.assert %{{.*}}, "attention: keys, values and mask differ in length"
  // CHECK: moert.attention
  // REMARK: raised attention
  %o = onnx.node "MatMul" v 13 (%p1, %vr) : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %y = onnx.node "Transpose" v 13 (%o) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x4x?x8xf32>) -> tensor<?x?x4x8xf32>
  return %y : tensor<?x?x4x8xf32>
}

// -----

// A window that needs many keys to show.

// CHECK-LABEL: func.func @wide_window
func.func @wide_window(%q: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]},
                  %k: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]},
                  %v: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]}) -> tensor<1x2x?x4xf32> {
  %cap = onnx.constant dense<20.0> : tensor<f32>
  %hidden = onnx.constant dense<-3.40282347E+38> : tensor<f32>
  %n0 = onnx.constant dense<0> : tensor<i64>
  %n1 = onnx.constant dense<1> : tensor<i64>
  %n6 = onnx.constant dense<300> : tensor<i64>
  %a1 = onnx.constant dense<1> : tensor<1xi64>
  %qh = onnx.node "Transpose" v 13 (%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %kt = onnx.node "Transpose" v 13 (%k) {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x4x?xf32>
  %vh = onnx.node "Transpose" v 13 (%v) {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %len = onnx.node "Shape" v 15 (%q) {start = 1 : i64, end = 2 : i64} : (tensor<1x?x2x4xf32>) -> tensor<1xi64>
  %n = onnx.node "Squeeze" v 13 (%len) : (tensor<1xi64>) -> tensor<i64>
  %at = onnx.node "Range" v 11 (%n0, %n, %n1) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %row = onnx.node "Unsqueeze" v 13 (%at, %a1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %far = onnx.node "Sub" v 14 (%row, %n6) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi64>
  %after = onnx.node "Greater" v 13 (%at, %row) : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %before = onnx.node "LessOrEqual" v 16 (%at, %far) : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %out = onnx.node "Or" v 7 (%after, %before) : (tensor<?x?xi1>, tensor<?x?xi1>) -> tensor<?x?xi1>
  %s0 = onnx.node "MatMul" v 13 (%qh, %kt) : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %s1 = onnx.node "Div" v 14 (%s0, %cap) : (tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %s2 = onnx.node "Tanh" v 13 (%s1) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %s3 = onnx.node "Mul" v 14 (%s2, %cap) : (tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %s4 = onnx.node "Where" v 16 (%out, %hidden, %s3) : (tensor<?x?xi1>, tensor<f32>, tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p = onnx.node "Softmax" v 13 (%s4) {axis = 3 : i64} : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  // CHECK: moert.attention {{.*}} causal {{.*}}window = 300 : i64
  // REMARK: raised attention
  %o = onnx.node "MatMul" v 13 (%p, %vh) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %o : tensor<1x2x?x4xf32>
}

// -----

// One that cannot be seen is not taken for none.

// CHECK-LABEL: func.func @too_wide
func.func @too_wide(%q: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]},
                  %k: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]},
                  %v: tensor<1x?x2x4xf32> {moe.dims = [1, "s", 2, 4]}) -> tensor<1x2x?x4xf32> {
  %cap = onnx.constant dense<20.0> : tensor<f32>
  %hidden = onnx.constant dense<-3.40282347E+38> : tensor<f32>
  %n0 = onnx.constant dense<0> : tensor<i64>
  %n1 = onnx.constant dense<1> : tensor<i64>
  %n6 = onnx.constant dense<30000> : tensor<i64>
  %a1 = onnx.constant dense<1> : tensor<1xi64>
  %qh = onnx.node "Transpose" v 13 (%q) {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %kt = onnx.node "Transpose" v 13 (%k) {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x4x?xf32>
  %vh = onnx.node "Transpose" v 13 (%v) {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x?x2x4xf32>) -> tensor<1x2x?x4xf32>
  %len = onnx.node "Shape" v 15 (%q) {start = 1 : i64, end = 2 : i64} : (tensor<1x?x2x4xf32>) -> tensor<1xi64>
  %n = onnx.node "Squeeze" v 13 (%len) : (tensor<1xi64>) -> tensor<i64>
  %at = onnx.node "Range" v 11 (%n0, %n, %n1) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<?xi64>
  %row = onnx.node "Unsqueeze" v 13 (%at, %a1) : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
  %far = onnx.node "Sub" v 14 (%row, %n6) : (tensor<?x1xi64>, tensor<i64>) -> tensor<?x1xi64>
  %after = onnx.node "Greater" v 13 (%at, %row) : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %before = onnx.node "LessOrEqual" v 16 (%at, %far) : (tensor<?xi64>, tensor<?x1xi64>) -> tensor<?x?xi1>
  %out = onnx.node "Or" v 7 (%after, %before) : (tensor<?x?xi1>, tensor<?x?xi1>) -> tensor<?x?xi1>
  %s0 = onnx.node "MatMul" v 13 (%qh, %kt) : (tensor<1x2x?x4xf32>, tensor<1x2x4x?xf32>) -> tensor<1x2x?x?xf32>
  %s1 = onnx.node "Div" v 14 (%s0, %cap) : (tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %s2 = onnx.node "Tanh" v 13 (%s1) : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %s3 = onnx.node "Mul" v 14 (%s2, %cap) : (tensor<1x2x?x?xf32>, tensor<f32>) -> tensor<1x2x?x?xf32>
  %s4 = onnx.node "Where" v 16 (%out, %hidden, %s3) : (tensor<?x?xi1>, tensor<f32>, tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  %p = onnx.node "Softmax" v 13 (%s4) {axis = 3 : i64} : (tensor<1x2x?x?xf32>) -> tensor<1x2x?x?xf32>
  // CHECK: onnx.node "Softmax"
  // REMARK: a softmax is no attention: its mask may be a window of 30000 keys, more than are looked at
  %o = onnx.node "MatMul" v 13 (%p, %vh) : (tensor<1x2x?x?xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  return %o : tensor<1x2x?x4xf32>
}
