"""usage: file_limit.py FOLDER KILOBYTES... -- COMMAND...

Runs COMMAND under limits on the size of files that it may write. Each time it must exit with 1, with one message that
names FOLDER/out..., and leave FOLDER as it was.
"""
import pathlib
import resource
import subprocess
import sys


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main():
    at = sys.argv.index("--")
    folder, command = pathlib.Path(sys.argv[1]), sys.argv[at + 1:]
    before = contents(folder)
    for size in map(int, sys.argv[2:at]):
        limit = (size * 1024, size * 1024)
        run = subprocess.run(command, stderr=subprocess.PIPE, text=True,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
        if run.returncode != 1 or run.stderr.count("error:") != 1 or str(folder / "out") not in run.stderr:
            sys.exit(f"{size} KB: exit code {run.returncode}: {run.stderr}")
        if contents(folder) != before:
            sys.exit(f"{size} KB: now there are {sorted(map(str, contents(folder)))}")


main()
