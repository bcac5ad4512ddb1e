#!/usr/bin/env python3
"""Compiles small MoE layers for both roads and compares the fast one with the oracle in float64.

usage: check_layers.py MOE_OPT MOE_RUN WORK_DIR [--target T] [--device D] [--threads N] [--tolerance N]
       [only...]
Every layer is compiled once per road and runs on several inputs. The chosen experts must be equal, weights and
results close. Prints a line per layer; exit code 1 when one differs.
"""
import pathlib
import sys

import numpy as np

import running
from running import call

ROADS = {"fast": "-O1", "oracle-f64": "-O0"}


class Layer:
    """A layer as text, its weights, and what it runs on."""

    def __init__(self, rng, h, i, e, k, act="silu", glu=True, kind="f32", bias=False, constants="", entries=None,
                 score="softmax", late=False, choice_bias=False, rules="", given=False, twins=False, scale_input=False,
                 many=130):
        flags = dict(glu=glu, bias=bias, given=given, twins=twins, late=late, choice_bias=choice_bias,
                     scale_input=scale_input, entries=entries)
        words = f"{h}x{i} E={e} k={k} {kind} {act} {constants} {score} {rules}".split()
        self.name = " ".join(words + [name for name, on in flags.items() if on])
        self.rng, self.h, self.e, self.k, self.given, self.many = rng, h, e, k, given, many
        self.data, self.banks = bytearray(), ""
        norm = lambda *shape: rng.standard_normal(shape) / np.sqrt(shape[-1])
        self.bank("up", norm(e, i, h), kind)
        self.bank("down", norm(e, h, i), kind)
        if glu:
            self.bank("gate", norm(e, i, h), kind)
        if bias:
            self.bank("up_bias", rng.standard_normal((e, i)), kind)
            self.bank("down_bias", rng.standard_normal((e, h)), kind)
            if glu:
                self.bank("gate_bias", rng.standard_normal((e, i)), kind)
        router = norm(e, h) * 3
        if twins:  # equal logits for pairs of experts
            router[1::2] = router[:e - e % 2:2]
        self.bank("router", router, "f32")
        if choice_bias:
            self.bank("choice", rng.standard_normal(e) / 4, "f32")

        def slices(e, *names):
            return " ".join(f"{name} @{name}[{e}]" for name in names if f"@{name} " in self.banks)

        self.text = self.banks + "moe.pool @pool {\n"
        for n in range(e):
            plain = f"moe.expert @e{n} {'glu' if glu else 'ffn'} {act} " + \
                    slices(n, "gate", "gate_bias", "up", "up_bias", "down", "down_bias") + f" {constants}"
            self.text += f"  {(entries or {}).get(n, plain)}\n"
        x, z, ids, w = f"tensor<?x{h}xf32>", f"tensor<?x{e}xf32>", f"tensor<?x{k}xi32>", f"tensor<?x{k}xf32>"
        arguments = f'%x: {x} {{moe.name = "x"}}' + (f', %given: {z} {{moe.name = "z"}}' if given else "")
        self.text += f"}}\nfunc.func @main({arguments}) -> ({x} {{moe.name = \"y\"}}, {ids} {{moe.name = \"ids\"}}, " \
                     f"{w} {{moe.name = \"w\"}}) {{\n"
        if given:
            self.text += f"  %z = moe.router given %given : {z} -> {z}\n"
        else:
            self.text += f"  %r = moe.weight @router : tensor<{e}x{h}xf32>\n" \
                         f"  %z = moe.router linear %x weight(%r : tensor<{e}x{h}xf32>) : {x} -> {z}\n"
        choice = ""
        if choice_bias:
            self.text += f"  %c = moe.weight @choice : tensor<{e}xf32>\n"
            choice = f"choice_bias(%c : tensor<{e}xf32>)"
        self.text += f"  %ids, %w = moe.gate {score} %z over @pool top_k {k} {'select_first' if late else ''} {choice} " \
                     f"{rules} : {z}\n" \
                     f"  %y = moe.apply @pool %x ids %ids weights %w {'scale_input' if scale_input else ''} : " \
                     f"({x}, {ids}, {w}) -> {x}\n  return %y, %ids, %w : {x}, {ids}, {w}\n}}\n"

    def bank(self, name, values, kind):
        values = values.astype(np.float32)
        if kind == "bf16":
            values = ((values.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
        elif kind == "f16":
            values = values.astype(np.float16)
        self.data += bytes(-len(self.data) % 64)
        shape = "x".join(str(n) for n in values.shape)
        self.banks += f'moe.bank @{name} in "layer" at {len(self.data)} length {values.nbytes} : tensor<{shape}x{kind}>\n'
        self.data += values.tobytes()

    def inputs(self):
        """Pairs of a name and the arrays of a run."""
        for t in (0, 1, 17, self.many):
            arrays = {"x": self.rng.standard_normal((t, self.h)).astype(np.float32)}
            if not self.given:
                yield f"T={t}", arrays
                continue
            z = self.rng.standard_normal((t, self.e)).astype(np.float32)
            yield f"T={t}", {**arrays, "z": z}
            yield f"T={t} ties", {**arrays, "z": np.round(z)}
            yield f"T={t} equal", {**arrays, "z": np.zeros_like(z)}
            only = np.full_like(z, -4)
            only[:, self.e // 2] = 4  # with k = 1 all other experts are empty
            yield f"T={t} one expert", {**arrays, "z": only}


def layers(rng):
    yield Layer(rng, 64, 48, 8, 2, rules="norm selected")
    yield Layer(rng, 37, 29, 5, 1, act="relu", glu=False)
    yield Layer(rng, 33, 17, 7, 3, act="gelu", kind="bf16", score="sigmoid", choice_bias=True,
                rules="norm selected scale 2.5")
    yield Layer(rng, 40, 72, 4, 4, act="gelu_tanh", glu=False, kind="f16", bias=True, late=True)
    yield Layer(rng, 24, 31, 8, 3, act="relu2", glu=False, score="sigmoid", choice_bias=True,
                rules="groups 4 top_groups 2 group_score top2 group_mask minus_infinity norm selected")
    yield Layer(rng, 96, 80, 32, 4, kind="bf16", bias=True, constants="alpha 1.702 beta 1.0 limit 1.5", late=True)
    yield Layer(rng, 5, 3, 3, 2, act="identity", score="none")
    yield Layer(rng, 50, 21, 6, 3, given=True, rules="norm selected")
    yield Layer(rng, 32, 64, 7, 4, act="relu", glu=False, given=True, score="sigmoid", rules="norm selected ties_high")
    yield Layer(rng, 130, 65, 4, 1, given=True, many=300)
    yield Layer(rng, 48, 16, 9, 3, twins=True, rules="norm selected")
    yield Layer(rng, 19, 40, 1, 1, act="gelu_tanh")
    yield Layer(rng, 36, 28, 5, 2, rules="norm selected",
                entries={1: "moe.null_expert @e1 zero", 2: "moe.null_expert @e2 copy", 4: "moe.alias @e4 of @e0"})
    yield Layer(rng, 44, 52, 6, 2, act="gelu", glu=False, bias=True, score="sigmoid", scale_input=True)
    yield Layer(rng, 48, 20, 64, 8, kind="f16", rules="norm selected", many=257)
    # Llama 4: one expert, whose input the sigmoid of its logit scales.
    yield Layer(rng, 64, 40, 4, 1, kind="bf16", score="sigmoid", scale_input=True, many=300)


def difference(fast, oracle, names):
    """The worst relative error over the float results; infinite where shapes or chosen experts differ."""
    worst = 0.0
    for name in names:
        a, b = fast[name], oracle[name]
        if a.shape != b.shape or np.isnan(a).any() or (a.dtype.kind == "i" and (a != b).any()):
            return np.inf
        if a.dtype.kind == "f" and a.size:
            worst = max(worst, np.abs(a - b).max() / max(1.0, np.abs(b).max()))
    return worst


def main() -> int:
    parser = running.arguments()
    parser.add_argument("--tolerance", type=float, default=1e-5, help="of the largest number of a result")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    bad = 0

    for number, layer in enumerate(layers(np.random.default_rng(11))):
        runs = list(layer.inputs())
        if options.only and not any(text in layer.name for text in options.only):
            continue
        base = options.work / f"layer{number}"
        base.with_suffix(".mlir").write_text(layer.text)
        base.with_suffix(".bin").write_bytes(layer.data)
        error, worst = "", {}
        for road, level in ROADS.items():
            error = error or call(options.moe_opt, f"{base}.mlir", "--bank", f"layer={base}.bin", level, "-o",
                                  f"{base}-{road}.so", f"--road={road}", f"--target={options.target}")
        for name, arrays in runs:
            if options.device != "cpu" and name in ("T=0", "T=17"):
                continue
            np.savez(f"{base}.npz", **arrays)
            for road in ROADS:
                error = error or call(options.moe_run, f"{base}-{road}.so", "--inputs", f"{base}.npz", "--outputs",
                                      f"{base}-{road}.npz", "--threads", options.threads, "--device",
                                      options.device if road == "fast" else "cpu")
            if error:
                break
            worst[name] = difference(*(np.load(f"{base}-{road}.npz") for road in ROADS), ("y", "ids", "w"))
        off = {name: f"{value:.1e}" for name, value in worst.items() if not value <= options.tolerance}
        bad += bool(error or off)
        if error or off:
            print(f"FAIL {layer.name}: {error or off}")
        else:
            print(f"ok   {layer.name}: {max(worst.values()):.1e}")
    print("all layers agree" if not bad else f"{bad} layers differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
