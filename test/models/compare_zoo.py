#!/usr/bin/env python3
"""usage: compare_zoo.py ZOO WORK_DIR [--flags "..."] CASE-PREFIX...

Compiles every case whose name begins with a prefix, runs all its input sets and compares with the
stored outputs, in the tolerances of case.json. A case that expects `refuse` must fail to compile
with one message. Prints a line per case; exit code 1 if any verdict is wrong.
"""
import argparse
import json
import pathlib
import subprocess
import sys


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)


def verdict(case, work, flags):
    facts = json.loads((case / "case.json").read_text())
    program = work / case.name
    compiled = run("moe-opt", case / "model.onnx", "-o", program, *flags)
    if facts["expected"] == "refuse":
        messages = compiled.stderr.count("error:")
        return "" if compiled.returncode == 1 and messages == 1 else f"not refused: {compiled.stderr}"
    if compiled.returncode:
        return f"does not compile: {compiled.stderr.strip()}"
    try:
        for item in facts["sets"]:
            k = item["k"]
            ran = run(program, "--inputs", case / f"inputs_{k}.npz", "--expect", case / f"outputs_{k}.npz",
                      "--atol", facts["atol"], "--rtol", facts["rtol"])
            if ran.returncode:
                return f"set {k}: exit code {ran.returncode}: {ran.stdout}{ran.stderr}"
    finally:
        program.unlink()
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zoo", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("prefixes", nargs="+")
    parser.add_argument("--flags", default="")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    cases = sorted(path.parent for path in args.zoo.glob("*/case.json")
                   if path.parent.name.startswith(tuple(args.prefixes)))
    assert cases, "no case has such a name"
    wrong = 0
    for case in cases:
        problem = verdict(case, args.work, args.flags.split())
        print(f"{case.name}: {problem or 'ok'}")
        wrong += bool(problem)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
