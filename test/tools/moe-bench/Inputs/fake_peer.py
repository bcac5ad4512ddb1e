"""A peer that answers every request with made-up times: fake_peer.py MODEL INPUTS THREADS.

MODEL says how it behaves: "early" ends at the first request, "never" does not get ready.
"""
import json
import sys

model = sys.argv[1]
if model == "never":
    sys.exit(1)
print("ready fake 1.0", flush=True)
for line in sys.stdin:
    if model == "early":
        break
    request = json.loads(line)
    count = request if isinstance(request, int) else request["steps"] + 1
    if not isinstance(request, int):
        print(request["prompt"], request["tokens"], request["caches"][0], file=sys.stderr)
    print(*[1.0] * count, flush=True)
