"""usage: interrupt.py COMMAND...: interrupts COMMAND once it has printed, expects exit code 130."""
import signal
import subprocess
import sys

# Shells start background jobs with the signal ignored, which is inherited.
process = subprocess.Popen(
    sys.argv[1:], stdout=subprocess.PIPE,
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
process.stdout.read(1)
process.send_signal(signal.SIGINT)
try:
    sys.exit(process.wait(timeout=60) != 130)
except subprocess.TimeoutExpired:
    process.kill()
    sys.exit("still running after the interrupt")
