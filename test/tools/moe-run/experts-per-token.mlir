// How many experts serve a token is an input of this model. Expert e multiplies by c[e] and has weight e + 1 before the
// norm: with c = -8, -5, 0, 7 a token times 7, 4, 2 or 1 results for 1, 2, 3 or 4 experts.

// RUN: rm -rf %t && mkdir %t
// RUN: %python %S/Inputs/make_npz.py %t/in.npz "x:<f4:3x1:1,2,3" "logits:<f4:3x4:0,0.6931471806,1.0986122887,1.3862943611"
// RUN: %python %S/Inputs/make_npz.py %t/1.npz "late:<f4:3x1:7,14,21" "norm:<f4:3x1:7,14,21"
// RUN: %python %S/Inputs/make_npz.py %t/2.npz "late:<f4:3x1:4,8,12" "norm:<f4:3x1:4,8,12"
// RUN: %python %S/Inputs/make_npz.py %t/3.npz "late:<f4:3x1:2,4,6" "norm:<f4:3x1:2,4,6"
// RUN: %python %S/Inputs/make_npz.py %t/4.npz "late:<f4:3x1:1,2,3" "norm:<f4:3x1:1,2,3"

// RUN: moe-opt %s -O1 -o %t/fast
// RUN: %t/fast --inputs %t/in.npz --expect %t/1.npz --experts-per-token 1
// RUN: %t/fast --inputs %t/in.npz --expect %t/2.npz --experts-per-token 2 --profile %t/p.moeprof
// RUN: %t/fast --inputs %t/in.npz --expect %t/3.npz --experts-per-token 3
// RUN: %t/fast --inputs %t/in.npz --expect %t/4.npz --experts-per-token=4
// RUN: moe-bank ls %t/p.moeprof | FileCheck %s --check-prefix=PROFILE
// PROFILE: late 3 4 0 .. 3
// PROFILE: norm 3 4 0 .. 3
// RUN: moe-bank cat %t/p.moeprof layers.1.counts | FileCheck %s --check-prefix=COUNTS
// COUNTS: 0 0 3 3

// RUN: moe-opt %s -O1 --road=oracle -o %t/plain.so
// RUN: moe-run %t/plain.so --inputs %t/in.npz --expect %t/1.npz --experts-per-token 1
// RUN: moe-run %t/plain.so --inputs %t/in.npz --expect %t/2.npz --experts-per-token 2
// RUN: moe-run %t/plain.so --inputs %t/in.npz --expect %t/3.npz --experts-per-token 3
// RUN: moe-run %t/plain.so --inputs %t/in.npz --expect %t/4.npz --experts-per-token 4

// The flag is stronger than a file, and may be left out where there is one.
// RUN: %python %S/Inputs/make_npz.py %t/k.npy "k:<i8::3"
// RUN: %t/fast --inputs %t/in.npz --input k=%t/k.npy --expect %t/3.npz
// RUN: %t/fast --inputs %t/in.npz --input k=%t/k.npy --expect %t/2.npz --experts-per-token 2
// RUN: %python %S/Inputs/exits.py 1 %t/fast --inputs %t/in.npz 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: fast: error: input 'k' is missing: int64 []

// Numbers that the model does not take.
// RUN: %python %S/Inputs/exits.py 1 %t/fast --inputs %t/in.npz --experts-per-token 5 2>&1 | FileCheck %s --check-prefix=MANY
// RUN: %python %S/Inputs/exits.py 1 moe-run %t/plain.so --inputs %t/in.npz --experts-per-token 5 2>&1 | FileCheck %s --check-prefix=MANY
// MANY: error: layer 'late' takes 1 to 4 experts per token, not 5
// RUN: %python %S/Inputs/make_npz.py %t/none.npy "k:<i8::0"
// RUN: %python %S/Inputs/exits.py 1 %t/fast --inputs %t/in.npz --input k=%t/none.npy 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: %python %S/Inputs/exits.py 1 moe-run %t/plain.so --inputs %t/in.npz --input k=%t/none.npy 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: layer 'late' takes 1 to 4 experts per token, not 0
// RUN: %python %S/Inputs/exits.py 2 %t/fast --experts-per-token 0 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: --experts-per-token: '0' is not a whole number from 1

// Other models say that they have no choice.
// RUN: %python %S/Inputs/exits.py 1 %fakes/fake-text --eval %s --experts-per-token 2 2>&1 | FileCheck %s --check-prefix=TEXT
// TEXT: error: --experts-per-token: model 'text' takes no number of experts as an input; its experts per token are fixed
// RUN: %python %S/Inputs/make_npz.py %t/add.npz "x:<f4:3x4:1" "y:<f4:3x4:1"
// RUN: %python %S/Inputs/exits.py 1 %fakes/fake-add --inputs %t/add.npz --experts-per-token 2 2>&1 | FileCheck %s --check-prefix=ADD
// ADD: error: --experts-per-token: model 'add' takes no number of experts as an input; its experts per token are fixed

moe.bank @up recipe(dense<1.0> : tensor<4x1x1xf32>) : tensor<4x1x1xf32>
moe.bank @down recipe(dense<[[[-8.0]], [[-5.0]], [[0.0]], [[7.0]]]> : tensor<4x1x1xf32>) : tensor<4x1x1xf32>

moe.pool @experts {
  moe.expert @e0 ffn identity up @up[0] down @down[0]
  moe.expert @e1 ffn identity up @up[1] down @down[1]
  moe.expert @e2 ffn identity up @up[2] down @down[2]
  moe.expert @e3 ffn identity up @up[3] down @down[3]
}

func.func @main(%x: tensor<?x1xf32> {moe.name = "x", moe.dims = ["n", ""]},
                %logits: tensor<?x4xf32> {moe.name = "logits", moe.dims = ["n", ""]},
                %k: tensor<i64> {moe.name = "k", moe.dims = []})
    -> (tensor<?x1xf32> {moe.name = "late", moe.dims = ["n", ""]},
        tensor<?x1xf32> {moe.name = "norm", moe.dims = ["n", ""]}) {
  %e = tensor.extract %k[] : tensor<i64>
  %n = arith.index_cast %e : i64 to index
  %i0, %w0 = moe.gate softmax %logits over @experts top_k 4 dynamic %n select_first layer "late" : tensor<?x4xf32>
  %late = moe.apply @experts %x ids %i0 weights %w0
      : (tensor<?x1xf32>, tensor<?x4xi32>, tensor<?x4xf32>) -> tensor<?x1xf32>
  %i1, %w1 = moe.gate softmax %logits over @experts top_k 4 dynamic %n norm selected layer "norm" : tensor<?x4xf32>
  %norm = moe.apply @experts %x ids %i1 weights %w1
      : (tensor<?x1xf32>, tensor<?x4xi32>, tensor<?x4xf32>) -> tensor<?x1xf32>
  return %late, %norm : tensor<?x1xf32>, tensor<?x1xf32>
}
