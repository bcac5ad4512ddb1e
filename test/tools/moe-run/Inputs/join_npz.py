"""usage: join_npz.py INPUTS OUTPUTS OUT: the inputs, and the only output as y."""
import sys

import numpy

(output,) = numpy.load(sys.argv[2]).values()
numpy.savez(sys.argv[3], y=output, **numpy.load(sys.argv[1]))
