"""usage: storages.py FOLDER T1 T2 [RATIO [int8]]

Writes a layer of six experts of which a token chooses three (layer.mlir), inputs of 0, 1 and 40 tokens (x0.npz...), and what it makes of
them where experts run as they are, from int4 or not at all (y0.npz...): by the share that the weights of heavier experts have, up to T1,
up to T2 or beyond; with RATIO after slots below RATIO times the first have been emptied, with int8 with experts stored so. Computed here in f64. Says how often
each happens.
"""
import sys

import numpy as np

import gated_layer

folder, t1, t2 = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
ratio = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
rng = np.random.default_rng(17)
experts, top, features, hidden = 6, 3, 32, 64
weights = {"gate": rng.standard_normal((experts, hidden, features)), "up": rng.standard_normal((experts, hidden, features)),
           "down": rng.standard_normal((experts, features, hidden)), "router": rng.standard_normal((experts, features)) / 4}
weights = {name: array.astype(np.float32) for name, array in weights.items()}


def stored(bits):
    """The experts as quantize stores them: f16 scales, 32 inputs each."""
    most, found = 2 ** (bits - 1) - 1, {}
    for name in ("gate", "up", "down"):
        blocks = weights[name].astype(np.float64).reshape(*weights[name].shape[:-1], -1, 32)
        scale = (np.abs(blocks).max(-1, keepdims=True) / most).astype(np.float16).astype(np.float64)
        found[name] = (np.clip(np.round(blocks / scale), -most - 1, most) * scale).reshape(weights[name].shape)
    return found


high, low = stored(8) if "int8" in sys.argv else weights, stored(4)


def run(e, x, stored):
    g, u = stored["gate"][e].astype(np.float64) @ x, stored["up"][e].astype(np.float64) @ x
    return stored["down"][e].astype(np.float64) @ (g / (1 + np.exp(-g)) * u)


count = {"stored": 0, "low": 0, "skipped": 0}


def layer(x):
    logits = weights["router"].astype(np.float64) @ x
    chosen = sorted(range(experts), key=lambda e: (-logits[e], e))[:top]
    p = np.exp(logits - logits.max())
    w = np.array([p[e] for e in chosen]) / sum(p[e] for e in chosen)
    w[1:][w[1:] < ratio * w[0]] = 0
    w /= w.sum()
    y, before = np.zeros(features), 0.0
    for e, own in zip(chosen, w):
        if own == 0:
            continue
        kind = "stored" if before <= t1 else "low" if before <= t2 else "skipped"
        count[kind] += 1
        if kind != "skipped":
            y += own * run(e, x, high if kind == "stored" else low)
        before += own
    return y


gated_layer.write(f"{folder}/layer.mlir", weights, top)
for tokens in (0, 1, 40):
    x = rng.standard_normal((tokens, features)).astype(np.float32)
    if tokens > 1:
        x[3] = 0  # all logits are equal: the first three, a third each
    y = np.array([layer(row.astype(np.float64)) for row in x]).reshape(tokens, features).astype(np.float32)
    np.savez(f"{folder}/x{tokens}.npz", x=x)
    np.savez(f"{folder}/y{tokens}.npz", y=y)
print(count)
assert tokens == 40
