#!/usr/bin/env python3
"""Prints what recipes of compression cost the byte-level model: a Markdown table.

usage: compress_table.py BIN_DIR MODEL_DIR WORK_DIR [RECIPE...]

Profiles MODEL_DIR/model.onnx on MODEL_DIR/calib, compresses it with each recipe (the ones of the README where none is
given), and runs the executables on MODEL_DIR/eval.
"""
import pathlib
import re
import subprocess
import sys
import time

# Errors weighed by roots of mean squares.
ROOTS = "weighted=true,power=0.5"
RECIPES = [
    "quantize{int8}", "quantize{int4}", "quantize{int4,mode=aware}", "quantize{int4,mode=gptq}", "quantize{nf4,mode=aware}",
    "quantize{nf4,mode=gptq}", "quantize{mxfp4}", "quantize{mxfp4,mode=aware}", "quantize{mxfp4,mode=gptq}",
    *(f"prune-experts{{keep={keep},{score}}}" for keep in (12, 8)
      for score in ("frequency", "probability", "saliency", "reconstruction", "magnitude")),
    "merge-experts{keep=8}", "merge-experts{keep=8,budget=global}", "merge-experts{dek,keep=8}",
    "narrow-experts{50%}", "narrow-experts{50%,budget=layer}", "factorize-experts{ratio=50%}",
    "factorize-experts{ratio=50%,weighted=true}", f"factorize-experts{{ratio=50%,{ROOTS}}}",
    "factorize-experts{ratio=50%,joint=false}", "factorize-experts{ratio=50%,rows-kept=0.1}",
    "skip-experts{share=0.3}", "skip-experts{share=0.5}", "skip-experts{t1=0.6,t2=0.9}",
    "quantize{int8},skip-experts{t1=0.6,t2=0.9}",
    "narrow-experts{25%,budget=layer,multiple=32},quantize{mxfp4,mode=gptq}",
    # A tenth of the bytes that experts have in the file (bf16): 5 % of f32.
    f"factorize-experts{{ratio=38%,multiple=4,{ROOTS}}},quantize{{nf4,block=0}}",
    f"factorize-experts{{ratio=38%,multiple=4,{ROOTS}}},quantize{{int4,block=0}}",
    "narrow-experts{62.5%},quantize{nf4,block=0,mode=gptq}",
    "prune-experts{keep=6,probability},quantize{nf4,block=0,mode=gptq}",
    "merge-experts{keep=6},quantize{nf4,block=0,mode=gptq}",
]


def run(*command):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{command[0]} failed: {result.stderr}")
    return result


def evaluate(program, texts):
    out = run(program, *(flag for text in texts for flag in ("--eval", text))).stdout
    speeds = [float(s) for s in re.findall(r"(\d+) tokens/s", out)]
    return float(re.findall(r"mean +([\d.]+) bits", out)[0]), sum(speeds) / len(speeds)


def main():
    binaries, models, work = map(pathlib.Path, sys.argv[1:4])
    recipes = sys.argv[4:] or RECIPES
    work.mkdir(parents=True, exist_ok=True)
    model, profile = models / "model.onnx", work / "calib.moeprof"
    texts, calib = sorted((models / "eval").glob("*.txt")), sorted((models / "calib").glob("*.txt"))
    profile.unlink(missing_ok=True)
    run(binaries / "moe-opt", model, "--instrument=gram", "-o", work / "probe")
    run(work / "probe", "--profile", profile, *(flag for text in calib for flag in ("--eval", text)))
    run(binaries / "moe-opt", model, "-o", work / "original")
    base, speed = evaluate(work / "original", texts)
    size = (work / "original").stat().st_size
    print(f"original: {base:.4f} bits per byte, {size / 1e6:.2f} MB, {speed:.0f} tokens/s")
    print("| recipe | experts, % of f32 | MFLOP per token in experts | executable, MB | bits per byte | loss | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for recipe in recipes:
        start = time.time()
        ledger = run(binaries / "moe-opt", model, "--profile", profile, f"--compress={recipe}",
                     "-o", work / "small").stderr.splitlines()
        seconds = time.time() - start
        rows = [line[line.rfind("}") + 1:].replace("original", "").split() for line in ledger[1:]]
        first, last = rows[0], rows[-1]  # params, bytes, experts, %, active, read, FLOPs
        params = (float(first[2]) / 2) * 1e6  # the file holds them as bf16
        bits, _ = evaluate(work / "small", texts)
        print(f"| `{recipe}` | {100 * float(last[2]) * 1e6 / (4 * params):.2f} | {last[6]} "
              f"| {(work / 'small').stat().st_size / 1e6:.2f} | {bits:.4f} | {bits - base:+.4f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
