"""What the supervisor shows: its own log lines and its children's, on standard error."""

import os
import re
import select
import sys

# A pipe that polls as writable takes this much (PIPE_BUF) without blocking: no line may be longer.
_LINE_BYTES = 4096
# A child's control characters could move the cursor or change the colours of the terminal. Tabs are harmless.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def log(name: str, text: str) -> None:
    """Write one line, `name     | text`, to standard error.

    A line that nobody reads is dropped, whether the reader is gone or only slow: a log must not stop the supervisor.
    """
    line = f"{name:<8} | {_CONTROL.sub('?', text)}".encode(errors="replace")
    _write(sys.stderr.fileno(), line[: _LINE_BYTES - 1] + b"\n")


def show(text: str) -> None:
    """Write `text`, which may have several lines, to standard output."""
    for line in text.splitlines():
        _write(sys.stdout.fileno(), f"{line}\n".encode(errors="replace"))


def _write(descriptor: int, line: bytes) -> None:
    try:
        if select.select([], [descriptor], [], 0)[1]:
            os.write(descriptor, line)
    except OSError:
        pass  # The terminal or the reader of the pipe is gone.
