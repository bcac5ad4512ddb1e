"""Compares two ONNX models as moe-opt reads them: MoE layers raised, all else nodes.

compare_ir.py A.onnx B.onnx; prints the first difference, exit code 1 where there is one.

Names, locations, archives, versions of operators, Identity nodes and how banks
divide the weights do not count. So every value is replaced by a hash of what
computes it, and every weight by a hash of its (dequantised) numbers.
"""

import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

KINDS = {"f32": "<f4", "f16": "<f2", "f64": "<f8", "i64": "<i8", "i32": "<i4",
         "i16": "<i2", "i8": "i1", "ui8": "u1", "i1": "u1"}

BYTES = np.arange(256)
F8E4M3 = np.where(BYTES & 0x78, (1 + (BYTES & 7) / 8) * 2.0 ** ((BYTES >> 3 & 15) - 7.0), (BYTES & 7) / 8 * 2.0 ** -6)
F8E4M3 = np.where(BYTES & 0x7f == 0x7f, np.nan, np.where(BYTES & 0x80, -F8E4M3, F8E4M3))

CODES = {
    "fp4": np.array([0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6], np.float32),
    "nf4": np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                     -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                     0.7229568362236023, 1.0], np.float32)}


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stderr}")
    return done.stdout


def short(text):
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()[:16]


def tensor_type(text):
    """tensor<4x8xf32> as ([4, 8], "f32")."""
    *sizes, element = re.match(r"tensor<(.*)>", text).group(1).split("x")
    return [int(s) for s in sizes], element


def numbers(raw, element, shape):
    count = int(np.prod(shape))
    if element in ("i4", "ui4"):
        low = np.frombuffer(raw, np.uint8)
        if len(raw) < count or count == 1:
            low = np.stack([low & 15, low >> 4], -1).reshape(-1)[:count]
        flat = low & 15
        flat = ((flat ^ 8).astype(np.int16) - 8) if element == "i4" else flat
    elif element == "bf16":
        flat = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif element == "f8E4M3FN":
        flat = F8E4M3[np.frombuffer(raw, np.uint8)]
    elif element == "f8E8M0FNU":
        flat = 2.0 ** (np.frombuffer(raw, np.uint8).astype(np.float64) - 127)
    else:
        flat = np.frombuffer(raw, KINDS[element])
    if flat.size == 1 and count != 1:
        flat = np.repeat(flat, count)
    return flat.reshape(shape)


