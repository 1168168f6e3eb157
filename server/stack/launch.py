"""Becomes another program: `python -I -S launch.py PARENT SIGNAL USER GROUP PROGRAM ARGUMENT…`.

The kernel is told to send it SIGNAL when PARENT dies, and it takes on USER and GROUP (numbers, -1 for its own). What a
child has to do between its fork and its program is done here, in a process of its own: to run Python code in a fork of
the supervisor, which has other threads, crashes now and then.
"""

import ctypes
import os
import signal as signals
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, user: int, group: int, *program: str) -> None:
    """Does not return, unless by an OSError."""
    if user >= 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    # After the change of user, which would undo it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:  # It died before we could ask to be told.
        sys.exit(1)
    # The supervisor blocked it: as long as this is Python, it would be a traceback. What came meanwhile arrives now.
    signals.signal(signals.SIGINT, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_UNBLOCK, {signals.SIGINT})
    os.execv(program[0], program)  # noqa: S606 - by the supervisor's own list, and without a shell


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:5]), *sys.argv[5:])  # type: ignore[arg-type]  # four numbers, then texts
    except OSError as error:
        sys.exit(f"{sys.argv[5]} cannot be started: {error.strerror}")
