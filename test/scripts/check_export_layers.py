"""Exports layers that no importer makes, and checks them against numpy in f64.

check_export_layers.py [CASE...]; without cases all of them.

Compressed models have such layers: pools of unequal experts, aliases and null
experts, factored and quantised matrices, skip rules. Each case is one layer
written as IR with random numbers; ONNX Runtime runs what moe-opt exports.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

import compare_ir
from check_export import relative_error

TOKENS, FEATURES, EXPERTS = 23, 16, 6
MLIR = {"float16": "f16", "float32": "f32", "float64": "f64", "uint8": "ui8", "int8": "i8", "int32": "i32"}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Layer:
    """One layer: text of its module, and what it computes."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.banks, self.entries, self.functions = [], [], []
        self.raises = 1  # layers that the importer finds again
        self.ops = set()
        self.gone = []  # bytes that must not be in the file
        self.once = None  # bytes that must be there once, and no part again
        self.router = self.random.standard_normal((EXPERTS, FEATURES)).astype(np.float32)
        self.opset = 21
        self.type = np.float32  # of tokens
        self.dense = False  # every token to every expert
        self.gate = "softmax"
        self.options = "norm selected"
        self.top_k = 3
        self.apply = ""
        self.rest = ""  # of the function, from %y to %r
        self.choose = lambda z: (z, softmax(z))
        self.after = lambda w, ids: w / w.sum(-1, keepdims=True)

    def bank(self, values, kind=None):
        name = f"b{len(self.banks)}"
        values = np.ascontiguousarray(values)
        kind = kind or MLIR[values.dtype.name]
        shape = "x".join(map(str, values.shape))
        self.banks.append(f'moe.bank @{name} recipe(dense<"0x{values.tobytes().hex().upper()}"> : '
                          f"tensor<{shape}x{kind}>) : tensor<{shape}x{kind}>")
        return "@" + name

    def numbers(self, *shape, scale=0.3):
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def glu(self, hidden, options="", beta=0.0, limit=0.0, alpha=1.0, matrix=None, name=None):
        """Adds a gated expert; `matrix` stores one and returns (text, numbers)."""
        matrix = matrix or (lambda w: (self.bank(w), w))
        gate, g = matrix(self.numbers(hidden, FEATURES))
        up, u = matrix(self.numbers(hidden, FEATURES))
        down, d = matrix(self.numbers(FEATURES, hidden))
        self.entries.append(f"moe.expert @{name or f'e{len(self.entries)}'} glu silu "
                            f"gate {gate} up {up} down {down} {options}")

        def run(x):
            a, l = x @ g.T.astype(float), x @ u.T.astype(float)
            if limit:
                a, l = np.minimum(a, limit), np.clip(l, -limit, limit)
            return (a * sigmoid(alpha * a) * (l + beta)) @ d.T.astype(float)
        self.functions.append(run)
        return run

    def text(self):
        self.router = self.router.astype(self.type)
        weight = self.bank(self.router)
        f = MLIR[self.router.dtype.name]
        x, z, ids = f"tensor<?x{FEATURES}x{f}>", f"tensor<?x{EXPERTS}x{f}>", f"tensor<?x{self.top_k}xi32>"
        if self.dense:
            route = f"""%g = moe.gate {self.gate} %z over @pool dense {self.options} layer "layer 0" : {z}
  %y = moe.apply @pool %x weights %g {self.apply} layer "layer 0" : ({x}, {z}) -> {x}"""
        else:
            route = f"""%i, %g = moe.gate {self.gate} %z over @pool top_k {self.top_k} {self.options} layer "layer 0" : {z}
  %y = moe.apply @pool %x ids %i weights %g {self.apply} layer "layer 0" : ({x}, {ids}, tensor<?x{self.top_k}x{f}>) -> {x}"""
        body = "\n  ".join(self.entries)
        return f"""module attributes {{onnx.opset = {{ai.onnx = {self.opset} : i64}}}} {{
{chr(10).join(self.banks)}
moe.pool @pool {{
  {body}
}}
func.func @main(%x: {x} {{moe.name = "x", moe.dims = ["tokens", ""]}}) -> ({x} {{moe.name = "y", moe.dims = ["tokens", ""]}}) {{
  %w = moe.weight {weight} : tensor<{EXPERTS}x{FEATURES}x{f}>
  %z = moe.router linear %x weight(%w : tensor<{EXPERTS}x{FEATURES}x{f}>) : {x} -> {z}
  {route}
  {self.rest or f"%r = onnx.node 'Identity' v 14 (%y) : ({x}) -> {x}".replace("'", '"')}
  return %r : {x}
}}
}}
"""

    def reference(self, x):
        x = x.astype(np.float64)
        z = x @ self.router.T.astype(float)
        choice, scores = self.choose(z)
        ids = np.argsort(-choice, -1, kind="stable")[:, :self.top_k]
        w = self.after(np.take_along_axis(scores, ids, -1), ids)
        y = np.zeros_like(x)
        for t in range(len(x)):
            for e, weight in zip(ids[t], w[t]):
                if weight:
                    y[t] += self.add(e, weight, x[t:t + 1])
        return y

    def add(self, e, weight, x):
        return weight * self.functions[e](x)[0]


