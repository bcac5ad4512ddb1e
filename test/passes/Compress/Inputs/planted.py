"""usage: planted.py OUT.mlir OUT.npz

Writes a layer of eight gated experts that are two functions under hidden orders of their units (even and odd numbers), and
inputs for it.
"""
import sys

import numpy as np

rng = np.random.default_rng(3)
experts, features, hidden = 8, 16, 32
bases = [{"gate": (hidden, features), "up": (hidden, features), "down": (features, hidden)} for _ in range(2)]
bases = [{name: rng.standard_normal(shape).astype(np.float32) for name, shape in base.items()} for base in bases]
weights = {"gate": [], "up": [], "down": []}
for e in range(experts):
    order = rng.permutation(hidden)
    for name, matrix in bases[e % 2].items():
        weights[name].append(matrix[:, order] if name == "down" else matrix[order])
weights["router"] = rng.standard_normal((experts, features)).astype(np.float32)
with open(sys.argv[1], "w") as out:
    for name, matrices in weights.items():
        array = np.ascontiguousarray(matrices, np.float32)
        kind = "tensor<" + "x".join(map(str, array.shape)) + "xf32>"
        out.write(f'moe.bank @{name} recipe(dense<"0x{array.tobytes().hex()}"> : {kind}) : {kind}\n')
    out.write("moe.pool @ffn {\n")
    for e in range(experts):
        out.write(f"  moe.expert @e{e} glu silu gate @gate[{e}] up @up[{e}] down @down[{e}]\n")
    out.write("""}
func.func @main(%x: tensor<?x16xf32> {moe.name = "x"}) -> (tensor<?x16xf32> {moe.name = "y"}) {
  %w = moe.weight @router : tensor<8x16xf32>
  %z = moe.router linear %x weight(%w : tensor<8x16xf32>) : tensor<?x16xf32> -> tensor<?x8xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 2 norm selected layer "l0" : tensor<?x8xf32>
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0"
      : (tensor<?x16xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
""")
np.savez(sys.argv[2], x=rng.standard_normal((40, features)).astype(np.float32))
