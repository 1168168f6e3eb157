"""Replaces itself with another program: `python -I -S launch.py PARENT SIGNAL PROGRAM ARGUMENT…`.

The kernel will send the program SIGNAL when the process PARENT dies. These steps belong between fork and exec, but run
here, in a process of their own: Python code that runs in a fork of the supervisor, which has several threads, crashes
now and then.
"""

import ctypes
import os
import signal as signals
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, *program: str) -> None:
    """Run `program` in place of this process. Returns only by raising OSError."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:  # The parent died before the kernel was asked to report its death.
        sys.exit(1)
    # The supervisor blocked SIGINT, which would be a traceback while this is Python. A pending one is delivered now.
    signals.signal(signals.SIGINT, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_UNBLOCK, {signals.SIGINT})
    os.execv(program[0], program)  # noqa: S606 - the supervisor chose the program, and no shell is involved


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    except OSError as error:
        sys.exit(f"{sys.argv[3]} cannot be started: {error.strerror}")