def plain(count=EXPERTS, seed=1):
    layer = Layer(seed)
    for _ in range(count):
        layer.glu(8)
    return layer


def pruned():
    """Experts of a stack that no entry names are not written."""
    layer = Layer(13)
    stacks = {name: layer.numbers(EXPERTS + 2, *shape)
              for name, shape in (("gate", (8, FEATURES)), ("up", (8, FEATURES)), ("down", (FEATURES, 8)))}
    names = {name: layer.bank(stack) for name, stack in stacks.items()}
    kept = [0, 1, 2, 4, 5, 7]
    for e in kept:
        store = iter(names)

        def matrix(w):
            name = next(store)
            return f"{names[name]}[{e}]", stacks[name][e]
        layer.glu(8, matrix=matrix)
    layer.gone = [stack[e].tobytes() for stack in stacks.values() for e in (3, 6)]
    return layer


def shared():
    """Scaling experts; the graph reads their whole bank too."""
    layer = Layer(14)
    stack = layer.numbers(EXPERTS, FEATURES)
    name = layer.bank(stack)
    for e in range(EXPERTS):
        layer.entries.append(f"moe.expert @e{e} scale up {name}[{e}]")
        layer.functions.append(lambda x, e=e: x * stack[e])
    kind, x = f"tensor<{EXPERTS}x{FEATURES}xf32>", f"tensor<?x{FEATURES}xf32>"
    layer.rest = f"""%v = moe.weight {name} : {kind}
  %axes = onnx.constant dense<0> : tensor<1xi64>
  %s = onnx.node "ReduceSum" v 13 (%v, %axes) {{keepdims = 1 : i64}} : ({kind}, tensor<1xi64>) -> tensor<1x{FEATURES}xf32>
  %r = onnx.node "Add" v 14 (%y, %s) : ({x}, tensor<1x{FEATURES}xf32>) -> {x}"""
    mixed = layer.reference
    layer.reference = lambda x: mixed(x) + stack.astype(float).sum(0)
    layer.once = stack.tobytes()
    layer.raises = None
    return layer


def null(layer, kind, text=""):
    layer.entries.append(f"moe.null_expert @n{len(layer.entries)} {kind} {text}")


def uneven():
    """Another width for each expert, limits and betas."""
    layer = Layer(2)
    for e in range(EXPERTS):
        layer.glu(4 + 4 * e, "alpha 1.5 beta 0.5 limit 0.75", beta=0.5, limit=0.75, alpha=1.5)
    return layer


def aliases():
    layer = plain(EXPERTS - 2, seed=3)
    for target in (1, 2):
        layer.entries.append(f"moe.alias @a{target} of @e{target}")
        layer.functions.append(layer.functions[target])
    return layer


def nulls():
    layer = plain(EXPERTS - 2, seed=4)
    for _ in range(2):
        null(layer, "zero")
        layer.functions.append(np.zeros_like)
    return layer


