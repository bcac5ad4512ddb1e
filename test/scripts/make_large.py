#!/usr/bin/env python3
"""Writes a large random Qwen3-MoE-like model: 24 layers, about 4 GB of f32.

usage: make_large.py OUT.onnx [--layers N]
"""
import argparse
import math

import numpy as np
from qwen3_moe import Config, build

CHUNK = 1 << 20  # elements


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, default=24)
    args = parser.parse_args()
    config = Config(vocabulary=32000, hidden=1024, layers=args.layers, heads=16, kv_heads=4,
                    head_size=64, experts=32, top_k=4, inner=384)
    random = np.random.default_rng(7)

    def weight(writer, key, shape):
        count = math.prod(shape)
        if len(shape) == 1:  # norms
            return writer.weight(key, shape, [np.ones(count, np.float32)])
        scale = np.float32(shape[-1] ** -0.5)
        return writer.weight(key, shape, (
            random.standard_normal(min(CHUNK, count - start), np.float32) * scale
            for start in range(0, count, CHUNK)))

    build(args.out, config, weight)


if __name__ == "__main__":
    main()
