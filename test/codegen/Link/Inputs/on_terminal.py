"""Runs a command whose stderr is a terminal and prints what the terminal got.

usage: on_terminal.py COMMAND...
"""
import os
import pty
import subprocess
import sys

master, slave = pty.openpty()
process = subprocess.Popen(sys.argv[1:], stderr=slave)
os.close(slave)
text = b""
while True:
    try:
        piece = os.read(master, 4096)
    except OSError:  # the other side is closed
        break
    if not piece:
        break
    text += piece
print(text.decode().replace("\r", "\n").replace("\033[K", ""))
sys.exit(process.wait())
