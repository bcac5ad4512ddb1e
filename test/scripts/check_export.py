"""Exports models to ONNX and checks what came out.

check_export.py [--form contrib|standard] [--ops OP,...] [--flags="..."] MODEL.onnx...

Each model goes through `moe-opt MODEL.onnx -o small.onnx`. ONNX Runtime must
load the result and give the outputs stored beside the model (inputs_*.npz and
outputs_*.npz, there or in reference/), to 1e-4 of the largest, f16 to 5e-3;
moe-opt must read the same layers and nodes from it (see compare_ir.py); and all
operators named with --ops must occur in it.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

import compare_ir


def sets_of(model):
    """Files of inputs with their outputs."""
    decode = model.stem.endswith("decode")
    for folder in (model.parent, model.parent / "reference"):
        for inputs in sorted(folder.glob("inputs_*.npz")):
            outputs = inputs.with_name(inputs.name.replace("inputs", "outputs"))
            if outputs.exists() and ("decode" in inputs.name) == decode:
                yield inputs, outputs


def load(path):
    with np.load(path) as file:
        return {name.replace("|", "/"): file[name] for name in file.files}


def relative_error(got, want):
    """The largest error relative to the largest number; infinite where one of both is no number.

    >>> relative_error(np.array([1.0, 2.5, np.nan]), np.array([1.0, 2.0, np.nan]))
    0.25
    >>> relative_error(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    inf
    >>> relative_error(np.array([1.0, 2.0, np.inf]), np.array([1.0, np.nan, np.inf]))
    inf
    >>> relative_error(np.array([np.inf, np.inf]), np.array([np.inf, 2.0]))
    inf
    >>> relative_error(np.zeros((0, 3)), np.zeros((0, 3)))
    0.0
    """
    got, want = got.astype(np.float64), want.astype(np.float64)
    if (np.isnan(got) != np.isnan(want)).any():
        return float("inf")
    differ = (got != want) & ~np.isnan(want)
    largest = np.abs(want[np.isfinite(want)]).max(initial=0) or 1.0
    return float(np.abs(got[differ] - want[differ]).max(initial=0) / largest)


def wrong(got, want):
    """What is wrong with one output, or an empty text.

    >>> half, single = np.array([1.0], np.float16), np.array([1.0], np.float32)
    >>> wrong(half + np.float16(1e-3), half), wrong(single + np.float32(1e-3), single)
    ('', 'off by 1.00e-03, allowed is 1e-04')
    >>> wrong(half, single)
    'is float16 (1,), not float32 (1,)'
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"is {got.dtype} {got.shape}, not {want.dtype} {want.shape}"
    error, limit = relative_error(got, want), 5e-3 if want.dtype == np.float16 else 1e-4
    return "" if error <= limit else f"off by {error:.2e}, allowed is {limit:.0e}"


def check(model, options, directory):
    """What is wrong with the export of one model, or an empty text."""
    out = directory / f"{model.parent.name}-{model.stem}.onnx"
    done = subprocess.run(
        ["moe-opt", str(model), "-o", str(out), f"--onnx-moe={options.form}", *options.flags.split()],
        capture_output=True, text=True)
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr.strip()}"
    ops = {node.op_type for node in onnx.load(out, load_external_data=False).graph.node}
    if missing := set(filter(None, options.ops.split(","))) - ops:
        return f"has no {', '.join(sorted(missing))}"
    if options.form == "standard" and ops & {"MoE", "QMoE"}:
        return "has a contrib layer"
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    count = 0
    for inputs, outputs in sets_of(model):
        count += 1
        expected = load(outputs)
        for output, got in zip(session.get_outputs(), session.run(None, load(inputs))):
            if output.name in expected and (problem := wrong(got, expected[output.name])):
                return f"{inputs.name}: {output.name} {problem}"
    if not count:
        return "has no stored outputs"
    if difference := compare_ir.difference(model, out):
        return "reads differently:\n" + difference
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--form", default="contrib")
    parser.add_argument("--ops", default="")
    parser.add_argument("--flags", default="")
    options = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    failed = False
    for model in options.models:
        with tempfile.TemporaryDirectory() as directory:
            problem = check(model, options, pathlib.Path(directory))
        if problem:
            print(f"{model}: {problem}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
