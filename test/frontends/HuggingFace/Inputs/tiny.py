"""usage: tiny.py FOLDER FAMILY [CHANGE...]

Writes a random checkpoint of a family: 3 decoder layers, 4 experts of 6 hidden units, 8 features, 2 chosen. Changes, in
this order of evaluation as given:
  KEY=JSON          in config.json, after the weights were made by what it said
  first:KEY=JSON    the same before
  drop:TENSOR, shape:TENSOR=N,N, type:TENSOR=TYPE, add:TENSOR    of the weights
  shards=N          as N files and an index
"""
import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "scripts"))
from checkpoints import TYPES, write_checkpoint  # noqa: E402

SPARSE = {"decoder_sparse_step": 1, "mlp_only_layers": [], "num_experts": 4, "moe_intermediate_size": 6}
BEHIND = {"n_routed_experts": 4, "moe_intermediate_size": 6, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1,
          "routed_scaling_factor": 2.5}
FAMILIES = {
    "qwen2_moe": SPARSE, "qwen3_moe": SPARSE | {"norm_topk_prob": True},
    "olmoe": {"num_experts": 4, "intermediate_size": 6},
    "mixtral": {"num_local_experts": 4, "intermediate_size": 6},
    "deepseek_v2": BEHIND | {"topk_method": "group_limited_greedy", "scoring_func": "softmax"},
    "deepseek_v3": BEHIND | {"norm_topk_prob": True, "topk_method": "noaux_tc", "scoring_func": "sigmoid"},
}


def value(change):
    key, _, text = change.partition("=")
    return key, json.loads(text)


folder, family, *changes = sys.argv[1:]
config = {"model_type": family, "hidden_act": "silu", "hidden_size": 8, "num_hidden_layers": 3, "num_experts_per_tok": 2,
          "rms_norm_eps": 1e-06, **FAMILIES[family]}
for change in changes:
    if change.startswith("first:"):
        key, new = value(change.removeprefix("first:"))
        config[key] = new
block, names = ("block_sparse_moe", "w1 w3 w2") if family == "mixtral" else ("mlp", "gate_proj up_proj down_proj")
shapes = {"model.embed_tokens.weight": (16, 8), "lm_head.weight": (16, 8), "model.norm.weight": (8,)}
for i in range(3):
    prefix = f"model.layers.{i}.{block}"
    shapes[f"model.layers.{i}.input_layernorm.weight"] = (8,)
    step = config.get("decoder_sparse_step", 1)
    dense = i < config.get("first_k_dense_replace", 0) or i in config.get("mlp_only_layers", []) or (i + 1) % step
    if dense:
        shapes[f"{prefix}.down_proj.weight"] = (8, 10)
        continue
    shapes[f"{prefix}.gate.weight"] = (4, 8)
    if family == "deepseek_v3":
        shapes[f"{prefix}.gate.e_score_correction_bias"] = (4,)
    if family == "qwen2_moe":
        shapes[f"{prefix}.shared_expert_gate.weight"] = (1, 8)
    for e in range(4):
        for name, shape in zip(names.split(), [(6, 8), (6, 8), (8, 6)]):
            shapes[f"{prefix}.experts.{e}.{name}.weight"] = shape
rng = np.random.default_rng(3)
tensors = {name: ("F32", rng.standard_normal(shape).astype(np.float32)) for name, shape in shapes.items()}
shards = 1
for change in changes:
    kind, _, rest = change.partition(":")
    name, _, text = rest.partition("=")
    if change.startswith("shards="):
        shards = int(change.removeprefix("shards="))
    elif kind == "drop":
        del tensors[rest]
    elif kind == "add":
        tensors[rest] = ("F32", np.zeros(2, np.float32))
    elif kind == "shape":
        tensors[name] = ("F32", np.zeros([int(n) for n in text.split(",")], np.float32))
    elif kind == "type":
        tensors[name] = (text, tensors[name][1].astype(TYPES[text]))
    elif kind != "first":
        key, new = value(change)
        config[key] = new
write_checkpoint(folder, config, tensors, shards)
