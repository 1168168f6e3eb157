"""Gives memory back to the system, which the C library would keep for itself.

After a flood of large requests, glibc keeps the pages that it has freed wherever a small block above them is in use.
"""

import asyncio
import ctypes
import resource
from pathlib import Path

# Looking costs 20 µs. Giving back costs a few milliseconds for each 100 MiB, in a thread.
_SECONDS = 2.0

# A worker takes 70 MiB when it starts, and 80 under load.
_BYTES = 96 << 20


async def release_memory() -> None:
    """Give back what is free, for as long as the process takes much. Return at once where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return
    while True:
        await asyncio.sleep(_SECONDS)
        if _read_resident_bytes() > _BYTES:
            await asyncio.to_thread(trim, 0)


def _read_resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
