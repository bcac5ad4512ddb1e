"""usage: disturb.py FOLDER NAME FAULT CODE SYSCALL... -- COMMAND...

Runs COMMAND -o FOLDER/NAME once per system call, with strace's FAULT (signal=SIGINT, error=ENOSPC) in its first use,
then in its second use and so on while it has more. Each time the exit code must be CODE, the folder be what it was, and
a message about an error name FOLDER/out... A system call that is never used is an error: then nothing was tested.
"""
import pathlib
import subprocess
import sys


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def main():
    at = sys.argv.index("--")
    folder, name, fault, code, *calls = sys.argv[1:at]
    folder, code, command = pathlib.Path(folder), int(code), sys.argv[at + 1:]
    before = contents(folder)
    for call in calls:
        for when in range(1, 4):
            run = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                                  f"inject={call}:{fault}:when={when}", *command, "-o", str(folder / name)],
                                 stderr=subprocess.PIPE, text=True)
            if run.returncode == 0 and when > 1:
                for path in sorted(contents(folder).keys() - before.keys(), reverse=True):
                    (folder / path).rmdir() if (folder / path).is_dir() else (folder / path).unlink()
                for path, data in before.items():
                    if data is not None:
                        (folder / path).write_bytes(data)
                break
            what = f"{fault} in {call} number {when}"
            if run.returncode != code:
                sys.exit(f"{what}: exit code {run.returncode}: {run.stderr}")
            if contents(folder) != before:
                sys.exit(f"{what}: now there are {sorted(map(str, contents(folder)))}")
            if fault.startswith("error") and (run.stderr.count("error:") != 1 or str(folder / "out") not in run.stderr):
                sys.exit(f"{what}: said: {run.stderr}")


main()
