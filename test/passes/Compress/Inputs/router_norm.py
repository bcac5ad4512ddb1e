"""usage: router_norm.py FOLDER

Writes a layer of four experts as it was before fine-tuning (base.mlir) and after (tuned.mlir); tuned.mlir with experts 1 and 2 that
make nothing (zeroed.mlir); bases that do not fit; and inputs x.npz.
"""
import sys

import numpy as np

folder = sys.argv[1]
rng = np.random.default_rng(8)
weights = {"up": rng.standard_normal((4, 8, 2)), "up_bias": rng.standard_normal((4, 8)), "down": rng.standard_normal((4, 2, 8)),
           "down_bias": rng.standard_normal((4, 2))}
before = np.array([[3, 4], [1, 0], [0, 2], [1, 1]])
after = np.array([[3, 4.5], [0, 1.2], [0, 1.5], [2, 2]])


def layer(name, router, number=0, source="%x"):
    experts, features = router.shape
    text, n = "", f"{number}"
    for key, array in {**weights, "router": router}.items():
        array = np.ascontiguousarray(array, np.float32)
        kind = "tensor<" + "x".join(map(str, array.shape)) + "xf32>"
        text += f'moe.bank @{key}{n} recipe(dense<"0x{array.tobytes().hex()}"> : {kind}) : {kind}\n'
    text += f"moe.pool @ffn{n} {{\n"
    for e in range(experts):
        text += f"  moe.expert @e{e} ffn relu up @up{n}[{e}] up_bias @up_bias{n}[{e}] down @down{n}[{e}] down_bias @down_bias{n}[{e}]\n"
    body = f"""  %w{n} = moe.weight @router{n} : tensor<{experts}x{features}xf32>
  %z{n} = moe.router linear {source} weight(%w{n} : tensor<{experts}x{features}xf32>) : tensor<?x2xf32> -> tensor<?x{experts}xf32>
  %i{n}, %g{n} = moe.gate softmax %z{n} over @ffn{n} top_k 2 norm selected layer "{name}" : tensor<?x{experts}xf32>
  %y{n} = moe.apply @ffn{n} {source} ids %i{n} weights %g{n} layer "{name}"
      : (tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x2xf32>
"""
    return text + "}\n", body


def write(file, *layers):
    with open(f"{folder}/{file}.mlir", "w") as out:
        for banks, _ in layers:
            out.write(banks)
        out.write('func.func @main(%x: tensor<?x2xf32> {moe.name = "x"}) -> (tensor<?x2xf32> {moe.name = "y"}) {\n')
        for _, body in layers:
            out.write(body)
        out.write(f"  return %y{len(layers) - 1} : tensor<?x2xf32>\n}}\n")


write("tuned", layer("l0", after))
write("base", layer("l0", before))
write("fewer", layer("l0", before[:3]))
write("two", layer("l0", before), layer("l1", before, 1, "%y0"))
broken = before.astype(float)
broken[3, 1] = np.nan
write("nan", layer("l0", broken))
for e in (1, 2):
    weights["down"][e] = 0
    weights["down_bias"][e] = 0
write("zeroed", layer("l0", after))
np.savez(f"{folder}/x.npz", x=rng.standard_normal((64, 2)).astype(np.float32))
