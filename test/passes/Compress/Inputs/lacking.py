"""usage: lacking.py IN OUT MEASURE...: copies an expert profile without these measures."""
import json
import sys

with open(sys.argv[1], "rb") as file:
    data = file.read()
size = int.from_bytes(data[:8], "little")
header, body, kept = json.loads(data[8:8 + size]), data[8 + size:], b""
for key in list(header):
    if key == "__metadata__":
        continue
    if key.rsplit(".", 1)[-1] in sys.argv[3:]:
        del header[key]
        continue
    begin, end = header[key]["data_offsets"]
    header[key]["data_offsets"] = [len(kept), len(kept) + end - begin]
    kept += body[begin:end]
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[2], "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text + kept)
