#!/usr/bin/env python3
"""usage: compress_rate.py MOE_OPT MODEL.onnx WORK [--compress STEPS] [--output NAME] [--rounds N]

How fast moe-opt compresses a model, next to reading and writing as many bytes: both start with the weights out of the page
cache, in turn, and end when what they wrote is on the disk. Prints each round and the medians. WORK is a folder on the disk
to be measured; what is made there is removed. For the model of 4 GB see make_large.py.
"""
import argparse
import os
import resource
import statistics
import subprocess
import time

PIECE = 4 << 20


def drop(path):
    """Takes a file out of the page cache."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def sync(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def copy(sources, target, count):
    """Reads the sources whole and writes `count` bytes."""
    begin = time.monotonic()
    buffer = bytearray(PIECE)
    for source in sources:
        with open(source, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    with open(target, "wb", buffering=0) as file:
        while count > 0:
            count -= file.write(memoryview(buffer)[:min(count, PIECE)])
        os.fsync(file.fileno())
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe_opt")
    parser.add_argument("model")
    parser.add_argument("work")
    parser.add_argument("--compress", default="prune-experts{magnitude ratio=50%},quantize{int4}")
    parser.add_argument("--output", default="small", help="its suffix says what is made (small: an executable)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    sources = [path for path in (args.model, args.model + ".data") if os.path.exists(path)]
    output = os.path.join(args.work, args.output)
    outputs = [output, output + ".data"]
    copied = os.path.join(args.work, "copied")
    read = sum(map(os.path.getsize, sources))
    compressing, copying = [], []
    try:
        for _ in range(args.rounds):
            for path in sources:
                drop(path)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begin = time.monotonic()
            subprocess.run([args.moe_opt, args.model, "--compress", args.compress, "-o", output],
                           check=True, stderr=subprocess.DEVNULL)
            made = [path for path in outputs if os.path.exists(path)]
            for path in made:
                sync(path)
            compressing.append(time.monotonic() - begin)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            written = sum(map(os.path.getsize, made))
            for path in made:
                os.remove(path)
            for path in sources:
                drop(path)
            copying.append(copy(sources, copied, written))
            os.remove(copied)
            print(f"compress {compressing[-1]:.1f} s "
                  f"({after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime:.1f} s of processors, "
                  f"{after.ru_maxrss * 1024 / 1e9:.2f} GB), read and write {copying[-1]:.1f} s", flush=True)
    finally:
        for path in outputs + [copied]:
            if os.path.exists(path):
                os.remove(path)
    ours, plain = statistics.median(compressing), statistics.median(copying)
    bytes_moved = (read + written) / 1e9
    print(f"{read / 1e9:.2f} GB read, {written / 1e9:.2f} GB written: compressing {bytes_moved / ours:.2f} GB/s, "
          f"reading and writing {bytes_moved / plain:.2f} GB/s, ratio {100 * plain / ours:.0f} %")


if __name__ == "__main__":
    main()
