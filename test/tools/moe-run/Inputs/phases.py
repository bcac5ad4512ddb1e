"""usage: phases.py TRACE.json: names of phases, in order and each once; events begin and end within those around them."""
import json
import sys

with open(sys.argv[1]) as file:
    events = json.load(file)["traceEvents"]
names = []
for event in events:
    assert event["dur"] >= 0, event
    if event["name"] not in names:
        names.append(event["name"])
# Inner phases end first.
spans = [(event["ts"], event["ts"] + event["dur"]) for event in events]
for i, (begin, end) in enumerate(spans):
    for other, last in spans[i + 1:i + 8]:
        # Rounded to a nanosecond.
        assert other >= end - 0.002 or other <= begin + 0.002, (begin, end, other, last)
print("\n".join(names))
