"""Quantised matrices for tests: what banks hold, and the numbers that they mean (float64)."""
import numpy as np

FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
                1.0]).astype(np.float32).astype(np.float64)


def f8_numbers():
    """What the 256 codes of f8E4M3FN mean."""
    code = np.arange(256)
    exponent, mantissa = code >> 3 & 15, code & 7
    value = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0**(exponent - 7.0))
    value[[127, 255]] = np.nan
    return np.where(code & 128, -value, value)


F8 = f8_numbers()


class Quantised:
    """A random [experts, out, in] stack of `kind`: int8, uint8, int4, uint4, i4, fp4, nf4 or f8, in blocks of `block`
    inputs (0: all), with scales of type `scale` and, where asked for, zero points."""

    def __init__(self, rng, experts, out, depth, kind, block, scale="f32", zeros=False, transposed=False):
        self.block, self.bits = block, 8 if kind in ("int8", "uint8", "f8") else 4
        codes = rng.integers(0, 2**self.bits, (experts, out, depth))
        if kind == "f8":
            codes[np.isnan(F8[codes])] = 1
        blocks = -(-depth // block) if block else 1
        group = np.arange(depth) // (block or depth)
        zero = rng.integers(0, 2**self.bits, (experts, out, blocks)) if zeros else None
        sign = lambda v: np.where(v >= 2**(self.bits - 1), v - 2**self.bits, v)
        if kind in ("fp4", "nf4", "f8"):
            numbers = {"fp4": FP4 / 6, "nf4": NF4, "f8": F8 / 448}[kind][codes]
            unit = {"fp4": 6, "nf4": 1, "f8": 448}[kind]
        else:
            signed = kind in ("int8", "int4", "i4")
            numbers = sign(codes) if signed else codes
            middle = 0 if signed else 2**(self.bits - 1)
            numbers = numbers - (middle if zero is None else (sign(zero) if signed else zero)[:, :, group])
            unit = 2**(self.bits - 1)
            numbers = numbers / unit
        scales = (rng.random((experts, out, blocks)) + 0.5) * 2 / np.sqrt(depth) / unit
        if scale == "e8m0":
            stored = np.clip(np.round(np.log2(scales)) + 127, 0, 254).astype(np.uint8)
            scales, self.scale_type = 2.0**(stored.astype(np.float64) - 127), "f8E8M0FNU"
        elif scale == "bf16":
            stored = ((scales.astype(np.float32).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
            scales, self.scale_type = (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64), "bf16"
        else:
            stored = scales.astype(np.float16 if scale == "f16" else np.float32)
            scales, self.scale_type = stored.astype(np.float64), scale
        self.values = numbers * unit * scales[:, :, group]  # [experts, out, in]
        self.scales = stored if block else stored[:, :, 0]
        kinds = {"int8": "i8", "int4": "i8", "i4": "i4", "f8": "f8E4M3FN"}
        self.type = kinds.get(kind, "ui8")
        self.transposed = transposed and self.bits == 8
        if self.bits == 4:  # two to a byte along the inputs
            self.codes = (codes[:, :, 0::2] | codes[:, :, 1::2] << 4).astype(np.uint8)
        else:
            self.codes = codes.astype(np.uint8)
        self.shape = list(codes.shape) if kind == "i4" else list(self.codes.shape)
        if self.transposed:
            self.codes = np.ascontiguousarray(self.codes.transpose(0, 2, 1))
            self.shape = list(self.codes.shape)
        self.zeros = None if zero is None else (zero if block else zero[:, :, 0]).astype(np.uint8)
        if kind in ("int4", "i4") and zero is not None:  # one to a byte, with their sign
            self.zeros = sign(zero if block else zero[:, :, 0]).astype(np.int8).view(np.uint8)
        self.zero_type = "i8" if kind in ("int8", "int4", "i4") else "ui8"
        self.code = kind if kind in ("fp4", "nf4") else None

    def slice(self, name, index):
        """The text of expert `index` in banks `name`, `name_s` and `name_z`."""
        text = f"@{name}[{index}]{' transposed' if self.transposed else ''} quant<bits = {self.bits}, " \
               f"block = {self.block}, scales = <@{name}_s[{index}]>"
        if self.zeros is not None:
            text += f", zeros = <@{name}_z[{index}]>"
        return text + (f', code = "{self.code}">' if self.code else ">")
