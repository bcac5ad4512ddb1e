#!/usr/bin/env python3
"""Checks who includes whom: #include and TableGen include edges between folders.

usage: layering.py SOURCE_DIR; prints every forbidden edge, exit code 1 if any.
"""
import pathlib
import re
import sys

# A file under the key may include files under the values (and its own folder).
ALLOWED = {
    "dialects": [],
    "passes": ["dialects", "runtime/Bank", "runtime/IRInterface"],
    # The lowerings to kernels ask the microkernel builder, nothing else of codegen.
    "passes/Convert": ["codegen/CPU"],
    "passes/Kernels": ["codegen/CPU"],
    "codegen": ["dialects", "passes", "runtime/Bank", "runtime/Bundle", "runtime/IRInterface"],
    # Where kernels run that are compiled for the emulator; how weights lie, and which kernels are launched.
    "codegen/CUDA": ["runtime/Emulator", "runtime/Device/CodedRows", "runtime/Device/KernelChoice"],
    # Files, JSON and messages as everything here has them.
    "frontends": ["dialects", "runtime/Bank", "runtime/Core/File", "runtime/Core/Json", "runtime/Core/Sha256",
                  "runtime/Core/Text"],
    "runtime": [],
}
INCLUDE = re.compile(r'^\s*#?\s*include\s+"([^"]+)"', re.M)


def allowed(source: str, target: str) -> bool:
    for folder, targets in ALLOWED.items():
        if not source.startswith(folder + "/"):
            continue
        if any(target.startswith(prefix) for prefix in [folder + "/", *targets]):
            return True
    return False


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    tops = {folder.split("/")[0] for folder in ALLOWED} | {"tools", "test"}
    bad = 0
    for top in sorted({folder.split("/")[0] for folder in ALLOWED}):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".h", ".cpp", ".td", ".c", ".def"):
                continue
            source = path.relative_to(root).as_posix()
            for target in INCLUDE.findall(path.read_text(errors="replace")):
                if target.split("/")[0] in tops and not allowed(source, target):
                    print(f"{source} includes {target}: {top}/ may not")
                    bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
