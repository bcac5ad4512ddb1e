#!/usr/bin/env python3
"""Runs layers of experts by PyTorch's grouped_mm and by a Triton kernel, as the peers that moe-bench measures against.

usage: peer_torch.py

Prints "ready torch VERSION ...", then answers each line of standard input, {"hidden": d, "width": f, "experts": e,
"chosen": k, "tokens": t}, with two times in milliseconds: grouped_mm (sorting included) and Triton (sorted before, the
best of a few tile sizes), "nan" for what is not there. bf16, gated SiLU, uniform routing. Needs a GPU.

It has not run on one yet.
"""
import json
import math
import statistics
import sys

import torch
import torch.nn.functional as F

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

DEVICE = "cuda"

if triton:

    @triton.jit(do_not_specialize=["blocks"])
    def experts_kernel(a, b, c, slots, experts, scale, blocks, n, k, per_token: tl.constexpr, gated: tl.constexpr,
                       even: tl.constexpr, bm: tl.constexpr, bn: tl.constexpr, bk: tl.constexpr, together: tl.constexpr):
        """c[slot] = a[slot // per_token] * b[expert]^T, gated: silu of the first n rows times the next n."""
        program = tl.program_id(0)
        across = tl.cdiv(n, bn)
        first = program // (together * across) * together
        size = min(blocks - first, together)
        m = first + (program % (together * across)) % size
        column = (program % (together * across)) // size * bn + tl.arange(0, bn)
        slot = tl.load(slots + m * bm + tl.arange(0, bm))
        there = slot >= 0
        expert = tl.load(experts + m).to(tl.int64)
        depth = tl.arange(0, bk)
        left = a + (tl.where(there, slot, 0) // per_token).to(tl.int64)[:, None] * k + depth[None, :]
        rows = 2 if gated else 1
        right = b + expert * n * k * rows + (column % n).to(tl.int64)[None, :] * k + depth[:, None]
        total = tl.zeros((bm, bn), tl.float32)
        linear = tl.zeros((bm, bn), tl.float32)
        further = n.to(tl.int64) * k
        for at in range(0, k, bk):
            inside = depth < k - at
            x = tl.load(left, mask=there[:, None] if even else there[:, None] & inside[None, :], other=0.0)
            w = tl.load(right) if even else tl.load(right, mask=inside[:, None], other=0.0)
            total = tl.dot(x, w, total)
            if gated:
                u = tl.load(right + further) if even else tl.load(right + further, mask=inside[:, None], other=0.0)
                linear = tl.dot(x, u, linear)
            left += bk
            right += bk
        if gated:
            total = total * tl.sigmoid(total) * linear
        else:
            total = total * tl.load(scale + slot, mask=there, other=0.0)[:, None]
        to = c + slot.to(tl.int64)[:, None] * n + column[None, :]
        tl.store(to, total.to(c.dtype.element_ty), mask=there[:, None] & (column[None, :] < n))


def time_ms(call):
    """Median milliseconds of a call, in a graph where it can be captured."""
    call()
    torch.cuda.synchronize()
    run = call
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        run = graph.replay
    except Exception as error:  # what cannot be captured is measured in the stream
        torch.cuda.synchronize()
        print(f"peer_torch: no graph: {error}", file=sys.stderr)
    times, spent = [], 0.0
    run()
    while len(times) < 5 or (spent < 100 and len(times) < 200):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
        spent += times[-1]
    return statistics.median(times)


class Layer:
    def __init__(self, hidden, width, experts, chosen):
        self.hidden, self.width, self.experts, self.chosen = hidden, width, experts, chosen
        generator = torch.Generator(DEVICE).manual_seed(1)

        def random(*shape, scale):
            return torch.empty(*shape, dtype=torch.bfloat16, device=DEVICE).normal_(0, scale, generator=generator)

        self.up = random(experts, 2 * width, hidden, scale=hidden**-0.5)
        self.down = random(experts, hidden, width, scale=width**-0.5)

    def draw(self, tokens):
        generator = torch.Generator(DEVICE).manual_seed(tokens)
        scores = torch.rand(tokens, self.experts, device=DEVICE, generator=generator)
        self.ids = scores.topk(self.chosen, dim=1).indices.contiguous()
        self.x = torch.randn(tokens, self.hidden, device=DEVICE, generator=generator).to(torch.bfloat16)
        self.weights = torch.full((tokens, self.chosen), 1 / self.chosen, dtype=torch.float32, device=DEVICE)

    def grouped(self):
        multiply = getattr(F, "grouped_mm", None) or torch._grouped_mm
        flat = self.ids.view(-1)
        order = flat.argsort(stable=True)
        token = order // self.chosen
        ones = torch.ones_like(flat, dtype=torch.int32)
        ends = torch.zeros(self.experts, dtype=torch.int32, device=DEVICE).scatter_add_(0, flat, ones)
        ends = ends.cumsum(0, dtype=torch.int32)
        h = multiply(self.x[token], self.up.transpose(1, 2), offs=ends)
        h = F.silu(h[:, : self.width]) * h[:, self.width :]
        y = multiply(h, self.down.transpose(1, 2), offs=ends)
        scale = self.weights.view(-1)[order, None].to(y.dtype)
        return torch.zeros_like(self.x).index_add_(0, token, y * scale)

    def sorted_blocks(self, size):
        """Slots in the order of experts, each padded with -1 to blocks of `size`; the expert of each block."""
        flat = self.ids.view(-1).cpu()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=self.experts)
        slots, experts, at = [], [], 0
        for expert, count in enumerate(counts.tolist()):
            mine = order[at : at + count]
            at += count
            slots.append(F.pad(mine, (0, -count % size), value=-1))
            experts += [expert] * (-(-count // size))
        return (torch.cat(slots).to(DEVICE, torch.int32), torch.tensor(experts, dtype=torch.int32, device=DEVICE))

    def triton_ms(self):
        slots = self.ids.numel()
        perExpert = slots / self.ids.unique().numel()
        heights = [16] if perExpert <= 10 else [16, 32] if perExpert <= 24 else [32, 64] if perExpert <= 64 else [64, 128]
        h = torch.empty(slots, self.width, dtype=torch.bfloat16, device=DEVICE)
        y = torch.empty(slots, self.hidden, dtype=torch.bfloat16, device=DEVICE)
        out = torch.empty_like(self.x)

        def product(a, b, c, n, k, per_token, gated, tile, blocks):
            bm, bn, bk, warps, stages = tile
            count = blocks[1].numel()
            experts_kernel[(count * -(-n // bn),)](
                a, b, c, *blocks, self.weights, count, n, k, per_token=per_token, gated=gated, even=k % bk == 0, bm=bm,
                bn=bn, bk=bk, together=16, num_warps=warps, num_stages=stages)

        def best(make):
            found = (math.inf, None)
            for height in heights:
                blocks = self.sorted_blocks(height)
                for width, depth, warps, stages in ((64, 64, 4, 4), (128, 64, 8 if height >= 64 else 4, 3), (32, 128, 4, 4)):
                    call = make((height, width, depth, warps, stages), blocks)
                    try:
                        found = min(found, (time_ms(call), call), key=lambda pair: pair[0])
                    except Exception as error:
                        torch.cuda.synchronize()
                        print(f"peer_torch: tile {height} x {width}: {str(error)[:200]}", file=sys.stderr)
            return found[1]

        up = best(lambda tile, blocks: lambda: product(self.x, self.up, h, self.width, self.hidden, self.chosen, True,
                                                       tile, blocks))
        down = best(lambda tile, blocks: lambda: product(h, self.down, y, self.hidden, self.width, 1, False, tile, blocks))

        def layer():
            up()
            down()
            torch.sum(y.view(-1, self.chosen, self.hidden), 1, out=out)

        result = time_ms(layer)
        error = (out.float() - self.grouped().float()).norm() / out.float().norm()
        if not error < 0.02:
            print(f"peer_torch: Triton and grouped_mm differ by {error:.3f}", file=sys.stderr)
            return math.nan
        return result


def attempt(call):
    try:
        return call()
    except Exception as error:
        print(f"peer_torch: {str(error)[:300]}", file=sys.stderr)
        return math.nan


def main():
    if not torch.cuda.is_available():
        sys.exit("peer_torch: torch sees no GPU")
    print("ready torch", torch.__version__, f"Triton {triton.__version__}" if triton else "without Triton", flush=True)
    layer, made = None, None
    for line in sys.stdin:
        request = json.loads(line)
        sizes = (request["hidden"], request["width"], request["experts"], request["chosen"])
        if sizes != made:
            layer, made = None, None
            torch.cuda.empty_cache()
            layer, made = attempt(lambda: Layer(*sizes)), sizes
        times = [math.nan, math.nan]
        if isinstance(layer, Layer):
            attempt(lambda: layer.draw(request["tokens"]))
            times = [attempt(lambda: time_ms(layer.grouped)), attempt(layer.triton_ms) if triton else math.nan]
        print(*(f"{t:.6f}" for t in times), flush=True)


if __name__ == "__main__":
    main()