def real_norm():
    """AdaMoE: null experts take no weight."""
    layer = nulls()
    layer.options = "norm real"

    def after(w, ids):
        w = np.where(ids >= EXPERTS - 2, 0.0, w)
        total = w.sum(-1, keepdims=True)
        return np.where(total == 0, 0.0, w / np.where(total == 0, 1.0, total))
    layer.after = after
    return layer


def dense_real_norm():
    layer = real_norm()
    layer.dense, layer.top_k, layer.raises = True, EXPERTS, None
    return layer


def skip_rule_without_real():
    """A token that chose null experts alone has no weight to share."""
    layer = plain(EXPERTS - 3, seed=17)
    for _ in range(3):
        null(layer, "copy")
        layer.functions.append(lambda x: x)
    layer.options, layer.top_k = "norm real skip_ratio 0.45", 2
    layer.router = np.zeros_like(layer.router)
    layer.router[:, 0] = [-9, -8, -7, 7, 8, 9]

    def after(w, ids):
        w = np.where(ids >= EXPERTS - 3, 0.0, w)
        w = w / np.maximum(w.sum(-1, keepdims=True), 1e-30)
        w = np.where(w < 0.45 * w[:, :1], 0.0, w)
        return w / np.maximum(w.sum(-1, keepdims=True), 1e-30)
    layer.after = after
    return layer


def copies():
    """MoE++: experts that copy, or give a vector of their own."""
    layer = plain(EXPERTS - 2, seed=5)
    value, mix = layer.numbers(FEATURES), layer.numbers(2, FEATURES)
    null(layer, "copy")
    null(layer, "constant", f"value {layer.bank(value)} mix {layer.bank(mix)}")

    def constant(x):
        a = softmax(x @ mix.T.astype(float))
        return a[:, :1] * x + a[:, 1:] * value
    layer.functions += [lambda x: x, constant]
    layer.raises = None
    return layer


def skip_rule():
    layer = plain(seed=6)
    layer.options = "norm selected skip_ratio 0.45"

    def after(w, ids):
        w = w / w.sum(-1, keepdims=True)
        w = np.where(w < 0.45 * w[:, :1], 0.0, w)
        return w / w.sum(-1, keepdims=True)
    layer.after = after
    return layer


def skip_rule_of_raw_weights():
    layer = plain(seed=7)
    layer.options = "skip_ratio 0.5 scale 2.0"
    layer.after = lambda w, ids: 2 * np.where(w < 0.5 * w[:, :1], 0.0, w)
    return layer


def groups():
    layer = plain(seed=8)
    layer.gate, layer.top_k = "sigmoid", 2
    layer.options = "groups 3 top_groups 2 group_score top2 group_mask minus_infinity norm selected"

    def choose(z):
        s = sigmoid(z)
        score = s.reshape(len(z), 3, 2).sum(-1)
        kept = np.argsort(-score, -1, kind="stable")[:, :2]
        mask = np.repeat((kept[:, :, None] == np.arange(3)).any(1), 2, 1)
        return np.where(mask, s, -np.inf), s
    layer.choose = choose
    return layer


def sparse_mixer():
    """PhiMoE; ONNX Runtime's operator reads it as a plain choice."""
    layer = plain(seed=9)
    layer.gate, layer.options, layer.top_k = "none", "sparse_mixer 0.3", 2
    layer.raises = None

    def reference(x):
        x = x.astype(float)
        z = x @ layer.router.T.astype(float)
        y = np.zeros_like(x)
        for t in range(len(x)):
            rest = z[t].copy()
            for _ in range(2):
                m, e = rest.max(), int(rest.argmax())
                near = np.where((m - z[t]) / np.maximum(np.abs(z[t]), m) > 0.3, -np.inf, rest)
                y[t] += softmax(near)[e] * layer.functions[e](x[t:t + 1])[0]
                rest[e] = -np.inf
        return y
    layer.reference = reference
    return layer


def scaled_input():
    """Llama 4: the weight goes to the expert's input."""
    layer = plain(seed=10)
    layer.gate, layer.options, layer.top_k = "sigmoid", "", 1
    layer.apply = "scale_input prescale 2.0"
    layer.choose = lambda z: (z, sigmoid(z))
    layer.after = lambda w, ids: w
    layer.add = lambda e, weight, x: layer.functions[e](2 * weight * x)[0]
    layer.raises = None
    return layer


