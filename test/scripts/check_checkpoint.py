#!/usr/bin/env python3
"""usage: check_checkpoint.py experts FOLDER SMALL.onnx
       check_checkpoint.py logits FOLDER INPUTS.npz MODEL.onnx [TOLERANCE]
       check_checkpoint.py rest SOURCE FOLDER
       check_checkpoint.py counts FOLDER NUMBER,NUMBER...

Checks compressed checkpoints of the byte-level test model with numpy, which reads them on its own.

experts  has each expert the numbers that it has in SMALL.onnx, made by the same recipe (standard operators)?
logits   does the whole model, evaluated in f64, give the logits that ONNX Runtime computes from MODEL.onnx?
rest     are all tensors but those of routers and experts the same bytes as in SOURCE, the other files as well, and pruned
         experts in no byte of the weights?
counts   has each layer that many experts of its own?
"""
import pathlib
import sys

import numpy as np
from checkpoints import numbers, read_checkpoint

NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
FP4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


class Folder:
    """A checkpoint and what its config.json says under moe_opt."""

    def __init__(self, path):
        self.config, self.tensors = read_checkpoint(path)
        self.own = self.config.get("moe_opt", {})

    def plain(self, name):
        return numbers(self.tensors[name])

    def layer(self, index):
        default = [f"e{e}" for e in range(self.config["num_experts"])]
        return self.own.get("layers", {}).get(str(index), {"experts": default})

    def entries(self, index):
        return [entry if isinstance(entry, dict) else {"name": entry} for entry in self.layer(index)["experts"]]

    def matrix(self, index, column, entry, part):
        name = f"model.layers.{index}.mlp.experts.{column}.{part}_proj.weight"
        storage = entry.get("storage")
        storage = storage.get(part) if isinstance(storage, dict) else storage
        if storage is None:
            return self.plain(name)
        form = self.own["storage"][storage]
        if "terms" in form:
            total = self.plain(name) if "base" in form["terms"] else 0
            if "factors" in form["terms"]:
                total = total + form.get("scale", 1) * (self.plain(name + "_left") @ self.plain(name + "_right"))
            if "rows" in form["terms"]:
                np.add.at(total, self.tensors[name + "_row_ids"][1], self.plain(name + "_rows"))
            return total
        return self.dequantised(name, form)

    def dequantised(self, name, form):
        scales = self.tensors[name + "_scale"]
        factor = np.exp2(scales[1].astype(np.float64) - 127) if form["code"] == "fp4" else numbers(scales)
        if form["code"] == "fp8":
            codes = self.tensors[name][1].astype(np.int64)
            exponent, fraction = codes >> 3 & 15, codes & 7
            value = np.where(exponent == 0, fraction * 2.0**-9, (8 + fraction) * np.exp2(exponent - 10.0))
            value = np.where(codes & 128, -value, value)
        else:
            out, inputs = self.tensors[name + "_shape"][1]
            packed = np.ascontiguousarray(self.tensors[name + "_packed"][1]).view(np.uint8).reshape(out, -1)
            if form["bits"] == 4:
                packed = np.stack([packed & 15, packed >> 4], -1)
            codes = packed.reshape(out, inputs)
            if form["code"] == "nf4":
                value = np.array(NF4)[codes]
            elif form["code"] == "fp4":
                value = np.array(FP4 + [-v for v in FP4])[codes]
            else:
                value = codes.astype(np.float64)
                zero = self.tensors[name + "_zero_point"][1] if form.get("zeros") else None
                blocks = 1 << form["bits"] - 1 if zero is None else np.repeat(
                    zero.astype(np.float64), inputs // zero.shape[1], 1)
                value = value - blocks
        return value * np.repeat(factor, value.shape[1] // factor.shape[1], 1)

    def experts(self, index):
        """(gate, up, down) of each entry; aliases of what they name, null experts as text."""
        found, result = {}, []
        for column, entry in enumerate(self.entries(index)):
            if "null" in entry:
                result.append(entry["null"])
            elif "alias" not in entry:
                found[entry["name"]] = [self.matrix(index, column, entry, part) for part in ("gate", "up", "down")]
                result.append(found[entry["name"]])
            else:
                result.append(entry)
        return [found[e["alias"]] if isinstance(e, dict) else e for e in result]


def norm(x, weight, epsilon):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight


def rotate(x, base):
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[-2])[:, None] / base ** (np.arange(half) / half)
    a, b = np.split(x, 2, -1)
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def attention(model, prefix, x):
    config = model.config
    heads, shared, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]

    def project(part, count):
        y = x @ model.plain(f"{prefix}.{part}_proj.weight").T
        return y.reshape(*x.shape[:2], count, size).swapaxes(1, 2)

    def turned(part, count):
        y = norm(project(part, count), model.plain(f"{prefix}.{part}_norm.weight"), config["rms_norm_eps"])
        return rotate(y, config["rope_theta"])

    q = turned("q", heads)
    k, v = (np.repeat(y, heads // shared, 1) for y in (turned("k", shared), project("v", shared)))
    score = q @ k.swapaxes(-1, -2) / np.sqrt(size)
    score = np.where(np.tri(x.shape[1], dtype=bool), score, -np.inf)
    weight = np.exp(score - score.max(-1, keepdims=True))
    y = weight / weight.sum(-1, keepdims=True) @ v
    return y.swapaxes(1, 2).reshape(*x.shape[:2], -1) @ model.plain(f"{prefix}.o_proj.weight").T


def experts_of(model, index, x):
    layer = model.layer(index)
    x = x.reshape(-1, x.shape[-1])
    logits = x @ model.plain(f"model.layers.{index}.mlp.gate.weight").T
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    entries = model.experts(index)
    assert p.shape[1] == len(entries)
    chosen = np.argsort(-p, 1, kind="stable")[:, :layer.get("top_k", model.config["num_experts_per_tok"])]
    weights = np.take_along_axis(p, chosen, 1)
    if layer.get("norm") == "real":
        weights *= [[not isinstance(entries[e], str) for e in row] for row in chosen]
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-300)
    weights *= weights >= layer.get("skip_ratio", 0) * weights[:, :1]
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-300)
    y = np.zeros_like(x)
    for column, entry in enumerate(entries):
        weight = (weights * (chosen == column)).sum(1, keepdims=True)
        if entry == "copy":
            y += weight * x
        elif entry != "zero":
            gate, up, down = entry
            g = x @ gate.T
            y += weight * ((g / (1 + np.exp(-g)) * (x @ up.T)) @ down.T)
    return y


