"""usage: make_rows.py T0,T1,... H: x0.npz, x1.npz, ... with random rows x [T, H]."""
import sys

import numpy

random = numpy.random.default_rng(3)
for i, rows in enumerate(map(int, sys.argv[1].split(","))):
    numpy.savez(f"x{i}.npz", x=random.standard_normal((rows, int(sys.argv[2]))).astype("f4"))
