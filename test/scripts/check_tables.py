#!/usr/bin/env python3
"""Compares the tables of a README with what commands print.

usage: check_tables.py [--write] README OUTPUT...

A table stands below a line "<!-- printed by: ... -->". Each of its lines has to be one of the outputs', in their order.
With --write a table is replaced by that of the outputs that begins with the same line and comes from the OUTPUT with the
same number as the table's mark ("<!-- printed by 1: ... -->" is that of the first).
"""
import re
import sys


def tables(lines):
    """(first line, line behind the last) of each table."""
    found, start = [], None
    for i, line in enumerate([*lines, ""]):
        if line.startswith("|") and start is None:
            start = i
        elif not line.startswith("|") and start is not None:
            found.append((start, i))
            start = None
    return found


def main():
    arguments = sys.argv[1:]
    write = arguments[0] == "--write"
    readme, *outputs = arguments[1:] if write else arguments
    lines = open(readme).read().split("\n")
    printed = [[text[a:b] for a, b in tables(text)] for text in (open(name).read().split("\n") for name in outputs)]
    wrong, seen, mark, used = 0, 0, None, {}
    result, at = [], 0
    for start, end in tables(lines):
        for line in lines[at:start]:
            if match := re.match(r"<!-- printed by (\d+): .* -->", line):
                mark = int(match.group(1)) - 1
            elif line.startswith("<!-- end -->") or line.startswith("#"):
                mark = None
        result += lines[at:start]
        table, at = lines[start:end], end
        if mark is not None:
            seen += 1
            same = [t for t in printed[mark] if t[0] == table[0]]
            number = used.get((mark, table[0]), 0)
            used[mark, table[0]] = number + 1
            # The tables of models follow each other; a lone one is that of the summary.
            want = same[number] if number < len(same) else None
            if want != table:
                wrong += 1
                if not write:
                    print(f"{readme}:{start + 1}: not what is printed:")
                    for a, b in zip(table, want or []):
                        if a != b:
                            print(f"  here     {a}\n  printed  {b}")
                table = want or table
        result += table
    result += lines[at:]
    if write:
        open(readme, "w").write("\n".join(result))
        return 0
    if not seen:
        print(f"{readme}: no table says what prints it")
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
