#!/usr/bin/env python3
"""Runs a model in ONNX Runtime on request, as the peer that moe-bench measures against.

usage: peer_onnxruntime.py MODEL.onnx INPUTS.npz|- THREADS

Prints "ready onnxruntime VERSION", then answers each line of standard input with a line of times in
milliseconds. "N" asks for N runs on the inputs. A JSON object asks for one run on a prompt of random tokens and for
single tokens after it, each with the caches of the run before, which stay inside the runtime:

    {"prompt": 1, "steps": 256, "vocabulary": 256, "tokens": NAME, "positions": NAME or "", "mask": NAME or "",
     "caches": [[PAST, PRESENT, shape of an empty one], ...]}
"""
import json
import sys
import time

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
         "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}


def run(session, feeds, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def decode(session, request):
    ports = {port.name: port for port in session.get_inputs()}
    names = [port.name for port in session.get_outputs()]
    random = np.random.default_rng(1)

    def value(name, numbers):
        array = np.ascontiguousarray(numbers, TYPES[ports[name].type])
        array = array.reshape(-1) if len(ports[name].shape) == 1 else array.reshape(1, -1)
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)

    feeds = {past: onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, TYPES[ports[past].type]))
             for past, _, shape in request["caches"]}
    length, times = 0, []
    for step in range(request["steps"] + 1):
        count = 1 if step else request["prompt"]
        feeds[request["tokens"]] = value(request["tokens"], random.integers(0, request["vocabulary"], count))
        if request["positions"]:
            feeds[request["positions"]] = value(request["positions"], np.arange(length, length + count))
        length += count
        if request["mask"]:
            feeds[request["mask"]] = value(request["mask"], np.ones(length))
        start = time.perf_counter()
        outputs = session.run_with_ort_values(names, feeds)
        times.append((time.perf_counter() - start) * 1e3)
        results = dict(zip(names, outputs))
        for past, present, _ in request["caches"]:
            feeds[past] = results[present]
    return times


def main():
    model, inputs, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = {}
    if inputs != "-":
        feeds = {name.replace("|", "/"): value for name, value in np.load(inputs).items()}
        run(session, feeds, 3)
    print("ready onnxruntime", onnxruntime.__version__, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        times = run(session, feeds, request) if isinstance(request, int) else decode(session, request)
        print(*(f"{t:.6f}" for t in times), flush=True)


if __name__ == "__main__":
    main()
