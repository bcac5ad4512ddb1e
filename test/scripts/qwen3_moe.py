"""Writes Qwen3-MoE-like ONNX models with `com.microsoft.MoE` layers.

Used by derive_contrib.py (trained weights) and make_large.py (random ones).
Tensors are streamed into one external-data file, one at a time.
"""
import dataclasses
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper


@dataclasses.dataclass
class Config:
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    experts: int
    top_k: int
    inner: int
    epsilon: float = 1e-6
    theta: float = 10000.0


class Writer:
    """Collects nodes; appends weight bytes to `<name>.data` as they come."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.data = open(str(self.path) + ".data", "wb")
        self.nodes, self.initializers = [], []

    def node(self, op, inputs, output, domain="", **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output + "/" + op,
                                           domain=domain, **attributes))
        return output

    def constant(self, name, values, dtype):
        self.initializers.append(onnx.numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, name, shape, chunks, elem_type=TensorProto.FLOAT):
        """`chunks` yields arrays whose bytes, one after the other, are the tensor."""
        self.data.seek(-self.data.tell() % 64, 1)
        offset = self.data.tell()
        for chunk in chunks:
            self.data.write(np.ascontiguousarray(chunk).tobytes())
        tensor = TensorProto(name=name, data_type=elem_type, dims=shape,
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self.path.name + ".data"), ("offset", str(offset)),
                           ("length", str(self.data.tell() - offset))):
            tensor.external_data.add(key=key, value=value)
        self.initializers.append(tensor)
        return name

    def save(self, inputs, outputs):
        self.data.close()
        graph = helper.make_graph(self.nodes, "model", inputs, outputs, self.initializers)
        model = helper.make_model(graph, ir_version=10, producer_name="qwen3_moe.py",
                                  opset_imports=[helper.make_opsetid("", 21),
                                                 helper.make_opsetid("com.microsoft", 1)])
        self.path.write_bytes(model.SerializeToString())


def build(path, c: Config, weight):
    """`weight(writer, key, shape)` writes one tensor and returns its name. Keys:
    embed, final_norm, lm_head [H, V] and, per layer i, i.ln1, i.ln2, i.q [H, heads*D], i.k, i.v,
    i.o, i.q_norm, i.k_norm, i.router [H, E], i.up [E, 2I, H] with gate and linear rows
    interleaved, i.down [E, H, I]."""
    w = Writer(path)
    i64, f32 = np.int64, np.float32
    half = c.head_size // 2
    for name, value in (("zero", [0]), ("one", [1]), ("axis3", [3]), ("last", [-1]),
                        ("half", [half]), ("whole", [c.head_size]),
                        ("q_shape", [0, 0, c.heads, c.head_size]),
                        ("kv_shape", [0, 0, c.kv_heads, c.head_size]),
                        ("kv5", [0, c.kv_heads, 1, -1, c.head_size]),
                        ("repeat", [1, 1, c.heads // c.kv_heads, 1, 1]),
                        ("kv4", [0, c.heads, -1, c.head_size]),
                        ("flat", [0, 0, c.heads * c.head_size]),
                        ("rows", [-1, c.experts])):
        w.constant(name, value, i64)
    w.constant("zero_scalar", 0, i64), w.constant("one_scalar", 1, i64)
    w.constant("two", [2.0], f32), w.constant("eps", [c.epsilon], f32)
    w.constant("scale", [c.head_size ** -0.5], f32)
    w.constant("visible", [0.0], f32), w.constant("hidden_key", [np.finfo(f32).min], f32)
    w.constant("inv_freq", [c.theta ** (-np.arange(half, dtype=f32) / half)], f32)

    w.node("Shape", ["input_ids"], "ids_shape")
    w.node("Gather", ["ids_shape", "one_scalar"], "seq_len", axis=0)
    w.node("Range", ["zero_scalar", "seq_len", "one_scalar"], "positions")
    w.node("Cast", ["positions"], "positions_f", to=TensorProto.FLOAT)
    w.node("Unsqueeze", ["positions_f", "one"], "positions_col")
    w.node("Mul", ["positions_col", "inv_freq"], "freqs")
    w.node("Concat", ["freqs", "freqs"], "angles", axis=-1)
    w.node("Cos", ["angles"], "cos"), w.node("Sin", ["angles"], "sin")
    w.node("Unsqueeze", ["positions", "zero"], "key_row")
    w.node("Unsqueeze", ["positions", "one"], "query_col")
    w.node("LessOrEqual", ["key_row", "query_col"], "causal")
    w.node("Where", ["causal", "visible", "hidden_key"], "mask")

    def norm(x, key, name, size):
        w.node("Pow", [x, "two"], name + "/sq")
        w.node("ReduceMean", [name + "/sq", "last"], name + "/var", keepdims=1)
        w.node("Add", [name + "/var", "eps"], name + "/eps")
        w.node("Sqrt", [name + "/eps"], name + "/std")
        w.node("Div", [x, name + "/std"], name + "/normed")
        return w.node("Mul", [name + "/normed", weight(w, key, [size])], name)

    def rope(x, name):
        w.node("Slice", [x, "zero", "half", "axis3"], name + "/x1")
        w.node("Slice", [x, "half", "whole", "axis3"], name + "/x2")
        w.node("Neg", [name + "/x2"], name + "/nx2")
        w.node("Concat", [name + "/nx2", name + "/x1"], name + "/rot", axis=-1)
        w.node("Mul", [x, "cos"], name + "/xc")
        w.node("Mul", [name + "/rot", "sin"], name + "/xs")
        return w.node("Add", [name + "/xc", name + "/xs"], name)

    def heads(x, key, shape, name, count):
        w.node("MatMul", [x, weight(w, key, [c.hidden, count * c.head_size])], name + "/proj")
        return w.node("Reshape", [name + "/proj", shape], name + "/4d")

    def repeat(x, name):
        w.node("Reshape", [x, "kv5"], name + "/5d")
        w.node("Tile", [name + "/5d", "repeat"], name + "/tile")
        return w.node("Reshape", [name + "/tile", "kv4"], name + "/rep")

    x = w.node("Gather", [weight(w, "embed", [c.vocabulary, c.hidden]), "input_ids"], "hidden0", axis=0)
    perm = [0, 2, 1, 3]
    for i in range(c.layers):
        p = f"/layers.{i}"
        h = norm(x, f"{i}.ln1", p + "/ln1", c.hidden)
        q = norm(heads(h, f"{i}.q", "q_shape", p + "/q", c.heads), f"{i}.q_norm", p + "/q_norm", c.head_size)
        k = norm(heads(h, f"{i}.k", "kv_shape", p + "/k", c.kv_heads), f"{i}.k_norm", p + "/k_norm", c.head_size)
        v = heads(h, f"{i}.v", "kv_shape", p + "/v", c.kv_heads)
        q = rope(w.node("Transpose", [q], p + "/q_heads", perm=perm), p + "/q_rope")
        k = rope(w.node("Transpose", [k], p + "/k_heads", perm=perm), p + "/k_rope")
        v = w.node("Transpose", [v], p + "/v_heads", perm=perm)
        k = w.node("Transpose", [repeat(k, p + "/k")], p + "/kT", perm=[0, 1, 3, 2])
        w.node("MatMul", [q, k], p + "/qk")
        w.node("Mul", [p + "/qk", "scale"], p + "/scaled")
        w.node("Add", [p + "/scaled", "mask"], p + "/masked")
        w.node("Softmax", [p + "/masked"], p + "/probs", axis=-1)
        w.node("MatMul", [p + "/probs", repeat(v, p + "/v")], p + "/ctx")
        w.node("Transpose", [p + "/ctx"], p + "/ctxT", perm=perm)
        w.node("Reshape", [p + "/ctxT", "flat"], p + "/ctx2")
        w.node("MatMul", [p + "/ctx2", weight(w, f"{i}.o", [c.heads * c.head_size, c.hidden])], p + "/o")
        x = w.node("Add", [x, p + "/o"], p + "/res1")
        h = norm(x, f"{i}.ln2", p + "/ln2", c.hidden)
        w.node("MatMul", [h, weight(w, f"{i}.router", [c.hidden, c.experts])], p + "/router")
        w.node("Reshape", [p + "/router", "rows"], p + "/logits")
        moe = w.node("MoE", [h, p + "/logits", weight(w, f"{i}.up", [c.experts, 2 * c.inner, c.hidden]), "",
                             weight(w, f"{i}.down", [c.experts, c.hidden, c.inner])], p + "/moe",
                     domain="com.microsoft", k=c.top_k, activation_type="swiglu", swiglu_fusion=1,
                     activation_alpha=1.0, activation_beta=0.0, normalize_routing_weights=1)
        x = w.node("Add", [x, moe], p + "/res2")
    x = norm(x, "final_norm", "/final_norm", c.hidden)
    w.node("MatMul", [x, weight(w, "lm_head", [c.hidden, c.vocabulary])], "logits")
    w.save([helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])],
           [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "seq", c.vocabulary])])
