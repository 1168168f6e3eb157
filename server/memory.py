"""Keeps the C library from holding on to memory.

glibc takes small and large blocks from the same pages, and keeps those that it has freed wherever a small block above
them is in use: after a flood of large requests, hundreds of MiB.
"""

import asyncio
import contextlib
import ctypes
import resource
from collections.abc import Iterator
from pathlib import Path

# Looking costs 20 µs. Giving back costs a few milliseconds for each 100 MiB, in a thread.
_SECONDS = 2.0

# A worker takes 70 MiB when it starts, and 80 under load.
_BYTES = 96 << 20


# Parameters of mallopt, and their values: blocks of this size on have pages of their own, and threads share two heaps.
_MMAP_THRESHOLD, _LARGE_BYTES = -3, 32 << 10
_ARENA_MAX, _ARENAS = -8, 2

# How much may be free at the end of a heap before it is given back. The first is the default.
_TRIM_THRESHOLD, _FREE_BYTES, _MORE_FREE_BYTES = -1, 128 << 10, 64 << 20
_LARGER_BYTES = 32 << 20

_reusing = 0


async def release_memory() -> None:
    """Give back what is free, for as long as the process takes much. Return at once where the C library cannot."""
    library = ctypes.CDLL(None)
    trim, set_parameter = getattr(library, "malloc_trim", None), getattr(library, "mallopt", None)
    if trim is None or set_parameter is None:
        return
    _set_thresholds()
    set_parameter(_ARENA_MAX, _ARENAS)
    while True:
        await asyncio.sleep(_SECONDS)
        if read_resident_bytes() > _BYTES:
            await asyncio.to_thread(trim, 0)


@contextlib.contextmanager
def reused_memory() -> Iterator[None]:
    """Have large blocks reused until the block ends, rather than given back and taken again, which costs a third more.

    It is for work in other threads that needs many of them, one after the other.
    """
    global _reusing
    _reusing += 1
    _set_thresholds()
    try:
        yield
    finally:
        _reusing -= 1
        _set_thresholds()


def _set_thresholds() -> None:
    set_parameter = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_parameter is not None:
        set_parameter(_MMAP_THRESHOLD, _LARGER_BYTES if _reusing else _LARGE_BYTES)
        set_parameter(_TRIM_THRESHOLD, _MORE_FREE_BYTES if _reusing else _FREE_BYTES)


def read_resident_bytes() -> int:
    """Return how much memory the process takes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
