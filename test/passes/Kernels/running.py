"""What the checks of this folder share: their command line, and how they run our programs."""
import argparse
import pathlib
import subprocess


def arguments() -> argparse.ArgumentParser:
    """MOE_OPT MOE_RUN WORK_DIR [--target T] [--device D] [--threads N] [only...]"""
    parser = argparse.ArgumentParser()
    parser.add_argument("moe_opt")
    parser.add_argument("moe_run")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--target", default="cpu:native")
    parser.add_argument("--device", default="cpu", help="what runs it; others than the processor are slow, so they do less")
    parser.add_argument("--threads", default="2")
    parser.add_argument("only", nargs="*")
    return parser


def kernel_arguments(level: str) -> argparse.ArgumentParser:
    """The same for checks of kernels against numpy; `level` is that of optimisation."""
    parser = arguments()
    parser.add_argument("--road", default="fast")
    parser.add_argument("--level", default=level, help="of optimisation")
    parser.add_argument("--split-vectors", action="store_true",
                        help="test kernels for 512-bit vectors on processors with 256 bits")
    parser.add_argument("--tolerance", type=float, default=5e-6)
    return parser


def call(*command) -> str:
    """Runs a program; what it says where it fails, else nothing. A layer that was to run on a device and does not is a failure."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return done.stderr.strip()[:2000] if done.returncode or "stay on the processor" in done.stderr else ""
