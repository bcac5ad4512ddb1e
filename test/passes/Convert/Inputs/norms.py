"""usage: norms.py FOLDER

Writes ONNX models of one norm each, well-formed (NAME.onnx with NAME_x.npz and NAME_y.npz, computed by numpy in f64) and with inputs that do not
fit (bad_NAME.onnx; bad_NAME_x.npz where only a run can tell).
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
rng = np.random.default_rng(11)
EPSILON = 1e-5


def write(name, op, shape, parameters, x=None, y=None, kind=TensorProto.FLOAT, opset=17):
    names = "gbmv"[:len(parameters)]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], name="norm", epsilon=EPSILON)], "g", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)], [numpy_helper.from_array(array, key) for key, array in zip(names, parameters)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), f"{folder}/{name}.onnx")
    for key, array in (("x", x), ("y", y)):
        if array is not None:
            np.savez(f"{folder}/{name}_{key}.npz", **{key: array})


def statistics(*shape):
    return [rng.uniform(0.5, 2, shape).astype(np.float32) for _ in range(4)]


def normed(x, g, b, m, v):
    return g * (x - m) / np.sqrt(np.float64(v) + EPSILON) + b


x = rng.standard_normal((3, 4)).astype(np.float32)
own = statistics(4)
write("batch", "BatchNormalization", [3, 4], own, x, normed(x, *own).astype(np.float32))
write("open", "BatchNormalization", ["n", "c"], own, x, normed(x, *own).astype(np.float32))
half = x.astype(np.float16)
write("half", "BatchNormalization", [3, 4], own, half, normed(half, *own).astype(np.float16), kind=TensorProto.FLOAT16)
one = statistics(1)
write("list", "BatchNormalization", [4], one, x[0], normed(x[0], *one).astype(np.float32))
gain, bias = own[:2]
centred = x - x.mean(1, keepdims=True, dtype=np.float64)
layer = centred / np.sqrt((centred**2).mean(1, keepdims=True) + EPSILON)
write("layer", "LayerNormalization", [3, "c"], [gain, bias], x, (layer * gain + bias).astype(np.float32))
write("single", "LayerNormalization", [3, 4], [gain[:1]], x, (layer * gain[0]).astype(np.float32))

write("bad_rank", "BatchNormalization", [], one)
write("bad_list", "BatchNormalization", [4], own)
write("bad_short", "BatchNormalization", [3, 4], statistics(2))
write("bad_one", "BatchNormalization", [3, 4], one)
write("bad_matrix", "BatchNormalization", [3, 4], statistics(4, 1))
write("bad_scalar", "BatchNormalization", [3, 4], [np.float32(1).reshape(())] * 4)
write("bad_integers", "BatchNormalization", [3, 4], own, kind=TensorProto.INT64)
write("bad_open", "BatchNormalization", ["n", "c"], statistics(2), x)
write("bad_layer", "LayerNormalization", [3, 4], [gain[:2]])
write("bad_layer_bias", "LayerNormalization", [3, 4], [gain, bias[:3]])
write("bad_layer_rank", "LayerNormalization", [4], [np.ones((2, 4), np.float32)])
write("bad_layer_scalar", "LayerNormalization", [], [np.ones(1, np.float32)])
write("bad_layer_open", "LayerNormalization", [3, "c"], [gain[:2]], x)
