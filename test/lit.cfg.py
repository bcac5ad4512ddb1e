import glob
import os
import subprocess

import lit.formats

config.name = "moe-opt"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".onnxtext"]
config.excludes = ["Inputs", "zoo", "bytelm", "unit"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.moe_build_dir, "test")
config.environment["PATH"] = os.path.pathsep.join(
    [os.path.join(config.moe_build_dir, "bin"), config.llvm_tools_dir,
     config.environment.get("PATH", "")])
config.substitutions.append(("%python", config.python))
config.substitutions.append(("%cc", config.c_compiler))
config.substitutions.append(("%build", config.moe_build_dir))
config.substitutions.append(("%source", config.moe_source_dir))
config.substitutions.append(("%fakes", os.path.join(config.moe_build_dir, "unit")))
config.substitutions.append(("%models", os.path.join(config.test_source_root, "models")))

# What compiled models are without, and cannot load.
if config.moe_sanitize:
    config.available_features.add("sanitized")

# Tests that watch or disturb system calls need leave to trace.
if subprocess.run(["sh", "-c", "strace -f true"], capture_output=True).returncode == 0:
    config.available_features.add("strace")

# tools/check makes this environment; tests that need its packages say so.
environment = os.path.join(config.moe_source_dir, ".venv", "bin", "python")
if os.path.exists(environment):
    config.substitutions[:] = [(key, environment if key == "%python" else value)
                               for key, value in config.substitutions]
    config.python = environment
if subprocess.run([config.python, "-c", "import numpy, onnx"], capture_output=True).returncode == 0:
    config.available_features.add("python-onnx")

# NVIDIA's assembler, from a package in that environment.
for assembler in glob.glob(os.path.join(config.moe_source_dir, ".venv/lib/python*/site-packages/nvidia/*/bin/ptxas")):
    config.available_features.add("ptxas")
    config.substitutions.append(("%ptxas", assembler))
    break