class Module:
    def __init__(self, path):
        self.folder = pathlib.Path(path).parent
        with tempfile.TemporaryDirectory() as directory:
            imported = f"{directory}/imported.mlir"
            run("moe-opt", path, "--stop-after=imported", "-o", imported)
            self.text = run(
                "moe-opt", imported, "--moe-unroll-loops", "--cse", "--moe-raise-experts",
                "--canonicalize", "--cse", "--mlir-print-elementsattrs-with-hex-if-larger=0")
        self.banks = {}
        self.lines = []
        self.trees = {}
        for line in self.text.splitlines():
            if bank := re.match(r'\s*moe\.bank @("(?:[^"\\]|\\.)*"|[\w.$#-]+) (.*) : (tensor<[^>]*>)(?: .*)?$', line):
                self.banks[bank.group(1)] = (bank.group(2), bank.group(3))
            else:
                self.lines.append(line)

    def bank(self, name):
        how, kind = self.banks[name]
        shape, element = tensor_type(kind)
        if place := re.match(r'in "(.*)" at (\d+) length (\d+)', how):
            archive, offset, length = place.groups()
            with open(self.folder / archive, "rb") as file:
                file.seek(int(offset))
                raw = file.read(int(length))
            return numbers(raw, element, shape), element
        if dense := re.match(r'recipe\(dense<"0x([0-9A-F]*)">', how):
            return numbers(bytes.fromhex(dense.group(1)), element, shape), element
        if dense := re.match(r"recipe\(dense<([^>]*)>", how):
            value = {"true": 1, "false": 0}.get(dense.group(1)) or float(dense.group(1))
            return np.full(shape, value), element
        if mix := re.match(r"recipe\(#moe\.mix<\[(#moe\.slice<.*>)\], \[1\.0+e\+00\]>\)", how):
            return self.matrix(mix.group(1)[len("#moe.slice<"):-1]), element
        sys.exit(f"cannot read the recipe of {name}: {how[:80]}")

    def matrix(self, text):
        """`@bank[0, 0:8] transposed quant<...>` as numbers [out, in]."""
        found = re.match(r'@("(?:[^"\\]|\\.)*"|[\w.$#-]+)(\[[^\]]*\])?( transposed)?(?: quant<(.*)>)?$', text)
        name, ranges, transposed, quant = found.groups()
        values, element = self.bank(name)
        if quant:
            bits = int(re.search(r"bits = (\d+)", quant).group(1))
            block = int(re.search(r"block = (\d+)", quant).group(1))
        if ranges:
            where = tuple(
                slice(*[int(n) if n else None for n in part.split(":")]) if ":" in part else int(part)
                for part in ranges[1:-1].replace(" ", "").split(","))
            values = values[where]
        if quant and bits == 4 and element in ("ui8", "i8"):
            values = np.stack([values & 15, (values >> 4) & 15], -1).reshape(*values.shape[:-1], -1)
        if transposed and values.ndim == 2:
            values = values.T
        if not quant:
            return values
        scales = self.matrix(re.search(r"scales = <(@[^<>]*)>", quant).group(1)).astype(np.float64)
        zeros = re.search(r"zeros = <(@[^<>]*)>", quant)
        code = re.search(r'code = "(\w+)"', quant)
        if code:
            values = CODES[code.group(1)][values]
        if code or element[0] == "f":
            zero = np.zeros_like(scales)
        elif zeros:
            zero = self.matrix(zeros.group(1)).astype(np.float64)
        else:
            zero = np.full_like(scales, 2.0 ** (bits - 1) if element[0] == "u" else 0.0)
        if block:
            scales, zero = (np.repeat(a, block, 1)[:, :values.shape[1]] for a in (scales, zero))
        else:
            scales, zero = scales[:, None], zero[:, None]
        return (values.astype(np.float64) - zero) * scales

    def weight(self, text):
        values = np.ascontiguousarray(self.matrix(text), np.float32)
        return f"<{list(values.shape)} {short(values.tobytes())}>"

    def slices(self, line):
        """Slices of banks replaced by what they hold."""
        at = 0
        while start := re.compile(r'(?<=[ <])@(?:"(?:[^"\\]|\\.)*"|[\w.$#-]+)').search(line, at):
            if start.group(0)[1:] not in self.banks:
                at = start.end()
                continue
            rest = re.match(r'(\[[^\]]*\])?( transposed)?( quant<)?', line[start.end():])
            end = start.end() + rest.end()
            depth = 1 if rest.group(3) else 0
            while depth:
                depth += {"<": 1, ">": -1}.get(line[end], 0)
                end += 1
            made = self.weight(line[start.start():end])
            line = line[:start.start()] + made + line[end:]
            at = start.start() + len(made)
        return line

    def canonical(self):
        """The results of @main and the pools, as text that names no value."""
        known, pools, out, stack = {}, {}, [], []
        pool = None
        for line in self.lines:
            line = line.strip()
            line = re.sub(r' layer "[^"]*"', "", line)
            line = re.sub(r' \{moe\.encoding = "[^"]*"\}', "", line)
            line = re.sub(r'(onnx\.node (?:"[^"]*" )?"[^"]*") v \d+', r"\1", line)
            if begin := re.match(r"moe\.pool @(\S+) (?:attributes .*)?\{$", line):
                pool = pools[begin.group(1)] = []
            elif line.startswith("moe.") and pool is not None:
                pool.append(self.slices(line))
            elif line == "}" and pool is not None:
                pool = None
            elif line.startswith("func.func"):
                out.append(re.sub(r"%\w+", "", line))
                for i, name in enumerate(re.findall(r"(%arg\d+):", line)):
                    known[name] = f"argument {i}"
            elif line.startswith("^bb"):
                for i, name in enumerate(re.findall(r"(%arg\d+):", line)):
                    known[name] = f"argument {len(stack)}.{i}"
            else:
                self.operation(line, known, pools, out, stack)
        return out

    def operation(self, line, known, pools, out, stack):
        def value(match):
            name, _, part = match.group(0).partition("#")
            return known[name] + ("#" + part if part else "")

        results, _, text = line.rpartition(" = ") if re.match(r"%\w+(:\d+)? = ", line) else ("", "", line)
        if results:
            results, text = line.split(" = ", 1)
        if weight := re.match(r"moe\.weight (@\S+|@\".*\") :", text):
            text = "weight " + self.weight(weight.group(1))
        if same := re.match(r'onnx\.node "Identity" \((%\w+)\)', text):
            known[results] = known[same.group(1)]
            return
        text = re.sub(r"%\w+(#\d+)?", value, text)
        for name, entries in pools.items():
            text = re.sub(rf"@{name}\b", "pool " + short("\n".join(entries)), text)
        if text.endswith("{") and text.startswith("onnx.node"):
            stack.append((results, text))
            return
        if text.startswith("} do {"):
            stack[-1] = (stack[-1][0], stack[-1][1] + " do")
            return
        if text.startswith("onnx.yield"):
            stack[-1] = (stack[-1][0], stack[-1][1] + text)
            return
        if text.startswith("} :"):
            results, before = stack.pop()
            text = before + text
        if results:
            name = results.split(":")[0]
            known[name] = short(text)
            self.trees[known[name]] = text
        elif text.startswith("return"):
            out.append(text)

    def explain(self, other, mine, theirs, depth=0):
        """Where two values first are computed differently."""
        a, b = self.trees.get(mine, mine), other.trees.get(theirs, theirs)
        hashes = re.compile(r"\b[0-9a-f]{16}\b")
        inner = list(zip(hashes.findall(a), hashes.findall(b)))
        if hashes.sub("", a) != hashes.sub("", b) or not inner or depth > 500:
            return f"- {a}\n+ {b}"
        for x, y in inner:
            if x != y:
                return self.explain(other, x, y, depth + 1)
        return f"- {a}\n+ {b}"


def difference(first, second):
    """What differs between two model files; an empty text where nothing does."""
    first, second = Module(first), Module(second)
    a, b = first.canonical(), second.canonical()
    for x, y in zip(a, b):
        if x == y:
            continue
        hashes = re.compile(r"\b[0-9a-f]{16}\b")
        if x.startswith("return"):
            for p, q in zip(hashes.findall(x), hashes.findall(y)):
                if p != q:
                    return first.explain(second, p, q)
        return f"- {x}\n+ {y}"
    return "" if len(a) == len(b) else "different numbers of functions"


if __name__ == "__main__":
    sys.exit(difference(*sys.argv[1:]) or 0)
