"""usage: close.py FILE FILE MOST: the numbers that two outputs of --eval print differ by at most that."""
import re
import sys


def numbers(path):
    with open(path) as file:
        return [float(found) for found in re.findall(r"([0-9.]+) bits per byte", file.read())]


first, second = numbers(sys.argv[1]), numbers(sys.argv[2])
assert len(first) == len(second) > 0, (first, second)
for a, b in zip(first, second):
    assert abs(a - b) <= float(sys.argv[3]), f"{a} and {b} differ"
