"""The text of a layer of gated SiLU experts whose weights stand in it."""
import numpy as np


def write(path, weights, top):
    """`weights`: gate, up `[E, I, H]`, down `[E, H, I]`, router `[E, H]`; a token chooses `top` of E."""
    experts, features = weights["router"].shape
    x, z = f"tensor<?x{features}xf32>", f"tensor<?x{experts}xf32>"
    router, ids, gates = f"tensor<{experts}x{features}xf32>", f"tensor<?x{top}xi32>", f"tensor<?x{top}xf32>"
    with open(path, "w") as out:
        for name, array in weights.items():
            array = np.ascontiguousarray(array, np.float32)
            kind = "tensor<" + "x".join(map(str, array.shape)) + "xf32>"
            out.write(f'moe.bank @{name} recipe(dense<"0x{array.tobytes().hex()}"> : {kind}) : {kind}\n')
        out.write("moe.pool @ffn {\n")
        for e in range(experts):
            out.write(f"  moe.expert @e{e} glu silu gate @gate[{e}] up @up[{e}] down @down[{e}]\n")
        out.write(f"""}}
func.func @main(%x: {x} {{moe.name = "x"}}) -> ({x} {{moe.name = "y"}}) {{
  %w = moe.weight @router : {router}
  %z = moe.router linear %x weight(%w : {router}) : {x} -> {z}
  %ids, %g = moe.gate softmax %z over @ffn top_k {top} norm selected layer "l0" : {z}
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0" : ({x}, {ids}, {gates}) -> {x}
  return %y : {x}
}}
""")
