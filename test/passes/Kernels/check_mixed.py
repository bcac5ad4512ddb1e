#!/usr/bin/env python3
"""Layers whose experts differ in width, function, storage and quantisation, against numpy in float64.

usage: check_mixed.py MOE_OPT MOE_RUN WORK_DIR [--target T] [--road R] [--split-vectors] [--device D] [--threads N] [only...]
Prints a line per layer; exit code 1 when one differs.
"""
import pathlib
import sys

import numpy as np

import running
from running import call
from quantised import Quantised

ACTIVATIONS = {"silu": lambda v: v / (1 + np.exp(-v)), "relu": lambda v: np.maximum(v, 0), "identity": lambda v: v}


class Layer:
    """Experts one by one; ids and weights come from logits through a plain gate."""

    def __init__(self, name, rng, hidden, k):
        self.name, self.rng, self.hidden, self.k = name, rng, hidden, k
        self.data, self.banks, self.entries, self.experts = bytearray(), "", [], []

    def bank(self, name, array, kind=None, shape=None):
        array = np.ascontiguousarray(array)
        self.data += bytes(-len(self.data) % 64)
        kind = kind or {"float32": "f32", "float16": "f16", "uint16": "bf16"}[str(array.dtype)]
        text = "x".join(str(n) for n in (shape or array.shape))
        self.banks += f'moe.bank @{name} in "m" at {len(self.data)} length {array.nbytes} : tensor<{text}x{kind}>\n'
        self.data += array.tobytes()

    def stack(self, bank, count, out, depth, kind="f32", **how):
        """`count` matrices in a bank; returns their slices and numbers."""
        if kind in ("f32", "f16"):
            values = (self.rng.standard_normal((count, out, depth)) / np.sqrt(depth)).astype(
                np.float32 if kind == "f32" else np.float16)
            self.bank(bank, values)
            return [f"@{bank}[{e}]" for e in range(count)], values.astype(np.float64)
        q = Quantised(self.rng, count, out, depth, kind, **how)
        self.bank(bank, q.codes, q.type, q.shape)
        self.bank(bank + "_s", q.scales, q.scale_type)
        if q.zeros is not None:
            self.bank(bank + "_z", q.zeros, q.zero_type)
        return [q.slice(bank, e) for e in range(count)], q.values

    def matrices(self, prefix, count, width, glu, rank=0, joint=True, **how):
        """`count` experts' matrices, or their factors of rank `rank`, of which gate and up share the right one where
        they are `joint`; returns their slices and numbers."""
        parts = {}
        for name in ("gate", "up", "down") if glu else ("up", "down"):
            out, depth = (self.hidden, width) if name == "down" else (width, self.hidden)
            if not rank:
                parts[name] = self.stack(f"{prefix}_{name}", count, out, depth, **how)
                continue
            if name != "up" or not glu or not joint:
                right = self.stack(f"{prefix}_{name}_right", count, rank, depth, **how)
            left = self.stack(f"{prefix}_{name}_left", count, out, rank, **how)
            parts[name] = ([f"factored<left = <{l}>, right = <{r}>>" for l, r in zip(left[0], right[0])],
                           left[1] @ right[1])
        return parts

    def add(self, count, width, act="silu", glu=True, bias=False, factor=1.0, constants="", **how):
        prefix = f"g{len(self.entries)}"
        parts = self.matrices(prefix, count, width, glu, **how)
        biases = {}
        if bias:
            for name in parts:
                out = self.hidden if name == "down" else width
                biases[name] = self.rng.standard_normal((count, out)).astype(np.float32)
                self.bank(f"{prefix}_{name}_b", biases[name])
        for e in range(count):
            text = f"moe.expert @e{len(self.entries)} {'glu' if glu else 'ffn'} {act}"
            for name in parts:
                text += f" {name} {parts[name][0][e]}" + (f" {name}_bias @{prefix}_{name}_b[{e}]" if bias else "")
            self.entries.append(text + (f" output_scale {factor:e}" if factor != 1 else "") + f" {constants}")
            own = {name: (values[e], biases[name][e] if bias else 0) for name, (_, values) in parts.items()}

            def expert(x, own=own):
                times = lambda name, v: v @ own[name][0].T + own[name][1]
                h = ACTIVATIONS[act](times("gate" if glu else "up", x))
                return factor * times("down", h * times("up", x) if glu else h)

            self.experts.append(expert)

    def alias(self, target):
        self.entries.append(f"moe.alias @e{len(self.entries)} of @e{target}")
        self.experts.append(self.experts[target])

    def null(self, kind):
        name = f"c{len(self.entries)}"
        text = f"moe.null_expert @e{len(self.entries)} {kind}"
        value = self.rng.standard_normal(self.hidden).astype(np.float32)
        mix = self.rng.standard_normal((2, self.hidden)).astype(np.float32) / 8
        if kind != "zero" and kind != "copy":
            self.bank(name, value)
            self.bank(name + "_m", mix)
            text = text.replace(kind, f"constant value @{name}" + (f" mix @{name}_m" if kind == "mix" else ""))

        def mixed(x):
            share = 1 / (1 + np.exp(x @ (mix[1] - mix[0]).astype(np.float64)))[:, None]
            return share * x + (1 - share) * value

        self.entries.append(text)
        self.experts.append({"zero": lambda x: 0 * x, "copy": lambda x: x, "constant": lambda x: 0 * x + value,
                             "mix": mixed}[kind])

    def text(self):
        e, h, k = len(self.entries), self.hidden, self.k
        x, z, ids, w = f"tensor<?x{h}xf32>", f"tensor<?x{e}xf32>", f"tensor<?x{k}xi32>", f"tensor<?x{k}xf32>"
        return self.banks + "moe.pool @pool {\n" + "".join(f"  {t}\n" for t in self.entries) + "}\n" + \
            f'func.func @main(%x: {x} {{moe.name = "x"}}, %z: {z} {{moe.name = "z"}}) -> ({x} {{moe.name = "y"}}) {{\n' \
            f"  %ids, %w = moe.gate softmax %z over @pool top_k {k} norm selected : {z}\n" \
            f"  %y = moe.apply @pool %x ids %ids weights %w : ({x}, {ids}, {w}) -> {x}\n  return %y : {x}\n}}\n"

    def expected(self, x, z):
        x, z = x.astype(np.float64), z.astype(np.float64)
        order = np.argsort(-z, axis=1, kind="stable")[:, :self.k]
        p = np.exp(np.take_along_axis(z, order, 1))
        p /= p.sum(1, keepdims=True)
        y = np.zeros_like(x)
        for e, expert in enumerate(self.experts):
            w = (p * (order == e)).sum(1, keepdims=True)
            y += w * expert(x)
        return y

    def runs(self):
        e = len(self.entries)
        for t in (0, 1, 2, 3, 17, 60):
            x = self.rng.standard_normal((t, self.hidden)).astype(np.float32)
            z = self.rng.standard_normal((t, e)).astype(np.float32)
            yield f"T={t}", x, z
        yield "ties", x, np.round(z / 2)
        only = np.full_like(z, -4)
        only[:, :self.k] = 4  # the first ones for all tokens, other experts are empty
        yield "first experts", x, only
        yield "last experts", x, only[:, ::-1].copy()


