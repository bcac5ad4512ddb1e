#!/usr/bin/env python3
"""Runs generated kernels on random data and compares them with numpy in float64.

usage: check_kernels.py MOE_OPT MOE_RUN WORK_DIR [--target T] [--road R] [--level 0..3] [--tolerance X] [only...]
Prints a line per case; exit code 1 when one differs.
"""
import pathlib
import subprocess
import sys

import numpy as np

import running

WIDTH = 32
NAMES = {"float32": "f32", "int64": "i64", "int32": "i32", "bool": "i1"}


def tensor(array: np.ndarray, dynamic=(), kind=None) -> str:
    """The MLIR type of an array; `dynamic` dimensions become `?`."""
    shape = "".join(("?" if d in dynamic else str(n)) + "x" for d, n in enumerate(array.shape))
    return f"tensor<{shape}{kind or NAMES[str(array.dtype)]}>"


def store(values: np.ndarray, kind: str):
    """What a file holds for `kind`, and the numbers that it means."""
    if kind == "bf16":
        bits = (values.astype(np.float32).view(np.uint32) + 0x8000) >> 16
        return bits.astype(np.uint16), (bits << 16).astype(np.uint32).view(np.float32)
    if kind == "f16":
        return values.astype(np.float16), values.astype(np.float16)
    return values.astype(np.float32), values.astype(np.float32)


def panels(matrices: np.ndarray, interleave: int = 0) -> np.ndarray:
    """[E, K, N] as [E, panels, K, width]; interleaved: halves of N take turns."""
    experts, depth, columns = matrices.shape
    if interleave:
        half = columns // 2
        count = -(-half // interleave)
        packed = np.zeros((experts, count, depth, WIDTH), matrices.dtype)
        for p in range(count):
            for side in range(2):
                part = matrices[:, :, side * half + p * interleave:side * half + min((p + 1) * interleave, half)]
                packed[:, p, :, side * interleave:side * interleave + part.shape[2]] = part
        return packed
    count = -(-columns // WIDTH)
    packed = np.zeros((experts, count, depth, WIDTH), matrices.dtype)
    for p in range(count):
        part = matrices[:, :, p * WIDTH:(p + 1) * WIDTH]
        packed[:, p, :, :part.shape[2]] = part
    return packed


class Case:
    """A function of one op: its inputs (name: array, dynamic dims, type), text and expected outputs."""

    def __init__(self, name):
        self.name, self.inputs, self.body, self.results, self.expected = name, {}, "", [], {}

    def add(self, name, array, dynamic=(), kind=None):
        self.inputs[name] = (array, tensor(array, dynamic, kind))
        return f"%{name}", self.inputs[name][1]

    def module(self) -> str:
        args = ", ".join(f'%{n}: {t} {{moe.name = "{n}"}}' for n, (_, t) in self.inputs.items())
        types = ", ".join(f'{t} {{moe.name = "{n}"}}' for n, _, t in self.results)
        values = ", ".join(v for _, v, _ in self.results)
        plain = ", ".join(t for _, _, t in self.results)
        return f"func.func @main({args}) -> ({types}) {{\n{self.body}  return {values} : {plain}\n}}\n"


def init(case, name, like, last, kind="f32", sizes=None):
    """A tensor.empty with the leading sizes of input `like`; returns value and type."""
    text, shape = "", []
    for d, n in enumerate(sizes):
        shape.append("?" if n is None else str(n))
        if n is None:
            text += f"  %c{name}{d} = arith.constant {like[d][1]} : index\n"
            text += f"  %d{name}{d} = tensor.dim %{like[d][0]}, %c{name}{d} : {case.inputs[like[d][0]][1]}\n"
    kind_text = "tensor<" + "".join(s + "x" for s in shape) + kind + ">"
    dims = ", ".join(f"%d{name}{d}" for d, n in enumerate(sizes) if n is None)
    case.body += text + f"  %{name} = tensor.empty({dims}) : {kind_text}\n"
    return f"%{name}", kind_text


def gemm(rng, m, k, n, kind, bias, residual):
    case = Case(f"gemm {m}x{k}x{n} {kind}{' bias' if bias else ''}{' residual' if residual else ''}")
    x = rng.standard_normal((m, k)).astype(np.float32)
    stored, w = store(rng.standard_normal((1, k, n)), kind)
    expected = x.astype(np.float64) @ w[0].astype(np.float64)
    xv, xt = case.add("x", x, (0,))
    wv, wt = case.add("w", panels(stored), kind=kind)
    text = f"moert.gemm ins({xv}, {wv} : {xt}, {wt})"
    if bias:
        b = rng.standard_normal(n).astype(np.float32)
        bv, bt = case.add("b", b)
        text += f" bias({bv} : {bt})"
        expected += b
    if residual:
        r = rng.standard_normal((m, n)).astype(np.float32)
        rv, rt = case.add("r", r, (0,))
        text += f" residual({rv} : {rt})"
        expected += r
    o, ot = init(case, "o", [("x", 0)], n, sizes=[None, n])
    case.body += f"  %y = {text} outs({o} : {ot}) -> {ot}\n"
    case.results.append(("y", "%y", ot))
    case.expected["y"] = expected
    return case


ACTIVATIONS = {
    "silu": lambda v: v / (1 + np.exp(-v)),
    "relu": lambda v: np.maximum(v, 0),
    "relu2": lambda v: np.maximum(v, 0) ** 2,
    "identity": lambda v: v,
    "gelu_tanh": lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v ** 3))),
}


