#!/usr/bin/env python3
"""Checks that the dialects' documentation is tested.

usage: examples.py SOURCE_DIR

- Each ```mlir block in a .td file under dialects/ must occur, up to white
  space, in a .mlir file under test/dialects/, where a lit test parses it.
- For each constraint "(C3)" of an op "gate" there must be an invalid case
  labelled gate_c3 in a *-invalid.mlir file there.

Prints what is missing; exit code 1 if anything is.
"""
import pathlib
import re
import sys

EXAMPLE = re.compile(r"```mlir\n(.*?)```", re.S)
OP = re.compile(r'^def \w+\s*:\s*\w+<"(\w+)"', re.M)
CONSTRAINT = re.compile(r"^\s*- \(C(\d+)\)", re.M)


def squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    tests = {path: squeeze(path.read_text())
             for path in sorted((root / "test/dialects").rglob("*.mlir"))}
    labels = set()
    for path, text in tests.items():
        if path.name.endswith("-invalid.mlir"):
            labels.update(re.findall(r"(?=\b(\w+?_c\d+)(?:\b|_))", text))
    examples = constraints = bad = 0
    for path in sorted((root / "dialects").rglob("*.td")):
        name = path.relative_to(root)
        text = path.read_text()
        for match in EXAMPLE.finditer(text):
            examples += 1
            if any(squeeze(match.group(1)) in test for test in tests.values()):
                continue
            line = text[:match.start()].count("\n") + 1
            print(f"{name}:{line}: no test holds this example:")
            print(match.group(1).rstrip())
            bad += 1
        ops = list(OP.finditer(text))
        for op, following in zip(ops, ops[1:] + [None]):
            end = following.start() if following else len(text)
            for number in CONSTRAINT.findall(text[op.start():end]):
                constraints += 1
                label = f"{op.group(1)}_c{number}"
                if label not in labels:
                    print(f"{name}: no invalid case is labelled {label}")
                    bad += 1
    print(f"{examples} examples, {constraints} constraints, {bad} without a test")
    # A run that finds nothing to check has lost its way.
    return 1 if bad or not examples or not constraints else 0


if __name__ == "__main__":
    sys.exit(main())
