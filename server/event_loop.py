"""The event loop of a server process, and the interpreter settings that suit it."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

# In seconds. The copier's thread needs the interpreter's lock after each exchange with the database. With the default
# of 5 ms, the commit of a large batch took a quarter longer.
_SWITCH_INTERVAL = 0.0005

# How many new objects start a garbage collection. A batch makes many objects that live briefly and form no cycles. With
# the default of 700, looking at them again and again took a fifth of its time.
_GC_THRESHOLD = 50_000


def make_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop for a server."""
    return uvloop.new_event_loop()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end on such a loop."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(_GC_THRESHOLD)
    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        runner.run(main)