def layers(rng):
    def layer(name, hidden=64, k=2):
        return Layer(name, rng, hidden, k)

    a = layer("widths 24 12 18 24", 16)
    for width in (24, 12, 18, 24):
        a.add(1, width)
    yield a
    a = layer("kinds, functions, biases, scales", 48, 3)
    a.add(2, 40)
    a.add(1, 40, act="relu", glu=False)
    a.add(2, 33, bias=True, factor=0.5)
    a.add(1, 40, kind="f16")
    a.add(1, 40)  # goes with the first
    yield a
    a = layer("aliases and nulls", 40, 4)
    a.add(3, 24)
    a.alias(1)
    a.null("zero")
    a.null("copy")
    a.alias(1)
    a.null("constant")
    a.alias(5)
    a.null("mix")
    yield a
    a = layer("null experts alone", 24)
    for kind in ("copy", "zero", "constant"):
        a.null(kind)
    yield a
    a = layer("aliases first", 32, 3)
    a.add(2, 16, kind="int4", block=16)
    a.alias(0)
    a.alias(0)
    yield a
    for kind, how in [
            ("int4", dict(block=32)), ("uint4", dict(block=32, zeros=True, scale="f16")), ("uint4", dict(block=0)),
            ("i4", dict(block=16, zeros=True)), ("int4", dict(block=128, scale="bf16")), ("int8", dict(block=64)),
            ("uint8", dict(block=32, zeros=True)), ("uint8", dict(block=0, transposed=True)),
            ("int8", dict(block=0, zeros=True, transposed=True)), ("fp4", dict(block=32, scale="e8m0")),
            ("nf4", dict(block=64)), ("f8", dict(block=128)), ("f8", dict(block=0, scale="f16", transposed=True)),
            ("int4", dict(block=48)), ("int8", dict(block=8))]:
        hidden, width = (288, 96) if how["block"] != 8 else (40, 24)
        a = layer(f"{kind} {how}", hidden)
        a.add(3, width, kind=kind, **how)
        a.add(1, width + 6, glu=False, act="relu", kind=kind, **how)
        yield a
    for name, how in [("factors of 20", dict(rank=20)), ("factors in f16", dict(rank=33, kind="f16")),
                      ("factors of each matrix", dict(rank=8, joint=False)),
                      ("factors in int4", dict(rank=32, kind="int4", block=32)),
                      ("factors in uint4", dict(rank=64, kind="uint4", block=32, zeros=True, scale="f16")),
                      ("factors in fp4", dict(rank=32, kind="fp4", block=32, scale="e8m0")),
                      ("factors in int8", dict(rank=24, kind="int8", block=0))]:
        a = layer(name, 96)
        a.add(3, 64, **how)
        a.add(1, 64, glu=False, act="relu", bias=True, factor=0.5, **how)
        yield a
    a = layer("factors of two ranks, and whole matrices", 48, 3)
    a.add(2, 24, rank=8)
    a.add(2, 24, rank=20)
    a.alias(3)
    a.add(2, 24)
    yield a
    a = layer("a mixture of storages", 96, 3)
    a.add(2, 64, kind="int4", block=32)
    a.add(2, 64, kind="uint4", block=32, zeros=True)
    a.add(1, 64, kind="nf4", block=64, bias=True)
    a.alias(1)
    a.add(1, 64, kind="fp4", block=32, scale="e8m0")
    a.add(1, 64, kind="int8", block=0)
    a.null("zero")
    a.add(1, 64)
    yield a


