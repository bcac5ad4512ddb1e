"""Runs the cases of the zoo through moe-opt and compares with case.json.

    run_zoo.py FOLDER CASE-PREFIX... [--numbers] [--device emu] [--tolerance X] [--flags "..."] [--gap CASE=REASON]...

Without --numbers: compiles to phase `raised` and compares the verdict (every
MoE layer raised; none, but imported; refused with an error) with `expected`
and `acceptable`. With --numbers: also makes an executable and runs all sets
of inputs with the case's tolerances; with --device, a library that moe-run
runs there. --tolerance replaces a case's own, relative and absolute. A gap is a case that is known to fail;
it fails the run when it passes. moe-opt gets the flags; with --no-raise among
them a case is expected to be imported where it would be raised.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def verdict(folder, case, flags):
    """What moe-opt makes of a case: one of the words of case.json, and why."""
    code, out, err = run("moe-opt", str(folder / "model.onnx"), "--stop-after=raised", *flags)
    if code == 1:
        return "refuse", err.strip()
    if code != 0:
        return f"exit code {code}", err.strip()
    layers = out.count("= moe.apply ")
    if layers == 0:
        return "import-only", ""
    if layers == case.get("n_moe_layers"):
        return "raise", ""
    return f"{layers} of {case.get('n_moe_layers')} layers raised", ""


def numbers(folder, case, directory, flags, device, tolerance):
    """An empty text where all sets come out right, else what is wrong."""
    program = directory / ("model.so" if device else "model")
    start = ["moe-run", str(program), "--device", device] if device else [str(program)]
    code, _, err = run("moe-opt", str(folder / "model.onnx"), "-o", str(program), *flags)
    if code:
        return "does not compile: " + err.strip()[:200]
    for k in range(len(case["sets"])):
        code, out, err = run(
            *start, "--inputs", str(folder / f"inputs_{k}.npz"),
            "--expect", str(folder / f"outputs_{k}.npz"),
            "--rtol", str(tolerance or case["rtol"]), "--atol", str(tolerance or case["atol"]))
        if code:
            return f"set {k}: exit code {code}: {(out + err).strip()[:200]}"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("prefixes", nargs="+")
    parser.add_argument("--numbers", action="store_true")
    parser.add_argument("--device", default="")
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--flags", default="")
    parser.add_argument("--gap", action="append", default=[])
    options = parser.parse_args()
    flags = options.flags.split()
    gaps = dict(gap.split("=", 1) for gap in options.gap)

    folders = [f for f in sorted(options.folder.iterdir())
               if (f / "case.json").exists()
               and any(f.name.startswith(p) for p in options.prefixes)]
    failed = not folders
    for folder in folders:
        case = json.loads((folder / "case.json").read_text())
        allowed = {case["expected"], *case.get("acceptable", [])}
        if "--no-raise" in flags:
            allowed = {"import-only" if word == "raise" else word for word in allowed}
        got, why = verdict(folder, case, flags)
        problem = "" if got in allowed else f"got {got}, expected {' or '.join(sorted(allowed))}"
        if not problem and options.numbers and got != "refuse" and case.get("compare", True):
            with tempfile.TemporaryDirectory() as directory:
                problem = numbers(folder, case, pathlib.Path(directory), flags,
                                  options.device, options.tolerance)
        gap = gaps.pop(folder.name, None)
        state = "ok" if not problem else "GAP" if gap else "FAIL"
        if gap and not problem:
            state, problem = "FAIL", "is listed as a gap, but passes"
        failed |= state == "FAIL"
        print(f"{state:5}{folder.name}: {problem or got}" + (f" ({gap})" if gap else ""))
        if why and state == "FAIL":
            print("     " + why[:300])
    for name in gaps:
        print(f"FAIL {name}: a gap for a case that does not exist")
        failed = True
    return failed


sys.exit(main())
