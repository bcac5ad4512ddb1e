#!/usr/bin/env python3
"""Compiles small models with loops and compares what they give with ONNX Runtime.

usage: check_loops.py MOE_OPT WORK_DIR [moe-opt's flags...]
Prints a line per model; exit code 1 when one differs.
"""
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime

I, B, F = np.int64, np.bool_, np.float32
row = lambda *shape: np.arange(np.prod(shape), dtype=F).reshape(shape) + 1
HEAD = '<ir_version: 8, opset_import: ["" : {opset}]>\n'

# name: opset, graph, inputs of each run
MODELS = {
    "trip count, carried and scanned": (18, """
        main (int64 n, float[3] x) => (float[3] s, float[r, 3] rows) <bool yes = {1}> {
            s, rows = Loop (n, yes, x) <body = b (int64 i, bool c, float[3] a) => (bool d, float[3] y, float[3] z) {
                y = Add (a, x)
                z = Mul (y, y)
                d = Identity (c)
            }>
        }""", [dict(n=I(n), x=row(3)) for n in (0, 1, 5)] + [dict(n=I(-2), x=row(3))]),
    "constant trip count": (11, """
        main (float[N, 2] x) => (float[N, 2] s, int64[r] all) <int64[1] n = {4}> {
            s, all = Loop (n, , x) <body = b (int64 i, bool c, float[N, 2] a) => (bool c, float[N, 2] y, int64 k) {
                f = Cast <to = 1> (i)
                y = Add (a, f)
                k = Identity (i)
            }>
        }""", [dict(x=row(3, 2)), dict(x=row(0, 2))]),
    "early exit by the condition": (16, """
        main (int64 n, bool go, int64 most, float x) => (float y, float[r] seen, int64[s] small) <int64 ten = {10}> {
            y, seen = Loop (n, go, x) <body = b (int64 i, bool c, float a) => (bool d, float t, float u) {
                t = Add (a, a)
                u = Identity (a)
                d = Less (i, most)
            }>
            k, small = Loop (ten, go, most) <body = g (int64 p, bool q, int64 v) => (bool w, int64 next, int64 o) {
                one = Constant <value = int64 {1}> ()
                next = Sub (v, one)
                zero = Constant <value = int64 {0}> ()
                w = Greater (next, zero)
                o = Add (v, p)
            }>
        }""", [dict(n=I(n), go=B(go), most=I(most), x=F(1.5)) for n, go, most in
               ((9, True, 3), (2, True, 3), (0, True, 3), (9, False, 3), (9, True, 20), (2**62, True, 3))]),
    "condition alone, lists of one": (13, """
        main (bool[1] go, float[1] x) => (float[1] y) <float[1] limit = {100}> {
            y = Loop (, go, x) <body = b (int64[1] i, bool[1] c, float[1] a) => (bool[1] d, float[1] t) {
                t = Add (a, a)
                d = Less (t, limit)
            }>
        }""", [dict(go=np.array([go]), x=F([3])) for go in (True, False)]),
    "no condition at the start, one in the body": (16, """
        main (int64 n, float x) => (float y) <float limit = {100}> {
            y = Loop (n, , x) <body = b (int64 i, bool c, float a) => (bool d, float t) {
                t = Add (a, a)
                d = Less (t, limit)
            }>
        }""", [dict(n=I(n), x=F(3)) for n in (3, 50)]),
    "carried shape grows": (16, """
        main (int64 n, float[N, 2] x) => (float[M, 2] y, int64[r, 2] sizes) <bool yes = {1}> {
            y, sizes = Loop (n, yes, x) <body = b (int64 i, bool c, float[K, 2] a) => (bool c, float[J, 2] t, int64[2] s) {
                t = Concat <axis = 0> (a, x)
                s = Shape (t)
            }>
        }""", [dict(n=I(n), x=row(2, 2)) for n in (0, 1, 4)]),
    "carried shape starts fixed": (16, """
        main (int64 n, float[1, 2] x) => (float[M, 2] y) <bool yes = {1}, int64[2] one = {1, 2}> {
            start = ConstantOfShape (one)
            y = Loop (n, yes, start) <body = b (int64 i, bool c, float[K, 2] a) => (bool c, float[J, 2] t) {
                t = Concat <axis = 0> (a, x)
            }>
        }""", [dict(n=I(n), x=row(1, 2)) for n in (0, 3)]),
    "rows of open size": (16, """
        main (int64 n, float[N] x) => (float[r, N] rows) <bool yes = {1}> {
            rows = Loop (n, yes) <body = b (int64 i, bool c) => (bool c, float[N] z) {
                f = Cast <to = 1> (i)
                z = Mul (x, f)
            }>
        }""", [dict(n=I(n), x=row(3)) for n in (1, 4)]),
    "carried values change places": (16, """
        main (int64 n, float[2] x, float[2] y) => (float[2] p, float[2] q, float[r, 2] rows) <bool yes = {1}> {
            p, q, rows = Loop (n, yes, x, y)
                <body = b (int64 i, bool c, float[2] a, float[2] e) => (bool c, float[2] e, float[2] a, float[2] a) {
                    unused = Add (a, e)
                }>
        }""", [dict(n=I(n), x=row(2), y=-row(2)) for n in (0, 1, 2, 5)]),
    "loops and branches inside": (16, """
        main (int64 n, float[2] x) => (float[2] y, float[r, s, 2] rows) <bool yes = {1}, int64 two = {2}> {
            y, rows = Loop (n, yes, x) <body = b (int64 i, bool c, float[2] a) => (bool c, float[2] t, float[s, 2] u) {
                odd = Mod (i, two)
                isOdd = Cast <to = 9> (odd)
                v = If (isOdd) <then_branch = h () => (float[2] t1) { t1 = Neg (a) },
                                else_branch = k () => (float[2] t2) { t2 = Add (a, x) }>
                t, u = Loop (two, yes, v) <body = m (int64 j, bool o, float[2] e) => (bool o, float[2] f, float[2] f) {
                    g = Add (i, j)
                    w = Cast <to = 1> (g)
                    f = Add (e, w)
                }>
            }>
        }""", [dict(n=I(n), x=row(2)) for n in (1, 4)]),
    "inside a branch": (16, """
        main (bool go, int64 n, float[2] x) => (float[2] y) <bool yes = {1}> {
            y = If (go) <then_branch = h () => (float[2] p) {
                    p = Loop (n, yes, x) <body = b (int64 i, bool c, float[2] a) => (bool c, float[2] t) {
                        t = Add (a, x)
                    }>
                }, else_branch = k () => (float[2] q) { q = Neg (x) }>
        }""", [dict(go=B(go), n=I(3), x=row(2)) for go in (True, False)]),
    "unsigned, booleans, half floats": (16, """
        main (int64 n, uint8[2] x, float16[2] h) => (uint8[2] y, float16[2] g, bool[r, 2] flags) <bool yes = {1}> {
            y, g, flags = Loop (n, yes, x, h) <body = b (int64 i, bool c, uint8[2] a, float16[2] e)
                => (bool c, uint8[2] t, float16[2] f, bool[2] k) {
                t = Add (a, x)
                f = Add (e, h)
                k = Greater (t, x)
            }>
        }""", [dict(n=I(n), x=np.uint8([100, 3]), h=np.float16([0.1, 7])) for n in (0, 3)]),
    "many iterations": (21, """
        main (int64 n, float[64] x) => (float[64] y, float[r] sums) <bool yes = {1}> {
            y, sums = Loop (n, yes, x) <body = b (int64 i, bool c, float[64] a) => (bool c, float[64] t, float s) {
                half = Constant <value = float {0.5}> ()
                u = Mul (a, half)
                t = Add (u, x)
                s = ReduceSum <keepdims = 0> (t)
            }>
        }""", [dict(n=I(5000), x=row(64))]),
}


