"""usage: profile.py OUT LAYER EXPERTS FEATURES [LACKING...]

Writes an expert profile of one layer: 32 rows, use of experts falling by number, and a sample of random inputs. Measures whose
names are given are left out; `zero` makes a profile that has seen no token, `few` one that has seen each expert chosen once, `short` one with a
sample of eight rows, `counts=A,B...` one of that use.
"""
import json
import sys

import numpy as np

out, layer, experts, features = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
lacking = sys.argv[5:]
rows = 8 if "short" in lacking else 32
rng = np.random.default_rng(5)
counts = np.arange(experts, 0, -1, dtype=np.int64) * (0 if "zero" in lacking else 16)
if "few" in lacking:
    counts[:] = 1
for word in lacking:
    if word.startswith("counts="):
        counts[:] = [int(count) for count in word[7:].split(",")]
sample = rng.standard_normal((rows, features)).astype(np.float32)
logits = rng.standard_normal((rows, experts))
measures = {
    "counts": counts,
    "tokens": np.array([counts.sum()], np.int64),
    "score_sum": counts[::-1].astype(np.float64),
    "logit_sum": logits.sum(0),
    "logit_gram": logits.T @ logits,
    "input_square_sum": np.repeat(counts[:, None] * 1.0, features, 1) * (1 + np.arange(features)),
    "input_gram": sample.astype(np.float64).T @ sample * 4,
    "sublayer_cosine": np.array([16.0, rows]),
    "block_cosine": np.array([16.0, rows]),
    "sample": sample,
    "sample_keys": np.arange(1, rows + 1, dtype=np.uint64),
}
types = {"int64": "I64", "uint64": "U64", "float64": "F64", "float32": "F32"}
header = {"__metadata__": {"format": "moe-profile", "version": "2.0", "model": "test", "fingerprint": "", "seed": "0",
                           "layers": json.dumps([layer])}}
data = b""
for name, array in measures.items():
    if name in lacking:
        continue
    raw = array.tobytes()
    header[f"layers.0.{name}"] = {"dtype": types[str(array.dtype)], "shape": list(array.shape),
                                  "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(out, "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text + data)