def forward(model, ids):
    epsilon = model.config["rms_norm_eps"]
    h = model.plain("model.embed_tokens.weight")[ids]
    for i in range(model.config["num_hidden_layers"]):
        prefix = f"model.layers.{i}"
        h = h + attention(model, f"{prefix}.self_attn",
                          norm(h, model.plain(f"{prefix}.input_layernorm.weight"), epsilon))
        x = norm(h, model.plain(f"{prefix}.post_attention_layernorm.weight"), epsilon)
        h = h + experts_of(model, i, x).reshape(h.shape)
    return norm(h, model.plain("model.norm.weight"), epsilon) @ model.plain("lm_head.weight").T


def check_logits(folder, inputs, onnx_model, tolerance="1e-4"):
    import onnxruntime

    ids = np.load(inputs)["input_ids"]
    session = onnxruntime.InferenceSession(onnx_model, providers=["CPUExecutionProvider"])
    want, = session.run(["logits"], {"input_ids": ids})
    got = forward(Folder(folder), ids)
    error = np.abs(got - want).max() / np.abs(want).max()
    assert got.shape == want.shape and error < float(tolerance), (got.shape, want.shape, error)
    print(f"{folder}: logits within {error:.1e} of the largest")


def check_experts(folder, onnx_model):
    import onnx
    from onnx import numpy_helper

    stored = {t.name: t for t in onnx.load(onnx_model).graph.initializer}
    model, count = Folder(folder), 0
    for i in range(model.config["num_hidden_layers"]):
        for column, entry in enumerate(model.entries(i)):
            if "null" in entry or "alias" in entry:
                continue
            for part in ("gate", "up", "down"):
                name = f"m.model.layers.{i}.mlp/{entry['name']}/{part}.weight"
                want = numbers_of(stored[name], numpy_helper)
                if name + ".scales" in stored:
                    scales = numbers_of(stored[name + ".scales"], numpy_helper)
                    scales = scales.reshape(len(want), -1)
                    if name + ".zeros" in stored:
                        zeros = numbers_of(stored[name + ".zeros"], numpy_helper)
                        want = want - np.repeat(zeros, want.shape[1] // zeros.shape[1], 1)
                    want = want * np.repeat(scales, want.shape[1] // scales.shape[1], 1)
                got = model.matrix(i, column, entry, part)
                assert got.shape == want.shape and (got == want).all(), (folder, name, got.shape, want.shape)
                count += 1
    assert count
    print(f"{folder}: {count} matrices equal")


def numbers_of(tensor, numpy_helper):
    return numpy_helper.to_array(tensor).astype(np.float64)


def check_rest(source, folder):
    before, after = Folder(source), Folder(folder)
    routed = lambda name: ".mlp.experts." in name or name.endswith(".mlp.gate.weight")
    rest = [name for name in before.tensors if not routed(name)]
    assert set(rest) == {name for name in after.tensors if not routed(name)}
    for name in rest:
        (dtype, a), (other, b) = before.tensors[name], after.tensors[name]
        assert dtype == other and a.shape == b.shape and a.tobytes() == b.tobytes(), name
    files = lambda path: {p.name: p.read_bytes() for p in pathlib.Path(path).iterdir()
                          if p.suffix == ".json" and not p.name.startswith(("config", "model."))}
    assert files(source) == files(folder) != {}
    known = {key: value for key, value in before.config.items() if key != "moe_opt"}
    changed = {key for key, value in known.items() if after.config[key] != value}
    assert changed <= {"num_experts", "num_experts_per_tok", "moe_intermediate_size"}, changed
    weights = b"".join(p.read_bytes() for p in sorted(pathlib.Path(folder).glob("*.safetensors")))
    here = gone = 0
    for i in range(before.config["num_hidden_layers"]):
        kept = {entry["name"] for entry in after.entries(i) if "alias" not in entry and "null" not in entry}
        for e in range(before.config["num_experts"]):
            row = before.tensors[f"model.layers.{i}.mlp.experts.{e}.down_proj.weight"][1][7].tobytes()
            there = row in weights
            # What is stored in another way is not there either.
            assert not there or f"e{e}" in kept, (i, e)
            here, gone = here + there, gone + (f"e{e}" not in kept)
    print(f"{folder}: {len(rest)} tensors untouched, {here} experts there as they were, {gone} gone")


def check_counts(folder, counts):
    model = Folder(folder)
    got = [sum("alias" not in e and "null" not in e for e in model.entries(i))
           for i in range(model.config["num_hidden_layers"])]
    assert got == [int(n) for n in counts.split(",")], got


if __name__ == "__main__":
    {"experts": check_experts, "logits": check_logits, "rest": check_rest,
     "counts": check_counts}[sys.argv[1]](*sys.argv[2:])
