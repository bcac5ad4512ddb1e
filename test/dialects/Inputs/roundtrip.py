"""usage: roundtrip.py TEST_FOLDER

Every module of every .mlir file that parses survives printing and parsing, as text and as bytecode. Files that hold wrong
input on purpose say so by their name or by the errors that they expect.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys


def check(path):
    """What is wrong with a file, "" where nothing is; None for one that is invalid on purpose."""
    text = path.read_text()
    if path.stem.endswith("-invalid") or re.search(r"//\s*expected-error", text):
        return None
    run = subprocess.run(["moe-opt", "--split-input-file", "--verify-roundtrip", str(path)], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    return run.stderr if run.returncode else ""


def main():
    folder = pathlib.Path(sys.argv[1])
    files = sorted(path for path in folder.rglob("*.mlir"))
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = dict(zip(files, pool.map(check, files)))
    valid = [path for path, result in results.items() if result is not None]
    for path in valid:
        if results[path]:
            print(f"FAIL {path.relative_to(folder)}: {results[path]}")
    print(f"{len(valid)} files survive" if not any(results[path] for path in valid) else "some do not")
    assert len(valid) > 40, "the folder of tests is not complete"


main()
