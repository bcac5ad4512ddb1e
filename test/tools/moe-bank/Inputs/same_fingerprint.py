"""usage: same_fingerprint.py MODEL PROFILE: 0 where the profile is of the compiled model."""
import subprocess
import sys


def fingerprint(path):
    words = subprocess.run(["moe-bank", "ls", path], check=True, capture_output=True, text=True).stdout.split()
    return words[words.index("fingerprint") + 1].rstrip(",")


sys.exit(fingerprint(sys.argv[1]) != fingerprint(sys.argv[2]))
