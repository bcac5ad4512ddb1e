#!/usr/bin/env python3
"""usage: check_report.py REPORT.html PROFILE MODEL.onnx

Recomputes with numpy in f64 what a report says of the experts of the byte-level test model: cosines of matrices, of
outputs on the profile's sample, of router rows, and R^2 between them. Compares the numbers that stand below the images.
"""
import re
import sys

import numpy as np
import onnx

import check_profile

WEIGHTS = "m.model.layers.{}.mlp.{}.bf16"


def bfloat16(tensor, folder):
    where = {e.key: e.value for e in tensor.external_data}
    with open(f"{folder}/{where['location']}", "rb") as file:
        file.seek(int(where.get("offset", 0)))
        bits = np.frombuffer(file.read(2 * int(np.prod(tensor.dims))), np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64).reshape(tensor.dims)


def cosines(rows):
    rows = rows.reshape(len(rows), -1)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def texts(layer, x, banks):
    """What the page should say, as numbers."""
    gate_up, down, router = (banks[WEIGHTS.format(layer, n)] for n in
                             ("experts.gate_up_proj", "experts.down_proj", "gate.weight"))
    half = gate_up.shape[1] // 2
    gate, up = gate_up[:, :half], gate_up[:, half:]
    matrices = {"gate": gate, "up": up, "down": down,
                "all": np.concatenate([m.reshape(len(m), -1) for m in (gate, up, down)], 1)}
    pairs = np.tril_indices(len(gate), -1)
    rows = cosines(router)[pairs]
    fits = []
    for value in matrices.values():
        found = cosines(value)[pairs]
        fits.append((found.mean(), np.corrcoef(rows, found)[0, 1] ** 2))
    outputs = []
    for g, u, d in zip(gate, up, down):
        a = x @ g.T
        y = (a / (1 + np.exp(-a)) * (x @ u.T)) @ d.T
        outputs.append(y / np.linalg.norm(y, axis=1, keepdims=True))
    outputs = np.array(outputs)
    outputs = np.einsum("ith,jth->ij", outputs, outputs) / len(x)
    spans = [(m[pairs].mean(), m[pairs].min(), m[pairs].max())
             for m in (cosines(matrices["all"]), outputs, cosines(router))]
    return spans, fits


def main():
    page = open(sys.argv[1]).read()
    _, profile = check_profile.read(sys.argv[2])
    folder = sys.argv[3].rsplit("/", 1)[0]
    tensors = {t.name: t for t in onnx.load(sys.argv[3], load_external_data=False).graph.initializer}
    banks = {n: bfloat16(t, folder) for n, t in tensors.items() if ".mlp." in n}
    number = r"(-?[0-9.]+)"
    sections = page.split("<section class=plot>")[1:]
    assert len(sections) == len(profile) == 4
    for layer, section in enumerate(sections):
        x = profile[f"m.model.layers.{layer}.mlp"]["sample"][:256].astype(np.float64)
        assert len(x) == 256
        spans, fits = texts(layer, x, banks)
        said = [[float(v) for v in m] for m in re.findall(f"mean {number}, {number} to {number}<", section)]
        assert np.abs(np.array(said) - np.array(spans)).max() < 6e-4, (said, spans)
        said = [[float(v) for v in m] for m in re.findall(f"</b> mean {number}, R&sup2; {number}<", section)]
        error = np.abs(np.array(said) - np.array(fits))
        assert error[:, 0].max() < 6e-4 and error[:, 1].max() < 6e-3, (said, fits)
        print(f"layer {layer}: equal")


if __name__ == "__main__":
    main()
