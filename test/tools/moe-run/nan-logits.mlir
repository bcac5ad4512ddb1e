// A router logit that is not a number ends the run: the message names the layer and the first token, whatever the
// threads. Infinities are numbers here: -inf masks an expert.

// RUN: rm -rf %t && mkdir %t
// RUN: moe-opt %s -O1 -o %t/fast
// RUN: moe-opt %s -O1 --road=oracle -o %t/plain
// RUN: %python -c "print('x:<f4:5000x1:1', 'logits:<f4:5000x2:' + ','.join(['0'] * 40 + ['nan'] + ['0'] * 9000 + ['nan'] + ['0'] * 959), sep='\n')" > %t/two
// RUN: xargs -a %t/two %python %S/Inputs/make_npz.py %t/two.npz
// RUN: %python %S/Inputs/exits.py 1 %t/fast --inputs %t/two.npz --threads 1 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: %python %S/Inputs/exits.py 1 %t/fast --inputs %t/two.npz --threads 4 2>&1 | FileCheck %s --check-prefix=TWO
// RUN: %python %S/Inputs/exits.py 1 %t/plain --inputs %t/two.npz 2>&1 | FileCheck %s --check-prefix=TWO
// TWO: error: a router logit of layer 'layers.3.mlp' is not a number (token 20)
// RUN: %python %S/Inputs/make_npz.py %t/one.npz "x:<f4:3x1:1" "logits:<f4:3x2:0,1,0,1,0,nan"
// RUN: %python %S/Inputs/exits.py 1 %t/fast --inputs %t/one.npz 2>&1 | FileCheck %s --check-prefix=ONE
// RUN: %python %S/Inputs/exits.py 1 %t/plain --inputs %t/one.npz 2>&1 | FileCheck %s --check-prefix=ONE
// ONE: error: a router logit of layer 'layers.3.mlp' is not a number (token 2)
// RUN: %python %S/Inputs/make_npz.py %t/mask.npz "x:<f4:3x1:1" "logits:<f4:3x2:-inf,1"
// RUN: %t/fast --inputs %t/mask.npz | FileCheck %s --check-prefix=MASK
// RUN: %t/plain --inputs %t/mask.npz | FileCheck %s --check-prefix=MASK
// MASK: y float32 [3, 1] 5 .. 5

// In a model of ONNX nodes it is the router's product that goes wrong; the layer's name comes from its weights.
// RUN: moe-opt %models/zoo/c-equal-chain/model.onnx -O1 -o %t/zoo
// RUN: %python %S/Inputs/make_npz.py %t/zoo.npz "x:<f4:3x16:1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8,1,2,3,4,5,nan,7,8,1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8"
// RUN: %python %S/Inputs/exits.py 1 %t/zoo --inputs %t/zoo.npz 2>&1 | FileCheck %s --check-prefix=ZOO
// ZOO: zoo: error: a router logit of layer '{{.+}}' is not a number (token 1)

moe.bank @up recipe(dense<1.0> : tensor<2x1x1xf32>) : tensor<2x1x1xf32>
moe.bank @down recipe(dense<[[[3.0]], [[5.0]]]> : tensor<2x1x1xf32>) : tensor<2x1x1xf32>

moe.pool @experts {
  moe.expert @e0 ffn identity up @up[0] down @down[0]
  moe.expert @e1 ffn identity up @up[1] down @down[1]
}

func.func @main(%x: tensor<?x1xf32> {moe.name = "x", moe.dims = ["n", ""]},
                %logits: tensor<?x2xf32> {moe.name = "logits", moe.dims = ["n", ""]})
    -> (tensor<?x1xf32> {moe.name = "y", moe.dims = ["n", ""]}) {
  %ids, %w = moe.gate softmax %logits over @experts top_k 1 norm selected layer "layers.3.mlp" : tensor<?x2xf32>
  %y = moe.apply @experts %x ids %ids weights %w
      : (tensor<?x1xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
