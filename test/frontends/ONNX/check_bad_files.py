#!/usr/bin/env python3
"""usage: check_bad_files.py ZOO_BAD_FOLDER [CASE-THAT-RAISING-REFUSES ...]

Feeds every bad file to moe-opt: exit code 1, one message with the words that case.json asks for. Import refuses
all but the named cases.
"""
import json
import pathlib
import subprocess
import sys


def main():
    folder, late = pathlib.Path(sys.argv[1]), set(sys.argv[2:])
    cases = sorted(path.parent for path in folder.glob("*/case.json"))
    assert len(cases) > 30, "the folder of bad files is not complete"
    failures = 0
    for case in cases:
        words = json.loads((case / "case.json").read_text())["must_mention"]
        phase = "raised" if case.name in late else "imported"
        run = subprocess.run(["moe-opt", str(case / "model.onnx"), f"--stop-after={phase}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        missing = [word for word in words if word.lower() not in run.stderr.lower()]
        if run.returncode != 1 or missing or run.stderr.count("error:") != 1:
            failures += 1
            print(f"{case.name}: exit code {run.returncode}, missing {missing}, said: {run.stderr.strip()}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
