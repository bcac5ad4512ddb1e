#!/usr/bin/env python3
"""usage: check_compress.py choices PROFILE MODEL.onnx METHOD:KEEP:ROWS=IR.mlir...
       check_compress.py logits INPUTS.npz NAME...
       check_compress.py gone MODEL.onnx SMALL.onnx IR.mlir

Recomputes with numpy in f64, from the profile and the weights, what compression chooses.

choices  do the pools in the IR hold the experts that METHOD keeps, looking at ROWS rows? frequency, probability, saliency,
         reconstruction-greedy, reconstruction-exhaustive (pruning); m-smoe, dek (merging: the groups, and the weights of
         their means)
logits   does ONNX Runtime compute the logits of NAME.npz (1e-3) from NAME.onnx?
gone     are the weights of dropped experts absent from the exported file, and those of kept ones there?
"""
import itertools
import re
import sys

import numpy as np

from check_profile import read

TOP_K = 2


def weights_of(model):
    """Router, gate and up, down of each layer, as stored, [out, in]."""
    import onnx

    graph = onnx.load(model).graph
    found = {}
    for tensor in graph.initializer:
        match = re.fullmatch(r".*layers\.(\d+)\.mlp\.(gate\.weight|experts\.gate_up_proj|experts\.down_proj)(\..*)?",
                             tensor.name)
        if match:
            assert tensor.data_type == onnx.TensorProto.BFLOAT16, tensor.name
            bits = np.frombuffer(tensor.raw_data, np.uint16).reshape(tuple(tensor.dims))
            found.setdefault(int(match[1]), {})[match[2].split(".")[-1]] = bits
    return [found[i] for i in sorted(found)]


