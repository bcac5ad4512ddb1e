"""usage: bad_cases.py FOLDER CASE: writes copies of a recorded case with one bf16 result, each with a mistake."""
import os
import re
import struct
import sys

folder, name = sys.argv[1:]
text = open(os.path.join(folder, name + ".case")).read()
near = re.search(r"^near 1 bf16 (\S+) (\S+) (\S+)$", text, re.M)


def write(mistake, changed):
    assert changed != text, mistake
    with open(os.path.join(folder, "Bad." + mistake + ".case"), "w") as file:
        file.write(changed)


def floats(mistake, of, change):
    """A copy in which a file of f32 numbers is another."""
    with open(os.path.join(folder, near[of]), "rb") as file:
        content = file.read()
    made = change(list(struct.unpack(f"<{len(content) // 4}f", content)))
    with open(os.path.join(folder, mistake + ".bin"), "wb") as file:
        file.write(made if isinstance(made, bytes) else struct.pack(f"<{len(made)}f", *made))
    write(mistake, text.replace(near[0], near[0].replace(near[of], mistake + ".bin")))


write("Nothing", "")
write("OldVersion", text.replace("moe-cuda-case 2", "moe-cuda-case 1"))
write("Line", text + "about 1\n")
write("Type", text.replace("near 1 bf16", "near 1 f64"))
write("Wide", text.replace("near 1 bf16", "near 1 f32"))
write("Buffer", text.replace("near 1", "near 9"))
write("NoBuffer", text.replace("near 1", "near x"))
write("Size", re.sub(r"^buffer 22", "buffer 23", text, flags=re.M))
write("Launch", text.replace(" 3 256 0 ", " 3 many 0 "))
write("Argument", text.replace(" 11 13", " 11 13q"))
write("Kernel", text.replace("launch loop", "launch lost"))
write("Ptx", re.sub(r"^(ptx \S+) .*$", r"\1 missing.ptx", text, flags=re.M))
write("Fault", re.sub(r"^exact 2 (.*)$", r"kinds 2 i32 " + "one.bin", text, flags=re.M))
with open(os.path.join(folder, "one.bin"), "wb") as file:
    file.write(struct.pack("<i", 1))
floats("Short", 3, lambda values: values[:-1])
floats("Odd", 3, lambda values: b"123")
floats("Value", 2, lambda values: [1000.0] + values[1:])
floats("NaN", 2, lambda values: [float("nan")] + values[1:])
floats("Infinity", 2, lambda values: [float("inf")] + values[1:])
floats("Exactly", 3, lambda values: [0.0] * len(values))
