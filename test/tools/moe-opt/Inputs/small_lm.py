"""usage: small_lm.py OUT.mlir [EXPERTS FEATURES HIDDEN]

Writes a byte-level language model of one layer of gated experts with random weights, in which fewer numbers lose some bits per
byte: the embedding, the layer, and logits from both.
"""
import sys

import numpy as np

out, experts, features, hidden = sys.argv[1], *map(int, sys.argv[2:] or (4, 32, 64))
rng = np.random.default_rng(7)
banks = {"gate": (experts, hidden, features), "up": (experts, hidden, features), "down": (experts, features, hidden),
         "router": (experts, features), "table": (256, features), "head": (features, 256)}
ids, x, z, y = "tensor<1x?xi64>", f"tensor<?x{features}xf32>", f"tensor<?x{experts}xf32>", "tensor<1x?x256xf32>"
types = {name: "tensor<" + "x".join(map(str, shape)) + "xf32>" for name, shape in banks.items()}
with open(out, "w") as file:
    for name, shape in banks.items():
        values = rng.standard_normal(shape).astype(np.float32) * (0.5 if len(shape) == 3 else 1.0 if name == "table" else 0.05)
        file.write(f'moe.bank @{name} recipe(dense<"0x{values.astype(np.float32).tobytes().hex()}"> : {types[name]}) : {types[name]}\n')
    file.write("moe.pool @ffn {\n")
    for e in range(experts):
        file.write(f"  moe.expert @e{e} glu silu gate @gate[{e}] up @up[{e}] down @down[{e}]\n")
    file.write(f"""}}
func.func @main(%ids: {ids} {{moe.name = "input_ids"}}) -> ({y} {{moe.name = "logits"}}) {{
  %table = moe.weight @table : {types["table"]}
  %head = moe.weight @head : {types["head"]}
  %w = moe.weight @router : {types["router"]}
  %flat = arith.constant dense<[-1]> : tensor<1xi64>
  %rows = onnx.node "Reshape" v 13 (%ids, %flat) : ({ids}, tensor<1xi64>) -> tensor<?xi64>
  %x = onnx.node "Gather" v 13 (%table, %rows) {{axis = 0 : i64}} : ({types["table"]}, tensor<?xi64>) -> {x}
  %z = moe.router linear %x weight(%w : {types["router"]}) : {x} -> {z}
  %i, %g = moe.gate softmax %z over @ffn top_k 2 norm selected layer "l0" : {z}
  %m = moe.apply @ffn %x ids %i weights %g layer "l0" : ({x}, tensor<?x2xi32>, tensor<?x2xf32>) -> {x}
  %h = onnx.node "Add" v 14 (%x, %m) : ({x}, {x}) -> {x}
  %l = onnx.node "MatMul" v 13 (%h, %head) : ({x}, {types["head"]}) -> tensor<?x256xf32>
  %shape = arith.constant dense<[1, -1, 256]> : tensor<3xi64>
  %y = onnx.node "Reshape" v 13 (%l, %shape) : (tensor<?x256xf32>, tensor<3xi64>) -> {y}
  return %y : {y}
}}
""")