def main():
    moe_opt, work, flags = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    work.mkdir(parents=True, exist_ok=True)
    failed = False
    for name, (opset, text, runs) in MODELS.items():
        model = onnx.parser.parse_model(HEAD.format(opset=opset) + text)
        file, program = work / "model.onnx", work / "model"
        onnx.save(model, file)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        done = subprocess.run([moe_opt, file, "-o", program, *flags], capture_output=True, text=True)
        problem = done.stderr.strip() if done.returncode else ""
        for inputs in runs if not problem else []:
            inputs = {key: np.asarray(value) for key, value in inputs.items()}
            np.savez(work / "inputs.npz", **inputs)
            np.savez(work / "expected.npz", **dict(zip(outputs, session.run(outputs, inputs))))
            done = subprocess.run([program, "--inputs", work / "inputs.npz", "--expect", work / "expected.npz",
                                   "--rtol", "1e-5", "--atol", "1e-5"], capture_output=True, text=True)
            if done.returncode:
                problem = f"{inputs}: exit code {done.returncode}: {done.stdout}{done.stderr}".strip()
                break
        failed |= bool(problem)
        print(f"FAIL {name}: {problem}" if problem else f"ok   {name}")
    print("some loops differ" if failed else "all loops agree")
    return failed


if __name__ == "__main__":
    sys.exit(main())
