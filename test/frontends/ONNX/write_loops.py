#!/usr/bin/env python3
"""Writes ONNX files with a Loop, good and bad ones. usage: write_loops.py FOLDER"""
import pathlib
import sys

import onnx

HEAD = '<ir_version: 8, opset_import: ["" : 16]>\n'
SHAPES = """
    main (float[N, 2] x, float[2] v) => (float[M, 2] y, float[2] w, float[4, 2] rows, float z, int64[r, 1] counts)
        <int64 n = {4}, bool yes = {1}, int64 zero = {0}> {
        start = ReduceSum <keepdims = 1> (x, axis)
        y, w, rows = Loop (n, yes, start, v)
            <body = b (int64 i, bool[1] c, float[K, 2] a, float[2] e) => (bool[1] d, float[J, 2] t, float[2] y, float[2] y) {
                d = Identity (c)
                t = Concat <axis = 0> (a, x)
                y = Add (e, v)
            }>
        axis = Constant <value = int64[1] {0}> ()
        first = Constant <value = int64[1] {0}> ()
        z, counts = Loop (n, yes, x) <body = g (int64[1] i, bool c, float[K] a) => (bool more, float[L] u, int64[1] i) {
            u = ReduceMax <axes = [0], keepdims = 0> (a)
            more = Less (i, first)
        }>
    }"""
GOOD = ("n, yes, x", "y", "int64 i, bool c, float[2] a", "bool c, float[2] t", "t = Neg (a)")
BAD = {
    "inputs": ("n, yes, x, x", "y, z", *GOOD[2:]),
    "outputs": ("n, yes, x", "y, z", *GOOD[2:]),
    "few": ("n, yes, x, x", "y", "int64 i, bool c, float[2] a, float[2] b", "bool c, float[2] a", "t = Neg (a)"),
    "count": ("two, yes, x", *GOOD[1:]),
    "condition": ("n, no, x", *GOOD[1:]),
    "yielded": ("n, yes, x", "y", GOOD[2], "int64 i, float[2] t", GOOD[4]),
    "element": ("n, yes, x", "y", GOOD[2], "bool c, int64[2] t", "t = Cast <to = 7> (a)"),
    "absent": ("n, yes, , x", "y, z", "int64 i, bool c, float[2] a, float[2] b", "bool c, float[2] b, float[2] b",
               "t = Neg (b)"),
    "twins": ("n, yes, x, x", "y, z", "int64 i, bool c, float[2] a, float[2] a", "bool c, float[2] a, float[2] a",
              "t = Neg (a)"),
}
MAIN = """main (float[2] x) => (float[2] y) <int64 n = {4}, bool yes = {1}, float no = {1}, int64[2] two = {1, 2}> {
    [it] %s
}"""


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write = lambda name, text: onnx.save(onnx.parser.parse_model(HEAD + text), folder / f"{name}.onnx")
    write("shapes", SHAPES)
    for name, (inputs, outputs, takes, gives, nodes) in BAD.items():
        write(name, MAIN % f"{outputs} = Loop ({inputs}) <body = b ({takes}) => ({gives}) {{ {nodes} }}>")
    write("nobody", MAIN % "y = Loop (n, yes, x)")
    write("branches", MAIN % """y = If (yes) <then_branch = b () => (float[2] t) { t = Neg (x) },
        else_branch = g () => (int64[2] e) { e = Cast <to = 7> (x) }>""")


main()
