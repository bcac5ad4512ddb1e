#!/usr/bin/env python3
"""Runs a model in ONNX Runtime on request, as the peer that moe-bench measures against.

usage: peer_onnxruntime.py MODEL.onnx INPUTS.npz THREADS

Prints "ready onnxruntime VERSION" once the session is warm; then, for every line "N" on standard
input, runs the model N times and prints the N times in milliseconds on one line.
"""
import sys
import time

import numpy as np
import onnxruntime


def main():
    model, inputs, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {name.replace("|", "/"): value for name, value in np.load(inputs).items()}
    for _ in range(3):
        session.run(None, feeds)
    print("ready onnxruntime", onnxruntime.__version__, flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            session.run(None, feeds)
            times.append((time.perf_counter() - start) * 1e3)
        print(*(f"{t:.6f}" for t in times), flush=True)


if __name__ == "__main__":
    main()
