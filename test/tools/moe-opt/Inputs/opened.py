"""usage: opened.py STRACE_LOG ALLOWED...

Prints what a traced program opened or ran apart from itself, the allowed files (or what lies in allowed folders), the
system's libraries, and what the kernel says about processes, processors and memory (malloc asks before it gives some back).
"""
import os
import re
import sys

SYSTEM = re.compile(r"/etc/ld\.so\.(cache|preload)|(/usr)?/lib(64)?/.*\.so(\.[0-9.]+)?|/proc/(self|[0-9]+)(/.*)?"
                    r"|/proc/cpuinfo|/proc/sys/vm/overcommit_memory|/sys/devices/system/cpu(/.*)?|/dev/null")
CALL = re.compile(r'^(?:\[pid +)?(?:\d+)?\]? *(open|openat|execve|execveat|connect|socket)\((.*)\) += (-?\d+)')

allowed = [os.path.realpath(path) for path in sys.argv[2:]]
others = set()
for line in open(sys.argv[1]):
    call = CALL.match(line)
    if not call or int(call[3]) < 0:
        continue
    names = re.findall(r'"([^"]*)"', call[2])
    name = os.path.realpath(names[0]) if names and call[1] not in ("connect", "socket") else call[0]
    inside = any(name == path or name.startswith(path + "/") for path in allowed)
    if not inside and not SYSTEM.fullmatch(names[0] if names else "") and not SYSTEM.fullmatch(name):
        others.add(f"{call[1]} {name}")
print("\n".join(sorted(others)) if others else "nothing else")
