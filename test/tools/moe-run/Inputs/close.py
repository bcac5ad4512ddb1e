"""usage: close.py FILE FILE MOST: the numbers that two outputs of --eval print, or the root of the mean square of the
difference of two files of outputs (.npz), differ by at most that."""
import re
import sys


def numbers(path):
    with open(path) as file:
        return [float(found) for found in re.findall(r"([0-9.]+) bits per byte", file.read())]


def spread(first, second):
    import numpy
    a, b = numpy.load(first), numpy.load(second)
    assert a.files == b.files, (a.files, b.files)
    return [float(numpy.sqrt(numpy.mean((a[name] - b[name]) ** 2))) for name in a.files]


most = float(sys.argv[3])
if sys.argv[1].endswith(".npz"):
    for difference in spread(sys.argv[1], sys.argv[2]):
        assert difference <= most, f"they differ by {difference}"
    sys.exit()
first, second = numbers(sys.argv[1]), numbers(sys.argv[2])
assert len(first) == len(second) > 0, (first, second)
for a, b in zip(first, second):
    assert abs(a - b) <= most, f"{a} and {b} differ"
