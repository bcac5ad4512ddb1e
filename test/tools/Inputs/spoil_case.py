"""usage: spoil_case.py FOLDER CASE near|exact|kinds: makes what a recorded case expects wrong in its first number."""
import os
import struct
import sys

folder, name, kind = sys.argv[1:]
path = os.path.join(folder, name + ".case")
lines = open(path).read().split("\n")
for i, line in enumerate(lines):
    words = line.split(" ")
    if words[0] != kind:
        continue
    # The value itself; or what the emulator is said to have left.
    at = {"near": 4, "exact": 2, "kinds": 3}[kind]
    with open(os.path.join(folder, words[at]), "rb") as file:
        content = bytearray(file.read())
    if kind == "near":
        content[:4] = struct.pack("<f", 1000.0)
    elif kind == "kinds":
        was = struct.unpack("<f", content[:4])[0]
        content[:4] = struct.pack("<f", 1.0 if was != was else float("nan"))
    else:
        content[0] ^= 1
    words[at] = "spoiled-" + name + ".bin"
    with open(os.path.join(folder, words[at]), "wb") as file:
        file.write(content)
    lines[i] = " ".join(words)
    break
with open(path, "w") as file:
    file.write("\n".join(lines))