def expert_ffn(rng, t, h, i, e, k, kind, act="silu", glu=True, bias=False, residual=False, limit=0.0, beta=0.0,
               scaled=False, only=None, null=False):
    case = Case(f"expert_ffn T={t} {h}x{i} E={e} k={k} {kind} {act} glu={glu} bias={bias} residual={residual} "
                f"limit={limit} scaled={scaled} only={only} null={null}")
    columns = 2 * i if glu else i
    up_stored, up = store(rng.standard_normal((e, h, columns)) / np.sqrt(h), kind)
    down_stored, down = store(rng.standard_normal((e, i, h)) / np.sqrt(i), kind)
    x = rng.standard_normal((t, h)).astype(np.float32)
    ids = np.stack([rng.permutation(e)[:k] for _ in range(t)]).astype(np.int32) if t else np.zeros((0, k), np.int32)
    if only is not None:  # all tokens to one expert, the others empty
        ids[:, :] = only
    if null and t:
        ids[0, 0], ids[-1, -1] = e + 3, -1
    weights = rng.random((t, k)).astype(np.float32)
    up_bias = rng.standard_normal((e, columns)).astype(np.float32)
    down_bias = rng.standard_normal((e, h)).astype(np.float32)
    y = np.zeros((t, h))
    res = rng.standard_normal((t, h)).astype(np.float32)
    if residual:
        y += res
    for a in range(t):
        for j in range(k):
            expert, w = ids[a, j], float(weights[a, j])
            if not 0 <= expert < e:
                continue
            row = x[a].astype(np.float64) * (w if scaled else 1)
            s = row @ up[expert].astype(np.float64) + (up_bias[expert] if bias else 0)
            if glu:
                g, l = s[:i], s[i:]
                if limit:
                    g, l = np.minimum(g, limit), np.clip(l, -limit, limit)
                hidden = ACTIVATIONS[act](g) * (l + beta)
            else:
                hidden = ACTIVATIONS[act](np.minimum(s, limit) if limit else s)
            out = hidden @ down[expert].astype(np.float64) + (down_bias[expert] if bias else 0)
            y[a] += out if scaled else w * out
    xv, xt = case.add("x", x, (0,))
    iv, it = case.add("ids", ids, (0,))
    wv, wt = case.add("w", weights, (0,))
    uv, ut = case.add("up", panels(up_stored, WIDTH // 2 if glu else 0), kind=kind)
    dv, dt = case.add("down", panels(down_stored), kind=kind)
    text = f"moert.expert_ffn {act}{' glu' if glu else ''} ins({xv}, {iv}, {wv} : {xt}, {it}, {wt}) up({uv} : {ut})"
    if bias:
        bv, bt = case.add("ub", up_bias)
        text += f" bias({bv} : {bt})"
    text += f" down({dv} : {dt})"
    if bias:
        bv, bt = case.add("db", down_bias)
        text += f" bias({bv} : {bt})"
    if residual:
        rv, rt = case.add("res", res, (0,))
        text += f" residual({rv} : {rt})"
    o, ot = init(case, "o", [("x", 0)], h, sizes=[None, h])
    attributes = f"{{limit = {limit:e}, beta = {beta:e}{', scale_input' if scaled else ''}}}"
    case.body += f"  %y = {text} outs({o} : {ot}) {attributes} -> {ot}\n"
    case.results.append(("y", "%y", ot))
    case.expected["y"] = y
    return case


def attention(rng, b, s, past, heads, kv, d, causal=True, window=0, mask=None, bias=False, softcap=0.0, uniform=False):
    length = s + past
    case = Case(f"attention B={b} S={s} L={length} {heads}/{kv}x{d} causal={causal} window={window} mask={mask} "
                f"bias={bias} softcap={softcap} uniform={uniform}")
    q = rng.standard_normal((b, s, heads, d)).astype(np.float32)
    k = rng.standard_normal((b, kv, length, d)).astype(np.float32)
    v = rng.standard_normal((b, kv, length, d)).astype(np.float32)
    qv, qt = case.add("q", q, (0, 1))
    kv_, kt = case.add("k", k, (0, 2))
    vv, vt = case.add("v", v, (0, 2))
    text = f"moert.attention ins({qv}, {kv_}, {vv} : {qt}, {kt}, {vt})"
    group = heads // kv
    scale = 1 / np.sqrt(d)
    scores = np.einsum("bshd,bhld->bhsl", q.astype(np.float64), np.repeat(k, group, 1).astype(np.float64)) * scale
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    visible = np.ones((b, 1, s, length), bool)
    place = np.arange(s)[:, None] + length - s
    if causal:
        visible &= np.arange(length)[None, :] <= place
    if window:
        visible &= np.arange(length)[None, :] > place - window
    if mask:
        bits = np.ones((b, length), np.int64)
        bits[0, :mask] = 0
        mv, mt = case.add("mask", bits, (0, 1))
        text += f" key_mask({mv} : {mt})"
        visible = visible & (bits != 0)[:, None, None, :]
    if bias:
        extra = rng.standard_normal((1, heads, s, length)).astype(np.float32)
        bv, bt = case.add("bias", extra, (0, 2, 3))
        text += f" bias({bv} : {bt})"
        scores = scores + extra
    scores = np.where(visible, scores, -np.inf)
    top = scores.max(-1, keepdims=True) if length else scores
    weights = np.where(visible, np.exp(scores - np.where(np.isinf(top), 0, top)), 0)
    total = weights.sum(-1, keepdims=True)
    blind = total == 0
    weights = np.where(blind, (1 / length if length else 0) if uniform else 0, weights / np.where(blind, 1, total))
    y = np.einsum("bhsl,bhld->bshd", weights, np.repeat(v, group, 1).astype(np.float64))
    o, ot = init(case, "o", [("q", 0), ("q", 1)], d, sizes=[None, None, heads, d])
    attributes = f"window = {window} : i64, softcap = {softcap:e}"
    if uniform:
        attributes += ", masked_row = 1 : i32"
    case.body += f"  %y = {text} outs({o} : {ot}) scale {scale:.17e}{' causal' if causal else ''} {{{attributes}}} -> {ot}\n"
    case.results.append(("y", "%y", ot))
    case.expected["y"] = y
    return case


def route(rng, t, e, k, score="softmax", late=False, norm=False, bias=False, high=False, ties=False, scale=1.0,
          count=None, skip=None, logits=None):
    case = Case(f"route T={t} E={e} k={count or k}/{k} {score} late={late} norm={norm} bias={bias} high={high} "
                f"ties={ties} skip={skip}")
    z = rng.standard_normal((t, e)).astype(np.float32) if logits is None else np.array(logits, np.float32)
    if ties:
        z = np.round(z)
    zv, zt = case.add("z", z, (0,))
    wide = z.astype(np.float64)
    score_of = {"softmax": lambda v: np.exp(v - v.max(-1, keepdims=True)) /
                np.exp(v - v.max(-1, keepdims=True)).sum(-1, keepdims=True) if v.size else v,
                "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "none": lambda v: v}[score]
    scores = wide if late else score_of(wide)
    choice = scores.astype(np.float32).astype(np.float64) if not ties else wide
    text = f"moert.route {score} ins({zv} : {zt})"
    if bias:
        b = rng.standard_normal(e).astype(np.float32)
        bv, bt = case.add("b", b)
        text += f" choice_bias({bv} : {bt})"
        choice = scores + b
    if count:
        nv, nt = case.add("n", np.array(count, np.int64))
        case.body += f"  %n64 = tensor.extract {nv}[] : {nt}\n  %count = arith.index_cast %n64 : i64 to index\n"
        text += " dynamic %count"
    order = np.argsort(-choice if not high else -choice[:, ::-1], axis=1, kind="stable")
    ids = (order if not high else e - 1 - order)[:, :count or k]
    w = np.take_along_axis(scores, ids, 1)
    if late:
        w = score_of(w)
    if norm:
        total = w.sum(-1, keepdims=True)
        w = np.where(total == 0, 0, w / np.where(total == 0, 1, total))
    if skip is not None:
        low = w < skip * w[:, :1]
        low[:, 0] = False
        case.expected_skips = low
        ids, w = np.where(low, -1, ids), np.where(low, 0, w)
        if norm or (late and score == "softmax"):
            w = w / np.maximum(w.sum(-1, keepdims=True), 1e-300)
    empty = ((0, 0), (0, k - ids.shape[1]))
    ids, w = np.pad(ids, empty, constant_values=-1), np.pad(w, empty)
    i, it = init(case, "i", [("z", 0)], k, "i32", [None, k])
    o, ot = init(case, "o", [("z", 0)], k, "f32", [None, k])
    flags = [name for name, on in (("select_first", late), ("normalize", norm), ("ties_high", high)) if on]
    flags.append(f"scale = {scale:e}")
    if skip is not None:
        flags.append(f"skip_ratio = {skip:e}")
    case.body += (f"  %ids, %w = {text} outs({i}, {o} : {it}, {ot}) {{{', '.join(flags)}}} -> {it}, {ot}\n")
    case.results += [("ids", "%ids", it), ("w", "%w", ot)]
    case.expected = {"ids": ids, "w": w * scale}
    return case


def rows(rng, b, s, heads, d, past):
    """Norms, rotation, embedding and appending, in one function."""
    case = Case(f"rows B={b} S={s} {heads}x{d} past={past}")
    x = rng.standard_normal((b, s, heads, d)).astype(np.float32)
    scale = rng.standard_normal(d).astype(np.float32)
    shift = rng.standard_normal(d).astype(np.float32)
    pos = rng.integers(0, 1000, (b, s))
    freq = (10000.0 ** (-np.arange(d // 4) / (d // 4))).astype(np.float32)
    cache = rng.standard_normal((b, heads, past, d)).astype(np.float32)
    stored, table = store(rng.standard_normal((7, d)), "bf16")
    ids = rng.integers(-7, 7, (b, s))
    xv, xt = case.add("x", x, (0, 1))
    sv, st = case.add("scale", scale)
    bv, bt = case.add("shift", shift)
    pv, pt = case.add("pos", pos, (0, 1))
    fv, ft = case.add("freq", freq)
    cv, ct = case.add("cache", cache, (0, 2))
    tv, tt = case.add("table", stored, kind="bf16")
    iv, it = case.add("ids", ids, (0, 1))
    lead = [("x", 0), ("x", 1)]
    o, ot = init(case, "o", lead, d, sizes=[None, None, heads, d])
    case.body += f"  %rms = moert.rms_norm ins({xv}, {sv} : {xt}, {st}) outs({o} : {ot}) epsilon 1.0e-6 -> {ot}\n"
    o, ot = init(case, "o2", lead, d, sizes=[None, None, heads, d])
    case.body += (f"  %ln = moert.layer_norm ins({xv}, {sv} : {xt}, {st}) bias({bv} : {bt}) outs({o} : {ot}) "
                  f"epsilon 1.0e-5 -> {ot}\n")
    c, ctt = init(case, "ct", lead, d, sizes=[None, None, d // 4])
    n, _ = init(case, "st", lead, d, sizes=[None, None, d // 4])
    case.body += (f"  %cos, %sin = moert.rope_table ins({pv}, {fv} : {pt}, {ft}) outs({c}, {n} : {ctt}, {ctt}) "
                  f"-> {ctt}, {ctt}\n")
    o3, _ = init(case, "o3", lead, d, sizes=[None, None, heads, d])
    o4, _ = init(case, "o4", lead, d, sizes=[None, None, heads, d])
    for name, out, flag in (("rope", o3, ""), ("ropei", o4, " {interleaved}")):
        case.body += (f"  %{name} = moert.rope ins({xv}, %cos, %sin : {xt}, {ctt}, {ctt}) outs({out} : {ot})"
                      f"{flag} -> {ot}\n")
    case.body += f"  %two = arith.constant 2 : index\n  %p = tensor.dim {cv}, %two : {ct}\n"
    case.body += f"  %one = arith.constant 1 : index\n  %f = tensor.dim {xv}, %one : {xt}\n"
    case.body += f"  %zero = arith.constant 0 : index\n  %bb = tensor.dim {xv}, %zero : {xt}\n"
    case.body += f"  %all = arith.addi %p, %f : index\n  %ki = tensor.empty(%bb, %all) : {ct}\n"
    case.body += f"  %kv = moert.kv_append past({cv} : {ct}) ins({xv} : {xt}) outs(%ki : {ct}) -> {ct}\n"
    e, et = init(case, "e", lead, d, sizes=[None, None, d])
    case.body += f"  %emb = moert.embed ins({iv}, {tv} : {it}, {tt}) outs({e} : {et}) -> {et}\n"
    wide = x.astype(np.float64)
    angle = (pos[..., None].astype(np.float32) * freq.astype(np.float32)).astype(np.float64)
    cos, sin = np.cos(angle)[:, :, None], np.sin(angle)[:, :, None]
    half = d // 4

    def rotate(first, second):
        y = wide.copy()
        y[..., first] = wide[..., first] * cos - wide[..., second] * sin
        y[..., second] = wide[..., second] * cos + wide[..., first] * sin
        return y

    centred = wide - wide.mean(-1, keepdims=True)
    case.expected = {
        "rms": wide / np.sqrt((wide ** 2).mean(-1, keepdims=True) + 1e-6) * scale,
        "ln": centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-5) * scale + shift,
        "cos": np.cos(angle), "sin": np.sin(angle),
        "rope": rotate(np.arange(half), np.arange(half) + half),
        "ropei": rotate(np.arange(half) * 2, np.arange(half) * 2 + 1),
        "kv": np.concatenate([cache, x.transpose(0, 2, 1, 3)], 2),
        "emb": table[ids],
    }
    types = {"cos": ctt, "sin": ctt, "kv": ct, "emb": et}
    case.results = [(name, f"%{name}", types.get(name, ot)) for name in case.expected]
    return case


def cases(rng):
    for m, k, n, kind, bias, residual in [
            (1, 192, 192, "f32", False, True), (2, 64, 33, "f32", True, False), (13, 100, 70, "bf16", True, True),
            (0, 32, 32, "f32", False, False), (97, 1100, 64, "f16", False, False), (300, 48, 320, "f32", False, True),
            (5, 7, 1, "bf16", False, False), (24, 512, 96, "f32", False, False)]:
        yield gemm(rng, m, k, n, kind, bias, residual)
    for t in (0, 1, 17):
        yield expert_ffn(rng, t, 64, 48, 4, 2, "f32")
    yield expert_ffn(rng, 150, 32, 32, 3, 1, "bf16", only=1)
    yield expert_ffn(rng, 40, 70, 50, 5, 3, "f32", bias=True, residual=True, limit=1.5, beta=1.0)
    yield expert_ffn(rng, 33, 64, 600, 4, 2, "f16", act="gelu_tanh", glu=False, bias=True)
    yield expert_ffn(rng, 9, 64, 40, 4, 4, "bf16", act="relu2", glu=False, residual=True)
    yield expert_ffn(rng, 12, 32, 64, 4, 2, "f32", act="relu", scaled=True, null=True)
    for b, s, past, heads, kv, d, options in [
            (1, 1, 0, 2, 1, 32, {}), (2, 17, 0, 6, 2, 32, {}), (1, 5, 300, 4, 4, 64, {}), (1, 1, 256, 6, 2, 32, {}),
            (2, 40, 7, 4, 2, 24, dict(window=9)), (2, 30, 0, 4, 1, 16, dict(mask=4)),
            (2, 30, 0, 4, 1, 16, dict(mask=4, uniform=True)), (1, 33, 0, 2, 2, 80, dict(causal=False, bias=True)),
            (1, 70, 3, 2, 1, 32, dict(softcap=5.0)), (2, 0, 5, 2, 1, 32, {}), (1, 600, 0, 3, 1, 32, {})]:
        yield attention(rng, b, s, past, heads, kv, d, **options)
    for t, e, k, options in [
            (1, 8, 2, dict(norm=True)), (17, 16, 4, {}), (5, 128, 8, dict(score="sigmoid", bias=True, norm=True, scale=2.5)),
            (9, 6, 2, dict(late=True)), (40, 4, 3, dict(ties=True)), (40, 4, 3, dict(ties=True, high=True)),
            (0, 4, 2, {}), (7, 5, 5, dict(score="none")), (300, 20, 2, dict(late=True, score="sigmoid", norm=True)),
            (9, 6, 6, dict(late=True, count=2)), (30, 8, 5, dict(norm=True, bias=True, count=4, scale=2.5)),
            (4, 4, 4, dict(count=4)), (40, 4, 3, dict(ties=True, high=True, count=1))]:
        yield route(rng, t, e, k, **options)
    # Second choices of .9, .5, .2, .6, .3 of the first: with 0.5 those below go.
    ratios = [[0, np.log(r) - 1e-4 * (r != 0.5) + 1e-4 * (r == 0.5), -9] for r in (.9, .5, .2, .6, .3)]
    fixture = route(rng, 5, 3, 2, late=True, skip=0.5, logits=ratios)
    assert fixture.expected_skips[:, 1].tolist() == [False, False, True, False, True]
    yield fixture
    for t, e, k, options in [
            (40, 8, 4, dict(norm=True, skip=0.4, scale=2.5)), (40, 8, 4, dict(skip=0.4)),
            (17, 6, 3, dict(late=True, skip=1.5)), (17, 6, 3, dict(norm=True, skip=0.0)), (0, 6, 3, dict(skip=0.5)),
            (30, 8, 5, dict(norm=True, count=3, skip=0.7)), (20, 8, 2, dict(score="sigmoid", norm=True, skip=0.9))]:
        yield route(rng, t, e, k, **options)
    for b, s, heads, d, past in [(1, 1, 2, 32, 3), (2, 9, 3, 24, 0), (2, 0, 1, 8, 2)]:
        yield rows(rng, b, s, heads, d, past)


def compile_case(options, base):
    """Compiles base.mlir to base.so; returns the last process."""
    module, kernels = str(base) + ".mlir", str(base) + "_kernels.mlir"
    steps = []
    if options.split_vectors:
        # Kernels are written for 512 bits, LLVM splits what the target lacks.
        low = str(base) + "_low.mlir"
        steps.append([options.moe_opt, module, "--target=cpu:x86-64-v4", "--stop-after=bufferized", "-o", low])
        steps.append([options.moe_opt, low, "--convert-moert-to-kernels=avx512=true split-vectors=true", "-o", kernels])
        module = kernels
    steps.append([options.moe_opt, module, "-o", str(base) + ".so", f"--target={options.target}",
                  f"--road={options.road}", f"-O{options.level}"])
    for command in steps:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            break
    return done


def main() -> int:
    global WIDTH
    parser = running.kernel_arguments(level="2")
    parser.add_argument("--width", type=int, help="columns of a panel (default: what the processor likes)")
    options = parser.parse_args()
    wide = options.split_vectors or "avx512f" in pathlib.Path("/proc/cpuinfo").read_text()
    WIDTH = options.width or (32 if wide else 16)
    options.work.mkdir(parents=True, exist_ok=True)
    bad = 0
    for number, case in enumerate(cases(np.random.default_rng(7))):
        if options.only and not any(case.name.startswith(text) for text in options.only):
            continue
        base = options.work / f"case{number}"
        base.with_suffix(".mlir").write_text(case.module())
        np.savez(base.with_suffix(".npz"), **{n: a for n, (a, _) in case.inputs.items()})
        done = compile_case(options, base)
        if done.returncode == 0:
            done = subprocess.run([options.moe_run, str(base) + ".so", "--inputs", str(base) + ".npz", "--outputs",
                                   str(base) + "_out.npz", "--threads", options.threads], capture_output=True, text=True)
        if done.returncode != 0:
            print(f"FAIL {case.name}: {done.stderr.strip()[:2000]}")
            bad += 1
            continue
        got = np.load(str(base) + "_out.npz")
        worst = 0.0
        for name, expected in case.expected.items():
            # Sums of f32 products: relative to the largest number there is.
            size = max(1.0, np.abs(expected).max()) if expected.size else 1.0
            if got[name].shape != expected.shape:
                worst = np.inf
            elif expected.size:
                error = np.abs(got[name] - expected).max() / size
                worst = max(worst, np.inf if np.isnan(error) else error)
        ok = worst <= options.tolerance
        bad += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {case.name}: {worst:.1e}")
    print("all kernels agree" if not bad else f"{bad} kernels differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
