// Reshapes of empty tensors: a -1 is what the sizes' names say; where nothing says it, a message.

// RUN: rm -rf %t && mkdir %t
// RUN: moe-opt %s -O1 -o %t/raised
// RUN: moe-opt %s -O1 --no-raise -o %t/plain
// RUN: %python %S/Inputs/make_npz.py %t/0.npz "x:<f4:3x0x8:1"
// RUN: %python %S/Inputs/make_npz.py %t/2.npz "x:<f4:3x2x8:1"
// RUN: %t/raised --inputs %t/0.npz | FileCheck %s --check-prefix=NONE
// RUN: %t/raised --inputs %t/2.npz | FileCheck %s --check-prefix=TWO
// RUN: %t/plain --inputs %t/2.npz | FileCheck %s --check-prefix=TWO
// NONE: heads float32 [3, 2, 0, 4]
// NONE: rows float32 [6, 0, 4]
// TWO:  heads float32 [3, 2, 2, 4] 1 .. 1
// TWO:  rows float32 [6, 2, 4] 1 .. 1
// RUN: %python %S/Inputs/exits.py 1 %t/plain --inputs %t/0.npz 2>&1 | FileCheck %s --check-prefix=PLAIN
// PLAIN: plain: error: Reshape 'split': -1 can be any size here, as the tensor and the other new sizes are empty

func.func @main(%x: tensor<?x?x8xf32> {moe.name = "x", moe.dims = ["batch", "seq", ""]})
    -> (tensor<?x?x?x4xf32> {moe.name = "heads", moe.dims = ["batch", "", "seq", ""]},
        tensor<?x?x4xf32> {moe.name = "rows", moe.dims = ["", "seq", ""]}) {
  // [batch, seq, 8] as [batch, seq, -1, 4], which are two heads ...
  %tail = onnx.constant dense<[-1, 4]> : tensor<2xi64>
  %0 = onnx.node "Shape" v 19 (%x) {end = 2 : i64} : (tensor<?x?x8xf32>) -> tensor<2xi64>
  %1 = onnx.node "Concat" v 13 (%0, %tail) {axis = 0 : i64} : (tensor<2xi64>, tensor<2xi64>) -> tensor<4xi64>
  %2 = onnx.node "Reshape" v 19 (%x, %1) : (tensor<?x?x8xf32>, tensor<4xi64>) -> tensor<?x?x?x4xf32> loc("split")
  %heads = onnx.node "Transpose" v 13 (%2) {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x?x4xf32>) -> tensor<?x?x?x4xf32>
  // ... and [batch, heads, seq, 4] as [-1, seq, 4]: the size is no number, but two times batch. With seq = 0 the second
  // size does not mean "as before": only a 0 in the file would.
  %minus = onnx.constant dense<-1> : tensor<1xi64>
  %3 = onnx.node "Shape" v 19 (%heads) {start = 2 : i64} : (tensor<?x?x?x4xf32>) -> tensor<2xi64>
  %4 = onnx.node "Concat" v 13 (%minus, %3) {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  %rows = onnx.node "Reshape" v 19 (%heads, %4) : (tensor<?x?x?x4xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
  return %heads, %rows : tensor<?x?x?x4xf32>, tensor<?x?x4xf32>
}
