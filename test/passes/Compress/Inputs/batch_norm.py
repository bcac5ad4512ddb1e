"""usage: batch_norm.py FOLDER

Writes an ONNX model of two linear layers with batch norms (norm.onnx), 256 rows (x.npz), and what it makes of them, computed in f64 (y.npz); a
layer of one weight (one.onnx) with its input (one_x.npz) and output (one_y.npz); and one with a variance below zero (bad.onnx).
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
rng = np.random.default_rng(31)


def swish(u):
    return u / (1 + np.exp(-u))


def write(name, inputs, nodes, constants, outputs):
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", outputs])],
        [numpy_helper.from_array(np.asarray(array, np.float32), key) for key, array in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, f"{folder}/{name}.onnx")


def norm(source, to, key, epsilon):
    return helper.make_node("BatchNormalization", [source, f"{key}g", f"{key}b", f"{key}m", f"{key}v"], [to], epsilon=epsilon)


def statistics(key, size):
    return {f"{key}g": rng.standard_normal(size), f"{key}b": rng.standard_normal(size), f"{key}m": rng.standard_normal(size),
            f"{key}v": rng.uniform(0.2, 2, size)}


def normed(z, constants, key, epsilon):
    g, b, m, v = (np.float32(constants[key + part]).astype(np.float64) for part in "gbmv")
    return g * (z - m) / np.sqrt(v + epsilon) + b


wide = {"w": rng.standard_normal((48, 64)) / 8, "c": rng.standard_normal(64), "u": rng.standard_normal((32, 64)) / 8, **statistics("p", 64),
        **statistics("q", 32)}
write("norm", 48, [
    helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "c"], ["zc"]), norm("zc", "n", "p", 1e-3),
    helper.make_node("Sigmoid", ["n"], ["s"]), helper.make_node("Mul", ["n", "s"], ["h"]),
    helper.make_node("Gemm", ["h", "u"], ["k"], transB=1), norm("k", "y", "q", 1e-5)], wide, 32)
x = rng.standard_normal((256, 48)).astype(np.float32)
f64 = {key: np.float32(array).astype(np.float64) for key, array in wide.items()}
h = swish(normed(x.astype(np.float64) @ f64["w"] + f64["c"], wide, "p", 1e-3))
np.savez(f"{folder}/x.npz", x=x)
np.savez(f"{folder}/y.npz", y=normed(h @ f64["u"].T, wide, "q", 1e-5).astype(np.float32))

one = {"w": [[1.5]], "c": [-0.3], "pg": [2], "pb": [0.5], "pm": [0.25], "pv": [0.64]}
nodes = [helper.make_node("Gemm", ["x", "w", "c"], ["z"]), norm("z", "n", "p", 1e-3), helper.make_node("Sigmoid", ["n"], ["s"]),
         helper.make_node("Mul", ["n", "s"], ["y"])]
write("one", 1, nodes, one, 1)
np.savez(f"{folder}/one_x.npz", x=np.array([[0.7]], np.float32))
np.savez(f"{folder}/one_y.npz", y=np.array([[1.48987114]], np.float32))
write("bad", 1, nodes, {**one, "pv": [-1]}, 1)
