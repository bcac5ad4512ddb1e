#!/usr/bin/env python3
"""Derives the contrib-op form of the byte-level test model from its exported form.

usage: derive_contrib.py MODEL.onnx OUT.onnx

Reads the weights of test/models/bytelm/model.onnx (bf16 behind Cast nodes) and writes the same
model with each MoE layer as one com.microsoft.MoE node (SwiGLU, gate and linear rows interleaved).
"""
import argparse

import numpy as np
import onnx
from onnx import numpy_helper
from qwen3_moe import Config, build


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out")
    args = parser.parse_args()
    model = onnx.load(args.model)
    tensors = {t.name.removesuffix(".bf16"): numpy_helper.to_array(t).astype(np.float32)
               for t in model.graph.initializer if t.data_type in (1, 16)}

    # The exporter keeps the projections' MatMul weights under made-up names, in graph order.
    widened = {n.output[0] for n in model.graph.node if n.op_type == "Cast"}
    matmuls = [n.input[1] for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in widened]
    layers = sum(name.endswith("mlp.gate.weight") for name in tensors)
    assert len(matmuls) == 4 * layers + 1, "expected q, k, v, o per layer and the output matrix"
    head = tensors["m.model.layers.0.self_attn.q_norm.weight"].size
    gate_up = tensors["m.model.layers.0.mlp.experts.gate_up_proj"]
    config = Config(vocabulary=256, hidden=gate_up.shape[2], layers=layers,
                    heads=tensors[matmuls[0]].shape[1] // head, kv_heads=tensors[matmuls[1]].shape[1] // head,
                    head_size=head, experts=gate_up.shape[0], top_k=2, inner=gate_up.shape[1] // 2)

    def find(key):
        if key == "embed":
            return tensors["m.model.embed_tokens.weight"]
        if key == "final_norm":
            return tensors["m.model.norm.weight"]
        if key == "lm_head":
            return tensors[matmuls[-1]]
        layer, _, what = key.partition(".")
        prefix = f"m.model.layers.{layer}."
        if what in "qkvo":
            return tensors[matmuls[4 * int(layer) + "qkvo".index(what)]]
        if what == "up":
            stacked = tensors[prefix + "mlp.experts.gate_up_proj"]
            e, rows, h = stacked.shape
            return stacked.reshape(e, 2, rows // 2, h).swapaxes(1, 2).reshape(e, rows, h)
        return {"ln1": lambda: tensors[prefix + "input_layernorm.weight"],
                "ln2": lambda: tensors[prefix + "post_attention_layernorm.weight"],
                "q_norm": lambda: tensors[prefix + "self_attn.q_norm.weight"],
                "k_norm": lambda: tensors[prefix + "self_attn.k_norm.weight"],
                "router": lambda: tensors[prefix + "mlp.gate.weight"].T,
                "down": lambda: tensors[prefix + "mlp.experts.down_proj"]}[what]()

    def weight(writer, key, shape):
        values = find(key)
        assert list(values.shape) == list(shape), (key, values.shape, shape)
        return writer.weight(key, shape, [values])

    build(args.out, config, weight)


if __name__ == "__main__":
    main()
