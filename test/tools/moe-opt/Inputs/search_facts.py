"""usage: search_facts.py MESSAGES LS EVAL LEAST

Checks what a search has said: of at least LEAST recipes that were measured the one with the least loss is taken, the front
and the reasons that `moe-bank ls` prints are the same, and the result's own --eval is what the ledger says.
"""
import re
import sys

messages, listed, evaluated = (open(path).read() for path in sys.argv[1:4])
row = re.compile(r"^ *([0-9.]+)% +([0-9.]+) +(-|[+-][0-9.]+) ([> ])([* ]) (\S+)$", re.M)
rows = row.findall(messages)
if not rows or rows != row.findall(listed):
    sys.exit("moe-bank ls prints another front")
refused = re.compile(r"^refused: .*\n(?: {9}\S+\n)+", re.M)
if not refused.findall(messages) or refused.findall(messages) != refused.findall(listed):
    sys.exit("moe-bank ls prints other reasons")
losses = {steps: float(loss) for _, _, loss, _, _, steps in rows if loss != "-"}
chosen = [steps for *_, mark, _, steps in rows if mark == ">"]
if len(losses) < int(sys.argv[4]):
    sys.exit(f"only {len(losses)} recipes were measured")
if chosen != re.findall(r"^chosen: (.*)$", messages, re.M) or losses[chosen[0]] != min(losses.values()):
    sys.exit(f"chosen is {chosen}, of {losses}")
ledger = [line.split() for line in messages[messages.index("chosen: "):].splitlines()[2:]]
bits = float(ledger[-1][-2])
if float(ledger[-1][-1]) != losses[chosen[0]] or abs(bits - float(re.search(r"([0-9.]+) bits per byte", evaluated)[1])) > 1e-4:
    sys.exit(f"the ledger says {ledger[-1]}, the result {evaluated}")