def main() -> int:
    parser = running.kernel_arguments(level="1")
    parser.add_argument("--loops", action="store_true", help="test loops over what kernels would read")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bad = 0

    for number, layer in enumerate(layers(np.random.default_rng(5))):
        runs = list(layer.runs())
        if options.only and not any(text in layer.name for text in options.only):
            continue
        base = options.work / f"layer{number}"
        module = f"{base}.mlir"
        pathlib.Path(module).write_text(layer.text())
        base.with_suffix(".bin").write_bytes(layer.data)
        error, worst, bank = "", 0.0, f"m={base}.bin"
        if options.split_vectors:
            # Kernels are written for 512 bits, LLVM splits what the target lacks.
            error = call(options.moe_opt, module, "--target=cpu:x86-64-v4", "--stop-after=bufferized", "--bank", bank,
                         "-o", f"{base}_low.mlir") or \
                call(options.moe_opt, f"{base}_low.mlir", "--convert-moert-to-kernels=avx512=true split-vectors=true",
                     "-o", f"{base}_kernels.mlir")
            module = f"{base}_kernels.mlir"
        if options.loops:
            error = call(options.moe_opt, module, "--moe-dequantize-experts=keep-coded=16",
                         "--convert-moe-to-moert=width=16", "--convert-moert-to-linalg", "-o",
                         f"{base}_loops.mlir")
            module = f"{base}_loops.mlir"
        error = error or call(options.moe_opt, module, "--bank", bank, f"-O{options.level}", "-o", f"{base}.so",
                              f"--road={options.road}", f"--target={options.target}")
        for name, x, z in runs:
            if error:
                break
            if options.device != "cpu" and name not in ("T=1", "T=60"):
                continue
            np.savez(f"{base}.npz", x=x, z=z)
            error = call(options.moe_run, f"{base}.so", "--inputs", f"{base}.npz", "--outputs", f"{base}_out.npz",
                         "--threads", options.threads, "--device", options.device)
            if error:
                break
            got, expected = np.load(f"{base}_out.npz")["y"], layer.expected(x, z)
            if got.shape != expected.shape or np.isnan(got).any():
                error = f"{name}: not a number, or of shape {got.shape}"
            elif got.size:
                off = np.abs(got - expected).max() / max(1.0, np.abs(expected).max())
                worst = max(worst, off)
                if off > options.tolerance:
                    error = f"{name}: {off:.1e}"
        bad += bool(error)
        print(f"FAIL {layer.name}: {error}" if error else f"ok   {layer.name}: {worst:.1e}", flush=True)
    print("all layers agree" if not bad else f"{bad} layers differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
