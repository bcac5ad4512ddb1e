"""usage: tiny_profile.py FOLDER PROFILE: a profile of a checkpoint's layers, as if random tokens had been routed."""
import hashlib
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "scripts"))
from checkpoints import read_checkpoint  # noqa: E402

TYPES = {"int64": "I64", "uint64": "U64", "float32": "F32", "uint8": "U8"}

folder, path = sys.argv[1:]
_, tensors = read_checkpoint(folder)
names = [name.removesuffix(".gate.weight") for name in tensors if name.endswith(".gate.weight")]
rng = np.random.default_rng(2)
header, data = {"__metadata__": {
    "format": "moe-profile", "version": "2.1", "model": "tiny", "fingerprint": "", "seed": "0",
    "layers": json.dumps(names)}}, b""
for i, name in enumerate(names):
    router = np.ascontiguousarray(tensors[name + ".gate.weight"][1], np.float32)
    for measure, array in {
            "counts": np.array([64] * len(router)), "tokens": np.array([32 * len(router)]),
            "sample": rng.standard_normal((64, router.shape[1])).astype(np.float32),
            "sample_keys": np.arange(64, dtype=np.uint64),
            "router": np.frombuffer(hashlib.sha256(router.tobytes()).digest(), np.uint8)}.items():
        header[f"layers.{i}.{measure}"] = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape),
                                           "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
text = json.dumps(header).encode()
pathlib.Path(path).write_bytes(len(text).to_bytes(8, "little") + text + data)
