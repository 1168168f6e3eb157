"""The stack's console: log lines of the supervisor and its child processes, and the banner."""

import os
import re
import select
import sys

# The kernel's PIPE_BUF: once a pipe polls as writable, a write of up to this size does not block.
_MAX_LINE_BYTES = 4096
# A child's control characters could move the terminal's cursor or change its colours. Tabs are harmless.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def log(name: str, text: str) -> None:
    """Write one line, `name     | text`, to standard error.

    The line is dropped if the reader is gone or too slow, because logging must never block the supervisor.
    """
    line = f"{name:<8} | {_CONTROL_CHARACTERS.sub('?', text)}".encode(errors="replace")
    _write(sys.stderr.fileno(), line[: _MAX_LINE_BYTES - 1] + b"\n")


def show(text: str) -> None:
    """Write `text`, which may have several lines, to standard output."""
    for line in text.splitlines():
        _write(sys.stdout.fileno(), f"{line}\n".encode(errors="replace"))


def _write(descriptor: int, line: bytes) -> None:
    try:
        if select.select([], [descriptor], [], 0)[1]:
            os.write(descriptor, line)
    except OSError:
        pass  # The terminal is closed, or nobody reads the pipe.
