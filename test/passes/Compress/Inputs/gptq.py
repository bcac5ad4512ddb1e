"""usage: gptq.py FOLDER [PROFILE]

Writes a layer of four gated experts (layer.mlir), inputs to profile it with (calib.npz), and inputs x.npz. With the profile, y.npz: what
the layer makes of x.npz when its matrices are rounded to 4 bits, input by input, later ones making up for what earlier ones lose (arXiv
2210.17323, section 3; with the inverse of the damped sums of products as it is, which loses a row and column with every input). Computed
here in f64.
"""
import pathlib
import sys

import numpy as np

import gated_layer

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "scripts"))
from check_profile import read  # noqa: E402

folder = sys.argv[1]
rng = np.random.default_rng(23)
experts, features, hidden = 4, 64, 32
weights = {"gate": rng.standard_normal((experts, hidden, features)), "up": rng.standard_normal((experts, hidden, features)),
           "down": rng.standard_normal((experts, features, hidden)), "router": rng.standard_normal((experts, features))}
weights = {name: array.astype(np.float32) for name, array in weights.items()}


def choose(x):
    """Experts and weights of a token."""
    logits = weights["router"].astype(np.float64) @ x
    chosen = sorted(range(experts), key=lambda e: (-logits[e], e))[:2]
    p = np.exp(logits[chosen] - logits.max())
    return chosen, p / p.sum()


def scales(w, moments):
    """The scale of each block of 32 inputs, of 21 the one with the least weighted error."""
    found = np.zeros((w.shape[0], w.shape[1] // 32))
    for r in range(found.shape[0]):
        for b in range(found.shape[1]):
            block, weight = w[r, 32 * b:32 * b + 32], moments[32 * b:32 * b + 32]
            widest = float(np.float16(np.abs(block).max() / 7))
            least = np.inf
            for i in range(21):
                scale = float(np.float16(widest * (1 - 0.02 * i)))
                error = (weight * (block - np.clip(np.round(block / scale), -8, 7) * scale) ** 2).sum()
                if error < least:
                    least, found[r, b] = error, scale
    return np.repeat(found, 32, 1)


def gptq(w, products):
    w = w.astype(np.float64)
    n = len(products)
    moments = np.diag(products).copy()
    scale = scales(w, moments)
    inverse = np.linalg.inv(products + np.eye(n) * 0.01 * moments.mean())
    rounded = np.zeros_like(w)
    left = list(range(n))
    for q in sorted(range(n), key=lambda i: (-moments[i], i)):
        left.remove(q)
        rounded[:, q] = np.clip(np.round(w[:, q] / scale[:, q]), -8, 7) * scale[:, q]
        error = (w[:, q] - rounded[:, q]) / inverse[q, q]
        w[:, left] -= np.outer(error, inverse[q, left])
        inverse = inverse - np.outer(inverse[:, q], inverse[q]) / inverse[q, q]
    return rounded


def half(e, x, stored):
    g, u = x @ stored["gate"][e].T.astype(np.float64), x @ stored["up"][e].T.astype(np.float64)
    return g / (1 + np.exp(-g)) * u


gated_layer.write(f"{folder}/layer.mlir", weights, 2)
mixed = rng.standard_normal((features, features))
np.savez(f"{folder}/calib.npz", x=(rng.standard_normal((256, features)) @ mixed / 4).astype(np.float32))
x = (rng.standard_normal((50, features)) @ mixed / 4).astype(np.float32)
np.savez(f"{folder}/x.npz", x=x)
if len(sys.argv) < 3:
    sys.exit()
measures = read(sys.argv[2])[1]["l0"]
sample, gram = measures["sample"].astype(np.float64), measures["input_gram"]
small = {name: np.zeros(weights[name].shape) for name in ("gate", "up", "down")}
few = 0
for e in range(experts):
    routed = np.array([e in choose(x)[0] for x in sample])
    few += routed.sum() < 4 * hidden
    hidden_numbers = half(e, sample[routed] if routed.sum() >= 4 * hidden else sample, weights)
    small["gate"][e] = gptq(weights["gate"][e], gram)
    small["up"][e] = gptq(weights["up"][e], gram)
    small["down"][e] = gptq(weights["down"][e], hidden_numbers.T @ hidden_numbers)
assert 0 < few < experts, few
y = []
for row in x.astype(np.float64):
    y.append(sum(w * small["down"][e] @ half(e, row, small) for e, w in zip(*choose(row))))
np.savez(f"{folder}/y.npz", y=np.array(y, np.float32))