def factored():
    """Low rank, rows on their own, a base: MC-SMoE and LoRA."""
    layer = Layer(11)

    def low_rank(w):
        left, right = layer.numbers(w.shape[0], 2), layer.numbers(2, w.shape[1])
        rows, ids = layer.numbers(3, w.shape[1]), np.array([3, 0, 7], np.int32)
        total = left.astype(float) @ right
        total[ids] += rows
        return (f"factored<left = <{layer.bank(left)}>, right = <{layer.bank(right)}>, "
                f"rows = <{layer.bank(rows)}>, row_ids = <{layer.bank(ids)}>>"), total

    def lora(w):
        left, right = layer.numbers(w.shape[0], 2), layer.numbers(2, w.shape[1])
        return (f"factored<base = <{layer.bank(w)}>, left = <{layer.bank(left)}>, "
                f"right = <{layer.bank(right)}>, scale = 4.0>"), w + 4 * left.astype(float) @ right
    for e in range(EXPERTS):
        layer.glu(8, matrix=low_rank if e % 2 else lora)
    layer.raises = None
    return layer


def low_rank(linear=False, store=None):
    """Factors alone; gate and up share the right one, or (linear) one expert is a product of low rank by itself."""
    layer = Layer(15)
    store = store(layer) if store else lambda w: (layer.bank(w), w)

    def factors(outputs, inputs, rank, right=None):
        left, right = store(layer.numbers(outputs, rank)), right or store(layer.numbers(rank, inputs))
        return f"factored<left = <{left[0]}>, right = <{right[0]}>>", left[1].astype(float) @ right[1], right
    for e in range(EXPERTS):
        if linear:
            up, down = layer.numbers(8, FEATURES), layer.numbers(FEATURES, 8)
            layer.entries.append(f"moe.expert @e{e} ffn identity up {layer.bank(up)} down {layer.bank(down)}")
            layer.functions.append(lambda x, up=up, down=down: x @ up.T.astype(float) @ down.T)
            continue
        gate, g, right = factors(32, FEATURES, 8 if e % 2 else 4)
        up, u, _ = factors(32, FEATURES, 8 if e % 2 else 4, right)
        down, d, _ = factors(FEATURES, 32, 4)
        layer.entries.append(f"moe.expert @e{e} glu silu gate {gate} up {up} down {down}")

        def run(x, g=g, u=u, d=d):
            a = x @ g.T
            return (a * sigmoid(a) * (x @ u.T)) @ d.T
        layer.functions.append(run)
    return layer


def spread_rows():
    """Rows on their own, beside a base."""
    layer = Layer(19)

    def store(w):
        rows, ids = layer.numbers(3, w.shape[1]), np.array([3, 0, 7], np.int32)
        total = w.astype(float)
        total[ids] += rows
        return f"factored<base = <{layer.bank(w)}>, rows = <{layer.bank(rows)}>, row_ids = <{layer.bank(ids)}>>", total
    for _ in range(EXPERTS):
        layer.glu(8, matrix=store)
    layer.raises = None
    return layer


