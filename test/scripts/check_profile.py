#!/usr/bin/env python3
"""usage: check_profile.py layer PROFILE MODEL.onnx K RUN.npz...
       check_profile.py bytelm PROFILE MODEL.onnx INPUTS.npz...
       check_profile.py same A B

Recomputes what an expert profile holds with numpy in f64, and compares.

layer   a model of one MoE layer whose router (router.weight, softmax, normalised) and experts read the input x;
        each RUN.npz holds x and the layer's output y
bytelm  the byte-level test model; what its layers read and give comes from ONNX Runtime
same    are two profiles equal, sums up to the last bits?
"""
import hashlib
import json
import sys

import numpy as np

BINS = 1024
DTYPES = {"I64": np.int64, "U64": np.uint64, "F64": np.float64, "F32": np.float32, "U8": np.uint8}


def read(path):
    raw = open(path, "rb").read()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    meta = header.pop("__metadata__")
    assert meta["format"] == "moe-profile" and meta["version"] == "2.1", meta
    names = json.loads(meta["layers"])
    layers = {name: {} for name in names}
    for key, entry in header.items():
        begin, end = (8 + size + o for o in entry["data_offsets"])
        _, index, measure = key.split(".", 2)
        layers[names[int(index)]][measure] = np.frombuffer(
            raw[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return meta, layers


def hash64(seed, rows):
    with np.errstate(over="ignore"):
        h = np.full(len(rows), seed, np.uint64)
        for column in np.ascontiguousarray(rows, np.float32).view(np.uint32).T:
            h = (h ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            h ^= h >> np.uint64(32)
        h = (h ^ h >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ h >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return h ^ h >> np.uint64(31)


def cosines(a, b):
    a, b = (np.asarray(v, np.float64).reshape(-1, v.shape[-1]) for v in (a, b))
    values = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return np.array([values.sum(), len(values)])


def expected(x, logits, k, y, gram, before=None, after=None, block=None):
    """The measures of one layer with softmax over all experts, then top k, normalised."""
    x, logits, y = (np.asarray(v, np.float64) for v in (x, logits, y))
    tokens, experts = logits.shape
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores /= scores.sum(1, keepdims=True)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    weights = np.take_along_axis(scores, ids, 1)
    weights /= weights.sum(1, keepdims=True)
    chosen = np.zeros((tokens, experts))
    np.put_along_axis(chosen, ids, 1, 1)
    given = np.zeros((tokens, experts))
    np.put_along_axis(given, ids, weights, 1)
    out = {
        "tokens": np.array([tokens]),
        "counts": chosen.sum(0).astype(np.int64),
        "coactivation": (chosen.T @ chosen).astype(np.int64),
        "score_sum": scores.sum(0),
        "weight_sum": given.sum(0),
        "logit_sum": logits.sum(0),
        "logit_gram": logits.T @ logits,
        "input_square_sum": chosen.T @ x**2,
        "output_norm_sum": np.array([np.linalg.norm(y, axis=1).sum()]),
        "output_square_sum": np.array([(y**2).sum()]),
    }
    if gram:
        out["input_gram"] = x.T @ x
    if after is not None:
        out["sublayer_cosine"] = cosines(before, after)
        out["block_cosine"] = cosines(block, after)
    return out, weights[:, 1] / weights[:, 0]


def check(name, got, want, ratios, rows, seed, router):
    """`rows` are the inputs to the bit, or as another implementation computes them; `router` is [experts, features]."""
    exact, rows = rows
    assert set(got) == set(want) | {"ratio_histogram", "sample", "sample_keys", "router"}, set(got) ^ set(want)
    assert got["router"].tobytes() == hashlib.sha256(router.astype("<f4").tobytes()).digest(), name
    for measure, value in want.items():
        have = got[measure]
        assert have.shape == value.shape, (name, measure, have.shape, value.shape)
        if value.dtype == np.int64:
            assert (have == value).all(), (name, measure, have, value)
        else:
            error = np.abs(have - value).max() / np.abs(value).max()
            assert error < 1e-5, (name, measure, error)
    # A ratio within 1e-5 of the edge of a bin may fall on either side.
    bins = lambda r: np.cumsum(np.bincount(np.clip((r * BINS).astype(int), 0, BINS), minlength=BINS + 1))
    have = np.cumsum(got["ratio_histogram"])
    assert (bins(ratios + 1e-5) <= have).all() and (have <= bins(ratios - 1e-5)).all(), name
    keys, sample = got["sample_keys"], got["sample"]
    assert (hash64(seed, sample) == keys).all() and (np.diff(keys.astype(object)) > 0).all(), name
    if exact:
        all_keys, index = np.unique(hash64(seed, rows), return_index=True)
        assert (keys == all_keys[:1024]).all() and (sample == rows[index[:1024]]).all(), name
    else:
        distinct = len(np.unique(np.round(rows, 3), axis=0))
        assert min(1024, distinct) <= len(sample) <= min(1024, len(rows)), (name, len(sample))
        for row in sample:
            assert np.abs(rows - row).max(1).min() < 1e-4, name


def check_layer(profile, model, k, runs):
    import onnx
    from onnx import numpy_helper

    meta, layers = read(profile)
    weights = {i.name: numpy_helper.to_array(i) for i in onnx.load(model).graph.initializer}
    arrays = [np.load(run) for run in runs]
    x = np.concatenate([a["x"].reshape(-1, a["x"].shape[-1]) for a in arrays])
    y = np.concatenate([a["y"].reshape(-1, a["y"].shape[-1]) for a in arrays])
    logits = x.astype(np.float64) @ weights["router.weight"].astype(np.float64)
    (name, got), = layers.items()
    want, ratios = expected(x, logits, k, y, "input_gram" in got)
    check(name, got, want, ratios, (True, x), int(meta["seed"]), weights["router.weight"].T)
    print(f"{name}: {len(x)} tokens, {len(got['sample'])} sampled, equal")


def check_bytelm(profile, model, inputs):
    import onnx
    import onnxruntime

    names = {"x": "view_{}", "logits": "linear_{}", "y": "view_{}", "before": "add_{}", "after": "add_{}",
             "block": "add_{}"}
    steps = {"x": (6, 8), "logits": (4, 37), "y": (7, 8), "before": (10, 14), "after": (18, 14), "block": (4, 14)}
    wanted = [{key: names[key].format(steps[key][0] + i * steps[key][1]) for key in names} for i in range(4)]
    wanted[0]["block"] = "embedding"
    graph = onnx.load(model, load_external_data=False)
    routers = [onnx.numpy_helper.to_array(t) for t in onnx.load(model).graph.initializer
               if ".mlp.gate.weight" in t.name]
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(v) for l in wanted for v in sorted(set(l.values())))
    seen = set()
    for output in list(graph.graph.output):
        if output.name in seen:
            graph.graph.output.remove(output)
        seen.add(output.name)
    folder = model.rsplit("/", 1)[0]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = [{key: [] for key in names} for _ in wanted]
    for path in inputs:
        feed = {"input_ids": np.load(path)["input_ids"]}
        for layer, keep in zip(wanted, values):
            for key, value in zip(layer, session.run(list(layer.values()), feed)):
                keep[key].append(value.reshape(-1, value.shape[-1]))
    meta, layers = read(profile)
    assert len(layers) == 4
    for (name, got), keep, router in zip(layers.items(), values, routers):
        v = {key: np.concatenate(parts) for key, parts in keep.items()}
        want, ratios = expected(v["x"], v["logits"], 2, v["y"], "input_gram" in got, v["before"], v["after"], v["block"])
        check(name, got, want, ratios, (False, v["x"]), int(meta["seed"]),
              router)
        print(f"{name}: {len(v['x'])} tokens, {len(got['sample'])} sampled, equal")


def check_same(a, b):
    (meta_a, a), (meta_b, b) = read(a), read(b)
    assert meta_a == meta_b and list(a) == list(b), (meta_a, meta_b)
    for name in a:
        assert set(a[name]) == set(b[name])
        for measure, value in a[name].items():
            other = b[name][measure]
            if value.dtype == np.float64:
                assert np.abs(value - other).max() <= 1e-13 * np.abs(value).max(), (name, measure)
            else:
                assert value.tobytes() == other.tobytes(), (name, measure)
    print("the same")


def main():
    mode, *rest = sys.argv[1:]
    if mode == "layer":
        check_layer(rest[0], rest[1], int(rest[2]), rest[3:])
    elif mode == "bytelm":
        check_bytelm(rest[0], rest[1], rest[2:])
    else:
        check_same(*rest)


if __name__ == "__main__":
    main()
