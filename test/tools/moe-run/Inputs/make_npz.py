"""usage: make_npz.py FILE.npz|FILE.npy NAME:TYPE:SHAPE:VALUES...

TYPE is numpy's descr ("<f4"), SHAPE "2x4" or "" for a scalar, VALUES
comma-separated and repeated as often as needed. Needs no numpy.
"""
import itertools
import math
import struct
import sys
import zipfile

CODES = {"<f4": "f", "<f8": "d", "<i8": "q", "<i4": "i", "<u2": "H"}


def npy(descr: str, shape: str, values: str) -> bytes:
    sizes = [int(size) for size in shape.split("x")] if shape else []
    parse = float if descr[1] == "f" else int
    numbers = itertools.cycle([parse(value) for value in values.split(",")])
    count = math.prod(sizes)
    data = struct.pack(f"<{count}{CODES[descr]}", *itertools.islice(numbers, count))
    header = repr({"descr": descr, "fortran_order": False, "shape": tuple(sizes)}) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def main() -> None:
    path, *arrays = sys.argv[1:]
    parsed = [array.split(":") for array in arrays]
    if path.endswith(".npy"):
        open(path, "wb").write(npy(*parsed[0][1:]))
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, *array in parsed:
            archive.writestr(name + ".npy", npy(*array))


main()