def coder(layer, code, block, scale_type="float32"):
    """Values of 4 bits by a table, or 8-bit floats; scales also as powers of two."""
    def store(w):
        rows, columns = w.shape
        size = block or columns
        shape = (rows, columns // size)
        if scale_type == "exponents":
            stored = layer.random.integers(120, 125, shape).astype(np.uint8)
            scales, side = 2.0 ** (stored.astype(float) - 127), (stored, "f8E8M0FNU")
        else:
            scales = layer.random.uniform(0.05, 0.1, shape).astype(scale_type)
            side = scales, {"float16": "f16", "float32": "f32"}[scale_type]
        if code == "fp8":
            byte = layer.random.integers(0, 256, (rows, columns)).astype(np.uint8)
            byte[byte & 0x7f > 0x60] = 0x38  # NaN, and numbers that hide all others
            sign, exponent, mantissa = byte >> 7, (byte >> 3 & 15).astype(int), byte & 7
            number = np.where(exponent == 0, mantissa / 8 * 2.0 ** -6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
            values, text = np.where(sign, -number, number), layer.bank(byte, "f8E4M3FN")
        else:
            q = layer.random.integers(0, 16, (rows, columns))
            values = compare_ir.CODES[code][q]
            text = layer.bank((q[:, 0::2] | q[:, 1::2] << 4).astype(np.uint8), "ui8")
        values = values.astype(float) * np.repeat(scales.astype(float), size, 1)
        text += (f" quant<bits = {8 if code == 'fp8' else 4}, block = {block}, "
                 f"scales = <{layer.bank(side[0] if block else side[0][:, 0], side[1])}>")
        return text + (">" if code == "fp8" else f', code = "{code}">'), values
    return store


def coded(code, block, scale_type="float32"):
    layer = Layer(16)
    for _ in range(EXPERTS):
        layer.glu(32, matrix=coder(layer, code, block, scale_type))
    return layer


def quantiser(layer, bits, block, zeros, signed=False, scale_type="float32"):
    def store(w):
        rows, columns = w.shape
        size = block or columns
        top = 2 ** (bits - 1)
        shape = (rows, columns // size)
        if scale_type == "exponents":
            side = layer.random.integers(120, 125, shape).astype(np.uint8)
            scales, kind = 2.0 ** (side.astype(float) - 127), "f8E8M0FNU"
        else:
            side = scales = layer.random.uniform(0.05, 0.1, shape).astype(scale_type)
            kind = None
        q = layer.random.integers(0, 2 * top, (rows, columns))
        zero = layer.random.integers(top - 2, top + 2, scales.shape) if zeros else np.full(scales.shape, top)
        values = (q - np.repeat(zero, size, 1)) * np.repeat(scales, size, 1).astype(float)
        stored = ((q - top) & (2 * top - 1) if signed else q).astype(np.uint8)
        if bits == 4:
            stored = stored[:, 0::2] | stored[:, 1::2] << 4
        text = layer.bank(stored, "i8" if signed else "ui8")
        text += (f" quant<bits = {bits}, block = {block}, "
                 f"scales = <{layer.bank(side if block else side[:, 0], kind)}>")
        if zeros:
            z = zero if block else zero[:, 0]
            text += f", zeros = <{layer.bank(z.astype(np.uint8))}>"
        return text + ">", values
    return store


def quantised(bits, block, zeros, signed=False, ops=(), seed=12, mixed=False, scale_type="float32"):
    layer = Layer(seed)
    for e in range(EXPERTS):
        if mixed and e % 2:
            layer.glu(32)
        else:
            layer.glu(32, matrix=quantiser(layer, bits, block, zeros, signed, scale_type))
    layer.ops = set(ops)
    if scale_type == "exponents":
        layer.raises = None
    return layer


CASES = {
    "pruned": pruned, "shared": shared, "uneven": uneven, "aliases": aliases, "nulls": nulls, "real_norm": real_norm,
    "copies": copies, "skip_rule": skip_rule, "dense_real_norm": dense_real_norm, "spread_rows": spread_rows,
    "skip_rule_without_real": skip_rule_without_real, "skip_rule_of_raw_weights": skip_rule_of_raw_weights,
    "groups": groups, "sparse_mixer": sparse_mixer, "scaled_input": scaled_input,
    "factored": factored, "low_rank": low_rank, "linear": lambda: low_rank(linear=True),
    "low_rank_int4": lambda: low_rank(store=lambda layer: quantiser(layer, 4, 0, False)),
    "low_rank_nf4": lambda: low_rank(store=lambda layer: coder(layer, "nf4", 0)),
    "fp4": lambda: coded("fp4", 8, "exponents"), "int4_exponents": lambda: quantised(4, 8, False, scale_type="exponents"),
    "int8_exponents": lambda: quantised(8, 0, True, scale_type="exponents"), "fp4_f16": lambda: coded("fp4", 16, "float16"),
    "nf4": lambda: coded("nf4", 16), "nf4_rows": lambda: coded("nf4", 0, "float16"),
    "fp8": lambda: coded("fp8", 8), "fp8_rows": lambda: coded("fp8", 0, "float16"),
    "int8_rows": lambda: quantised(8, 0, False, ops=["QMoE"]),
    "int8_rows_signed": lambda: quantised(8, 0, False, signed=True, ops=["QMoE"]),
    "int8_rows_zeros": lambda: quantised(8, 0, True, ops=["QMoE"]),
    "int4_rows": lambda: quantised(4, 0, False, ops=["QMoE"]),
    "int4_rows_signed": lambda: quantised(4, 0, False, signed=True, ops=["QMoE"]),
    "int4_one_block": lambda: quantised(4, 16, False, ops=["DequantizeLinear"]),
    "int4_f16": lambda: quantised(4, 8, False, ops=["DequantizeLinear"], scale_type="float16"),
    "int4_blocks_zeros": lambda: quantised(4, 8, True, ops=["DequantizeLinear"]),
    "int8_blocks": lambda: quantised(8, 8, False, ops=["DequantizeLinear"]),
    "int8_blocks_signed": lambda: quantised(8, 8, False, signed=True, ops=["DequantizeLinear"]),
    "mixed_bits": lambda: quantised(4, 8, False, ops=["DequantizeLinear"], mixed=True),
}


def changed(case, **changes):
    layer = CASES[case]()
    for name, value in changes.items():
        setattr(layer, name, value)
    return layer


# Models of older opsets; what they need is not said in them, so that reading back is another matter.
for old in ("int8_rows", "int4_one_block", "int4_blocks_zeros", "nf4", "low_rank", "low_rank_int4", "low_rank_nf4"):
    for opset in (13, 18, 20):
        CASES[f"{old}_opset{opset}"] = lambda old=old, opset=opset: changed(old, opset=opset, raises=None)
for half in ("uneven", "int8_rows", "int4_blocks_zeros", "factored", "spread_rows"):
    CASES[f"{half}_in_f16"] = lambda half=half: changed(half, opset=13, raises=None, type=np.float16, ops=set())


def export(source, out, form):
    done = subprocess.run(["moe-opt", str(source), "-o", str(out), f"--onnx-moe={form}"],
                          capture_output=True, text=True)
    return f"exit code {done.returncode}: {done.stderr.strip()}" if done.returncode else ""


def check(layer, directory, form):
    source, out, again = (directory / name for name in ("layer.mlir", "layer.onnx", "again.onnx"))
    source.write_text(layer.text())
    if problem := export(source, out, form):
        return problem
    ops = {node.op_type for node in onnx.load(out).graph.node}
    missing = layer.ops - ops if form == "contrib" else ops & {"MoE", "QMoE"}
    if missing:
        return f"{', '.join(sorted(missing))}: {', '.join(sorted(ops))}"
    if any(part in out.read_bytes() for part in layer.gone):
        return "holds an expert that was pruned"
    if layer.once and out.read_bytes().count(layer.once[-4 * FEATURES:]) != 1:
        return "holds a shared bank twice"
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for tokens in (TOKENS, 1, 0):
        x = layer.random.standard_normal((tokens, FEATURES)).astype(layer.type)
        got, want = session.run(None, {"x": x})[0], layer.reference(x)
        if got.shape != want.shape:
            return f"gives the shape {got.shape}"
        worst = relative_error(got, want)
        if not worst <= (5e-3 if layer.type == np.float16 else 1e-4):
            return f"{tokens} tokens: off by {worst:.2e}"
    if layer.raises is None:
        return ""
    # What is read back is written as it was: nothing gets lost on the way.
    if problem := export(out, again, form):
        return "again: " + problem
    read = compare_ir.Module(out)
    if read.text.count(" = moe.apply ") != layer.raises:
        return "the importer does not find the layer again"
    if difference := compare_ir.difference(out, again):
        return "reads differently:\n" + difference
    return ""


def main():
    onnxruntime.set_default_logger_severity(3)
    failed = False
    for name in sys.argv[1:] or CASES:
        for form in ("contrib", "standard"):
            with tempfile.TemporaryDirectory() as directory:
                try:
                    problem = check(CASES[name](), pathlib.Path(directory), form)
                except Exception as error:  # ONNX Runtime's classes have no base of their own
                    problem = str(error)
            if problem:
                print(f"{name}, {form}: {problem}")
                failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
