#!/usr/bin/env python3
"""usage: report_run.py STEM

Joins what one evaluation wrote (STEM.trace.json: phases, STEM.eval: its line of results) into
STEM.run.json, which moe-opt --report-run reads beside the profile.
"""
import collections
import json
import pathlib
import re
import sys


def main():
    stem = sys.argv[1]
    run = {}
    line = pathlib.Path(stem + ".eval").read_text()
    if match := re.search(r"([0-9.]+) bits per byte\s+\d+ windows\s+([0-9.]+) tokens/s", line):
        run["bits_per_byte"], run["tokens_per_second"] = map(float, match.groups())
    phases = collections.Counter()
    for event in json.loads(pathlib.Path(stem + ".trace.json").read_text())["traceEvents"]:
        phases[event["name"]] += event["dur"] * 1e-6
    # What lies outside every phase: the operators on the generic road.
    if phases and (match := re.search(r"(\d+) windows", line)):
        whole = int(match.group(1)) * 256 / run["tokens_per_second"]
        phases["other operators"] = max(0.0, whole - sum(phases.values()))
    run["phases"] = [{"name": name, "seconds": seconds} for name, seconds in phases.items()]
    pathlib.Path(stem + ".run.json").write_text(json.dumps(run))


if __name__ == "__main__":
    main()
