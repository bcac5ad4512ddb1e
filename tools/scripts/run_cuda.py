#!/usr/bin/env python3
"""Checks and measures our kernels on this machine's GPU, and writes one Markdown file.

usage: run [--output FILE] [--trial] [--skip STEP]...

It needs an NVIDIA driver and this folder (tools/check --cuda packed it), nothing else; compute-sanitizer, nvidia-smi and
a Python with torch are used where they are. Steps: kernels, model, sanitizer, layers. A step that fails does not end the
others; exit code 1 when one did.
"""
import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
# Bits per byte of a bf16 model on both devices.
MOST_APART = 0.002


class Report:
    def __init__(self, path, cache):
        self.path, self.lines, self.failed = path, [], []
        self.environment = dict(os.environ, XDG_CACHE_HOME=cache)

    def add(self, *lines):
        self.lines += lines

    def fail(self, step, why):
        self.failed.append(step)
        self.add("", f"**{step}: {why}**")

    def run(self, command, seconds):
        """(exit code, output, errors); the code is None where it was not done in time."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=self.environment)
            return done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as expired:
            text = [part.decode(errors="replace") if isinstance(part, bytes) else part or ""
                    for part in (expired.stdout, expired.stderr)]
            return None, *text

    def step(self, name, command, seconds):
        """Runs a program whose output is Markdown."""
        code, out, errors = self.run(command, seconds)
        self.add("", out.rstrip("\n"))
        if code != 0:
            self.fail(name, f"not done after {seconds} s" if code is None else f"exit code {code}")
        if errors.strip():
            self.add("", "```", *errors.rstrip("\n").split("\n")[-30:], "```")
        return code == 0

    def write(self):
        temporary = self.path + ".tmp"
        with open(temporary, "w") as file:
            file.write("\n".join(self.lines).rstrip("\n") + "\n")
        os.replace(temporary, self.path)


def unpack(path, folder):
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    except tarfile.ReadError:  # a Python without lzma
        subprocess.run(["tar", "-C", folder, "-xJf", path], check=True)


def program(name):
    return os.path.join(HERE, "bin", name)


def machine(report):
    """What runs here; the first GPU as our own programs see it."""
    with open(os.path.join(HERE, "commit")) as file:
        commit = file.read().strip()
    report.add(f"- {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, commit {commit}",
               f"- {platform.platform()}, {os.cpu_count()} processors")
    fields = "name,driver_version,clocks.max.sm,clocks.sm,power.limit,memory.total"
    if shutil.which("nvidia-smi"):
        _, out, _ = report.run(["nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader"], 30)
        report.add(f"- nvidia-smi ({fields}): {out.strip()}")


def kernels(report, options):
    for arch in ("sm_90a", "sm_80"):
        if arch == "sm_90a" and options.major != 9:
            continue
        report.step(f"kernels of {arch}", [program("moe-cuda-check"), options.cases, "--arch", arch],
                    options.seconds)


def model(report, options):
    report.add("", "| model | text | bits per byte, CPU | GPU | apart |", "| --- | --- | --- | --- | --- |")
    texts = os.path.join(options.models, "eval")
    wrong = 0
    for arch in ("sm_80", "sm_90a"):
        if arch == "sm_90a" and options.major != 9:
            continue
        for name in sorted(os.listdir(texts))[: 1 if options.trial else None]:
            path = os.path.join(texts, name)
            if options.trial:
                with open(path, "rb") as file, open(os.path.join(options.temporary, name), "wb") as short:
                    short.write(file.read(300))
                    path = short.name
            bits = []
            for device in ("cpu", "cuda"):
                code, out, errors = report.run([os.path.join(options.models, "bytelm-" + arch), "--eval", path, "--device",
                                                device], options.seconds)
                found = re.search(r"([0-9.]+) bits per byte", out)
                if code != 0 or not found:
                    wrong += 1
                    report.add(f"| bytelm, {arch} | {name} | {device} failed: {errors.strip()[-200:]} | | |")
                    break
                bits.append(float(found.group(1)))
            if len(bits) == 2:
                apart = abs(bits[0] - bits[1])
                wrong += not apart <= MOST_APART
                report.add(f"| bytelm, {arch} | {name} | {bits[0]:.4f} | {bits[1]:.4f} | {apart:.4f}"
                           f"{'' if apart <= MOST_APART else ' **too far**'} |")
    if wrong:
        report.fail("model", f"{wrong} texts are wrong; {MOST_APART} apart is allowed")


def sanitizer(report, options):
    found = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if not found:
        report.add("", "compute-sanitizer is not installed here.")
        return
    for tool in ("memcheck", "racecheck", "synccheck"):
        code, out, errors = report.run([found, "--tool", tool, "--target-processes", "all", "--error-exitcode", "9",
                                        program("moe-cuda-check"), options.cases, "--every", "7"],
                                       options.seconds)
        summary = [line for line in (out + errors).split("\n") if "SUMMARY" in line]
        report.add("", f"{tool}, every seventh case: " + ("; ".join(sorted(set(summary))) or "no summary"))
        if code != 0:
            report.fail(f"sanitizer ({tool})", f"exit code {code}")
            report.add("", "```", *(out + errors).split("\n")[-30:], "```")


def layers(report, options):
    command = [program("moe-bench"), "--device", "cuda", "--kernels", os.path.join(HERE, "kernels"), "-v"]
    if options.trial:
        report.step("layers", [*command, "--layer", "64x32x4x2", "--tokens", "1,40", "--rounds", "1"], options.seconds)
        return
    has_torch = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode == 0
    peer = ["--peer", program("peer_torch.py"), "--python", sys.executable] if has_torch else []
    report.step("layers", [*command, *peer], 4 * options.seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="result.md", help="the file that is written (result.md)")
    parser.add_argument("--trial", action="store_true", help="little of everything, as for an emulated driver")
    parser.add_argument("--skip", action="append", default=[], choices=["kernels", "model", "sanitizer", "layers"])
    parser.add_argument("--seconds", type=int, default=600, help="most time of a program (600); layers have four times that")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as options.temporary:
        report = Report(options.output, options.temporary)
        code, out, errors = report.run([program("moe-cuda-check"), "--device"], 120)
        if code != 0:
            print(errors.strip() or "moe-cuda-check failed", file=sys.stderr)
            return 1
        device = out.strip()
        options.major = int(re.search(r"compute capability (\d+)", device).group(1))
        unpack(os.path.join(HERE, "data.tar.xz"), options.temporary)
        options.models = os.path.join(options.temporary, "models")
        options.cases = os.path.join(options.temporary, "cases")
        report.add("# Trial on an emulated GPU: nothing here was measured" if "emulated" in device
                   else "# Measured on a GPU", "", f"- {device}")
        machine(report)
        for step in (kernels, model, sanitizer, layers):
            if step.__name__ in options.skip:
                continue
            print(f"{step.__name__} ...", flush=True)
            report.add("", f"## {step.__name__.capitalize()}")
            start = time.time()
            step(report, options)
            report.add("", f"({time.time() - start:.0f} s)")
            report.write()
        report.add("", "Failed: " + ", ".join(report.failed) if report.failed else "All steps passed.")
        report.write()
    print(f"{options.output}: " + ("failed: " + ", ".join(report.failed) if report.failed else "all steps passed"))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
