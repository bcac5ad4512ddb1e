"""usage: packed_weights.py FOLDER

Writes ONNX models whose weights are integers of 4 bits, two to a byte, and too many to stand in the module: NAME.onnx with inputs NAME_x.npz and
outputs NAME_y.npz, computed by numpy from the unpacked numbers. Signed (_i) and unsigned (_u): read by Cast, by DequantizeLinear with scales that
are an input, with constant scales in blocks; gathered, of three dimensions, before they are cast; a row of odd length; carried by If. fp4.onnx has
floats of 4 bits, which only layers can read.
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
rng = np.random.default_rng(7)
SIZE = 192


def packed(name, kind, numbers):
    nibbles = (numbers.reshape(-1) & 15).astype(np.uint8)
    nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
    raw = (nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()
    return onnx.TensorProto(name=name, data_type=kind, dims=numbers.shape, raw_data=raw)


def write(name, nodes, constants, inputs, output, opset=21):
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape) for key, array in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output.shape)], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), f"{folder}/{name}.onnx")
    np.savez(f"{folder}/{name}_x.npz", **inputs)
    np.savez(f"{folder}/{name}_y.npz", y=output.astype(np.float32))


node = helper.make_node
x = rng.standard_normal((SIZE, SIZE)).astype(np.float32)
s = rng.uniform(0.1, 1, SIZE).astype(np.float32)
for letter, kind, low in (("i", TensorProto.INT4, -8), ("u", TensorProto.UINT4, 0)):
    q = rng.integers(low, low + 16, (SIZE, SIZE))
    write(f"cast_{letter}", [node("Cast", ["q"], ["w"], to=1), node("Add", ["x", "w"], ["y"])], [packed("q", kind, q)], {"x": x}, x + q)
    z = rng.integers(low, low + 16, SIZE)
    write(f"scaled_{letter}", [node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0), node("Add", ["x", "w"], ["y"])],
          [packed("q", kind, q), packed("z", kind, z)], {"x": x, "s": s}, x + (q - z[:, None]) * s[:, None].astype(np.float64))
    blocks = rng.uniform(0.1, 1, (SIZE, SIZE // 32)).astype(np.float32)
    write(f"blocks_{letter}", [node("DequantizeLinear", ["q", "s"], ["w"], axis=1, block_size=32), node("Add", ["x", "w"], ["y"])],
          [packed("q", kind, q), numpy_helper.from_array(blocks, "s")], {"x": x}, x + q * np.repeat(blocks, 32, 1).astype(np.float64))
    cube = rng.integers(low, low + 16, (5, 33, 77))
    write(f"gathered_{letter}", [node("Gather", ["q", "i"], ["g"], axis=0), node("Cast", ["g"], ["y"], to=1)], [packed("q", kind, cube)],
          {"i": np.array([4, 1], np.int64)}, cube[[4, 1]])
    row = rng.integers(low, low + 16, 9999)
    write(f"row_{letter}", [node("Cast", ["q"], ["w"], to=1), node("Mul", ["w", "s"], ["y"])], [packed("q", kind, row)],
          {"s": np.array([0.5], np.float32)}, row * 0.5)

then, other = (helper.make_graph([node("Identity", [q], [f"{q}_out"])], q, [], [helper.make_tensor_value_info(f"{q}_out", TensorProto.INT4, [SIZE, SIZE])])
               for q in "ab")
a, b = (rng.integers(-8, 8, (SIZE, SIZE)) for _ in range(2))
write("if_i", [node("If", ["c"], ["q"], then_branch=then, else_branch=other), node("Cast", ["q"], ["y"], to=1)],
      [packed("a", TensorProto.INT4, a), packed("b", TensorProto.INT4, b)], {"c": np.array(False)}, b)
write("fp4", [node("Cast", ["q"], ["w"], to=1), node("Add", ["x", "w"], ["y"])],
      [packed("q", TensorProto.FLOAT4E2M1, rng.integers(0, 16, (SIZE, SIZE)))], {"x": x}, x, opset=23)
