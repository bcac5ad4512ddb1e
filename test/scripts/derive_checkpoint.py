#!/usr/bin/env python3
"""Derives a Hugging Face checkpoint from the exported form of the byte-level test model.

usage: derive_checkpoint.py MODEL.onnx FOLDER [--shards N]

The same weights, as transformers saves them: one tensor per matrix of each expert, named as the model's modules are.
"""
import argparse
import json
import pathlib

import numpy as np
import onnx
from checkpoints import write_checkpoint

# Of the numbers in the graph, those that no shape of a weight says.
CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"], "bos_token_id": 0, "decoder_sparse_step": 1, "dtype": "bfloat16",
    "eos_token_id": 0, "head_dim": 32, "hidden_act": "silu", "max_position_embeddings": 1024, "mlp_only_layers": [],
    "model_type": "qwen3_moe", "norm_topk_prob": True, "num_attention_heads": 6, "num_experts_per_tok": 2,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "tie_word_embeddings": False,
}


def bits_of(tensor):
    """As stored, 16 or 32 bits to a number; the graph holds norms as f32, which were bf16."""
    if tensor.data_type == onnx.TensorProto.BFLOAT16:
        return np.frombuffer(tensor.raw_data, np.uint16).reshape(tuple(tensor.dims))
    wide = onnx.numpy_helper.to_array(tensor).view(np.uint32)
    assert not (wide & 0xFFFF).any(), tensor.name
    return (wide >> 16).astype(np.uint16)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--shards", type=int, default=1)
    args = parser.parse_args()
    graph = onnx.load(args.model).graph
    stored = {t.name.removesuffix(".bf16").removeprefix("m."): t for t in graph.initializer}
    tensors = {name: bits_of(t) for name, t in stored.items() if name.startswith("model.") and "inv_freq" not in name}

    # The exporter keeps the projections' MatMul weights under made-up names, in graph order.
    widened = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast"}
    values = {t.name: t for t in graph.initializer}
    matmuls = [values[widened[n.input[1]]] for n in graph.node if n.op_type == "MatMul" and n.input[1] in widened]
    layers = sum(name.endswith("mlp.gate.weight") for name in tensors)
    assert len(matmuls) == 4 * layers + 1, "expected q, k, v, o per layer and the output matrix"
    names = [f"model.layers.{i}.self_attn.{p}_proj.weight" for i in range(layers) for p in "qkvo"] + ["lm_head.weight"]
    for name, tensor in zip(names, matmuls):
        tensors[name] = np.ascontiguousarray(bits_of(tensor).T)

    for i in range(layers):
        block = f"model.layers.{i}.mlp.experts"
        gate_up, down = (tensors.pop(f"{block}.{part}") for part in ("gate_up_proj", "down_proj"))
        for e in range(len(down)):
            tensors[f"{block}.{e}.gate_proj.weight"], tensors[f"{block}.{e}.up_proj.weight"] = np.split(gate_up[e], 2)
            tensors[f"{block}.{e}.down_proj.weight"] = down[e]
    vocabulary, hidden = tensors["lm_head.weight"].shape
    config = CONFIG | {"hidden_size": hidden, "moe_intermediate_size": down.shape[2], "num_experts": len(down),
                       "num_hidden_layers": layers, "vocab_size": vocabulary, "intermediate_size": 192}
    folder = pathlib.Path(args.folder)
    write_checkpoint(folder, dict(sorted(config.items())), {name: ("BF16", bits) for name, bits in tensors.items()},
                     args.shards)
    (folder / "tokenizer.json").write_text(json.dumps({"bytes": True}) + "\n")


if __name__ == "__main__":
    main()
