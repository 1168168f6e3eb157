"""How late the event loop is."""

import asyncio
import time

from server.metrics.catalog import LOOP_LAG

_SECONDS = 0.25


async def watch_loop() -> None:
    """Measure it four times a second, until cancelled."""
    series = LOOP_LAG.find()
    while True:
        due = time.monotonic() + _SECONDS
        await asyncio.sleep(_SECONDS)
        series.observe(max(0.0, time.monotonic() - due))
