"""Hugging Face checkpoints, read and written with numpy alone."""
import json
import pathlib

import numpy as np

TYPES = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "F64": np.float64, "U8": np.uint8, "I32": np.int32,
         "I64": np.int64, "F8_E4M3": np.uint8}


def write_safetensors(path, tensors):
    """`tensors`: name -> (type, array whose bytes are written)."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, array) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, (_, array) in sorted(tensors.items()):
            file.write(np.ascontiguousarray(array).tobytes())


def write_checkpoint(folder, config, tensors, shards=1):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return
    names = sorted(tensors)
    where = {}
    for i in range(shards):
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write_safetensors(folder / file, {name: tensors[name] for name in part})
        where.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": sum(a.nbytes for _, a in tensors.values())}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def read_safetensors(path):
    """name -> (type, array)."""
    raw = np.memmap(path, np.uint8, "r")
    size = int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:8 + size].tobytes())
    header.pop("__metadata__", None)
    result = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        width = np.dtype(TYPES[entry["dtype"]]).itemsize
        assert begin % width == 0, (name, "is not aligned")
        result[name] = entry["dtype"], raw[begin:end].view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return result


def read_checkpoint(folder):
    """config.json, and name -> (type, array)."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return config, read_safetensors(folder / "model.safetensors")
    where = json.loads(index.read_text())["weight_map"]
    tensors = {}
    for file in sorted(set(where.values())):
        tensors.update(read_safetensors(folder / file))
    assert {name: where[name] for name in tensors} == where
    return config, tensors


def numbers(tensor):
    """A plain tensor in f64."""
    dtype, array = tensor
    if dtype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)
