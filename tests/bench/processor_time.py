"""The processor time of processes, from /proc."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

# Fields of /proc/PID/stat, counted from the one after the name: utime, stime, and those of children that have ended.
_TIMES = slice(11, 15)

Parts = Mapping[str, Iterable[int]]
"""The processes of one side of a comparison: for the name of each part, the PIDs of its processes."""


def read_parts(parts: Parts) -> dict[str, float]:
    """Return the seconds that each part has used so far, over all threads, with the children of its processes."""
    return {part: sum(read_seconds(pid) for root in roots for pid in find_tree(root)) for part, roots in parts.items()}


def read_seconds(pid: int) -> float:
    """Return the seconds that a process has used, with those of its children that have ended, or 0 if it has ended."""
    try:
        # The name may contain spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[_TIMES])) / _TICKS_A_SECOND


def find_tree(pid: int) -> Iterator[int]:
    """Yield a PID and those of all descendants that run."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:
            continue  # The thread has ended.
        for child in pids:
            yield from find_tree(int(child))
