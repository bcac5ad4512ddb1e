#!/usr/bin/env python3
"""usage: make_stubs.py CLANG LD OUT_DIR PROGRAM...

Writes OUT_DIR/{libc,libm}.stub.so: empty libraries that define, under the C library's names and
version nodes, what the given programs use of it. Linking against them makes binaries that need
the real libraries at run time, on a machine that has none of their development files.
"""
import collections
import pathlib
import re
import subprocess
import sys


def used_symbols(program):
    """(soname, version, name, type) of every undefined dynamic symbol."""
    def run(*arguments):
        return subprocess.run(["readelf", "-W", *arguments, program], capture_output=True,
                              text=True, check=True).stdout
    library_of, current = {}, None
    for line in run("-V").splitlines():
        if match := re.search(r"File: (\S+)", line):
            current = match.group(1)
        elif match := re.search(r"Name: (\S+)\s+Flags:.*Version: (\d+)", line):
            library_of[int(match.group(2))] = current
    for line in run("--dyn-syms").splitlines():
        match = re.match(r"\s*\d+:\s+\S+\s+\S+\s+(\S+)\s+\S+\s+\S+\s+UND\s+([^@\s]+)@(\S+)\s+\((\d+)\)", line)
        if match:
            yield library_of[int(match.group(4))], match.group(3), match.group(2), match.group(1)


def main():
    clang, linker, out = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    wanted = collections.defaultdict(dict)  # soname -> name -> (version, type)
    for program in sys.argv[4:]:
        for library, version, name, kind in used_symbols(program):
            if not library.startswith("ld-linux"):
                wanted[library][name] = (version, kind)
    for soname, stem in (("libc.so.6", "libc"), ("libm.so.6", "libm")):
        assert wanted.get(soname), f"nothing is used of {soname}"
        versions, code = collections.defaultdict(list), []
        for name, (version, kind) in sorted(wanted[soname].items()):
            versions[version].append(name)
            section, size = {"OBJECT": (".data", 8), "TLS": ('.section .tbss,"awT",@nobits', 8)}.get(
                kind, (".text", 1))
            elf_type = {"OBJECT": "@object", "TLS": "@tls_object"}.get(kind, "@function")
            code.append(f"{section}\n.globl {name}\n.type {name},{elf_type}\n.size {name},{size}\n"
                        f"{name}: .zero {size}\n")
        source, script = out / f"{stem}.stub.s", out / f"{stem}.stub.map"
        source.write_text("".join(code) + '.section .note.GNU-stack,"",@progbits\n')
        script.write_text("".join(
            f"{version} {{ global: {'; '.join(names)}; }};\n" for version, names in sorted(versions.items())))
        target = out / f"{stem}.stub"
        subprocess.check_call([clang, "-c", source, "-o", f"{target}.o"])
        subprocess.check_call([linker, "-shared", "-soname", soname, "--version-script", script,
                               "--build-id=none", f"{target}.o", "-o", f"{target}.so"])
    extra = set(wanted) - {"libc.so.6", "libm.so.6"}
    assert not extra, f"models would need other libraries: {extra}"


if __name__ == "__main__":
    main()
