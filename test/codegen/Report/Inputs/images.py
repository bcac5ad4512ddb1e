"""usage: images.py PAGE COUNT SIZE: does the page hold COUNT sound PNG images of SIZE x SIZE?"""
import base64
import re
import struct
import sys
import zlib

images = re.findall(r'data:image/png;base64,([^"]+)"', open(sys.argv[1]).read())
assert len(images) == int(sys.argv[2]), len(images)
for text in images:
    data = base64.b64decode(text)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        chunks[kind] = body
        at += 12 + size
    side = int(sys.argv[3])
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (side, side)
    assert len(chunks[b"PLTE"]) == 3 * 256
    assert len(zlib.decompress(chunks[b"IDAT"])) == side * (side + 1)
