"""usage: planted.py OUT.mlir OUT.npz

Writes a layer of eight gated experts that are two functions under hidden orders of their units (even and odd numbers), and
inputs for it.
"""
import sys

import numpy as np

import gated_layer

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
gated_layer.write(sys.argv[1], {name: np.array(matrices) for name, matrices in weights.items()}, 2)
np.savez(sys.argv[2], x=rng.standard_normal((40, features)).astype(np.float32))