def wide(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


class Layer:
    """A layer on the profile's sample."""

    def __init__(self, measures, weights, rows):
        self.use = measures["counts"] / measures["counts"].sum()
        self.logit_gram = measures["logit_gram"]
        self.probability = measures["score_sum"] / measures["tokens"][0]
        self.x = measures["sample"][:rows].astype(np.float64)
        self.logits = self.x @ wide(weights["weight"]).T
        self.experts = self.logits.shape[1]
        self.outputs = []
        for gate_up, down in zip(weights["gate_up_proj"], weights["down_proj"]):
            h = self.x @ wide(gate_up).T
            g, u = np.split(h, 2, 1)
            self.outputs.append((g / (1 + np.exp(-g)) * u) @ wide(down).T)
        self.outputs = np.stack(self.outputs, 1)

    def gates(self, kept):
        """Softmax over the experts that are left, the best two of them, normalised."""
        part = np.full(self.logits.shape, -np.inf)
        part[:, kept] = self.logits[:, kept]
        chosen = np.argsort(-part, 1, kind="stable")[:, :TOP_K]
        e = np.exp(np.take_along_axis(part, chosen, 1) - part.max(1, keepdims=True))
        result = np.zeros(part.shape)
        np.put_along_axis(result, chosen, e / e.sum(1, keepdims=True), 1)
        return result

    def loss(self, kept):
        change = self.gates(list(kept)) - self.gates(list(range(self.experts)))
        return np.linalg.norm(change[:, None] @ self.outputs)

    def saliency(self):
        gates = self.gates(list(range(self.experts)))
        norms = np.linalg.norm(self.outputs, axis=2)
        return (gates * norms).sum(0) / np.maximum((gates > 0).sum(0), 1)

    def keep(self, method, count):
        if method == "reconstruction-exhaustive":
            return min(itertools.combinations(range(self.experts), count), key=self.loss)
        if method == "reconstruction-greedy":
            kept = list(range(self.experts))
            while len(kept) > count:
                kept = min(([e for e in kept if e != out] for out in kept), key=self.loss)
            return kept
        scores = {"frequency": self.use, "probability": self.probability, "saliency": self.saliency()}[method]
        return sorted(np.argsort(-scores, kind="stable")[:count])

    def groups(self, method, count):
        """Members with their weights."""
        if method == "m-smoe":
            # Cosines of columns of logits, over all tokens.
            norms = np.sqrt(np.diag(self.logit_gram))
            alike = self.logit_gram / np.outer(norms, norms)
            leaders = list(np.argsort(-self.use, kind="stable")[:count])
            groups = [[e] for e in leaders]
            for e in range(self.experts):
                if e not in leaders:
                    groups[int(np.argmax(alike[e, leaders]))].append(e)
            return {frozenset(g): {e: self.use[e] / self.use[g].sum() for e in g} for g in groups}
        # Linear CKA from features, not from inner products of rows.
        centred = self.outputs - self.outputs.mean(0)
        hsic = np.zeros((self.experts, self.experts))
        for a, b in itertools.combinations_with_replacement(range(self.experts), 2):
            hsic[a, b] = hsic[b, a] = np.linalg.norm(centred[:, a].T @ centred[:, b]) ** 2
        alike = hsic / np.sqrt(np.outer(np.diag(hsic), np.diag(hsic)))
        groups = [[e] for e in range(self.experts)]
        while len(groups) > count:
            a, b = max(itertools.combinations(range(len(groups)), 2),
                       key=lambda pair: alike[np.ix_(groups[pair[0]], groups[pair[1]])].mean())
            groups[a] += groups.pop(b)
        return {frozenset(g): {e: 1 / len(g) for e in g} for g in groups}


def pools(path):
    """The entries of each pool: which of the original experts they are, with weights, or what they name."""
    text = open(path).read()
    recipes = dict(re.findall(r"moe\.bank @(\S+) recipe\((.*)\) : ", text))
    source = re.compile(r"gate_up_proj[\w.]*\[(\d+), 0:\d+\]")
    result = []
    for body in re.findall(r"moe\.pool @\S+ (?:attributes [^\n]*)?\{\n(.*?)\n  \}", text, re.S):
        entries = {}
        for line in body.splitlines():
            if match := re.match(r"\s*moe\.alias @(\w+) of @(\w+)", line):
                entries[match[1]] = match[2]
                continue
            name, gate = re.match(r"\s*moe\.expert @(\w+) glu silu gate @(\S+(?: ?0:\d+\])?)", line).groups()
            recipe = recipes.get(gate)
            members = [int(e) for e in source.findall(recipe or gate)]
            numbers = re.search(r"\], \[([^\]]*)\]>$", recipe)[1].split(", ") if recipe else ["1"]
            assert len(members) == len(numbers), (name, recipe or gate)
            entries[name] = dict(zip(members, map(float, numbers)))
        result.append(entries)
    return result


def check_choices(profile, model, cases):
    measures, weights = read(profile)[1].values(), weights_of(model)
    assert len(measures) == len(weights) == 4
    cache = {}
    for case in cases:
        how, path = case.split("=")
        method, count, rows = how.split(":")
        if rows not in cache:
            cache[rows] = [Layer(m, w, int(rows)) for m, w in zip(measures, weights)]
        layers = cache[rows]
        found = pools(path)
        assert len(found) == len(layers), (how, len(found))
        for i, (layer, entries) in enumerate(zip(layers, found)):
            if method in ("m-smoe", "dek"):
                want = layer.groups(method, int(count))
                got = {frozenset(e): e for e in entries.values() if isinstance(e, dict)}
                assert set(got) == set(want), (how, i, sorted(map(sorted, got)), sorted(map(sorted, want)))
                for group, shares in want.items():
                    assert all(abs(got[group][e] - w) < 1e-6 for e, w in shares.items()), (how, i, got[group], shares)
                # With aliases all columns stay, each of which finds its group.
                assert len(entries) == (layer.experts if method == "m-smoe" else int(count)), (how, i, entries)
                for name, entry in entries.items():
                    members = entries[entry] if isinstance(entry, str) else entry
                    assert int(name[1:]) in members, (how, i, name, members)
            else:
                want = [int(e) for e in layer.keep(method, int(count))]
                got = [next(iter(e)) for e in entries.values()]
                assert got == want and list(entries) == [f"e{e}" for e in want], (how, i, entries, want)
        print(f"{how}: equal in {len(layers)} layers")


def check_logits(inputs, names):
    import onnxruntime

    ids = np.load(inputs)["input_ids"]
    for name in names:
        session = onnxruntime.InferenceSession(name + ".onnx", providers=["CPUExecutionProvider"])
        want, = session.run(["logits"], {"input_ids": ids})
        got = np.load(name + ".npz")["logits"]
        error = np.abs(got - want).max()
        assert got.shape == want.shape and error < 1e-3, (name, got.shape, error)
        print(f"{name}: logits within {error:.1e}")


def check_gone(model, small, path):
    file = open(small, "rb").read()
    kept_count = gone_count = 0
    for weights, entries in zip(weights_of(model), pools(path)):
        kept = {e for entry in entries.values() if isinstance(entry, dict) for e in entry}
        for e, down in enumerate(weights["down_proj"]):
            # Rows and columns: matrices may be exported either way round.
            runs = [np.ascontiguousarray(run) for run in (down[7, :32], down[:32, 7])]
            there = any(form in file for run in runs for form in (run.tobytes(), wide(run).astype("<f4").tobytes()))
            assert there == (e in kept), (small, e, there)
            kept_count += e in kept
            gone_count += e not in kept
    assert kept_count and gone_count
    print(f"{small}: {kept_count} experts there, {gone_count} gone")


def main():
    mode, *rest = sys.argv[1:]
    if mode == "choices":
        check_choices(rest[0], rest[1], rest[2:])
    elif mode == "logits":
        check_logits(rest[0], rest[1:])
    else:
        check_gone(*rest)


if __name__ == "__main__":
    main()
