"""What a server process runs on: its event loop, and the interpreter's settings for it."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop for a server."""
    return uvloop.new_event_loop()


# In seconds. The writer's thread wants Python's lock back after each word with the database; with the default of 5 ms a
# commit of many events took a quarter longer.
_SWITCH_INTERVAL = 0.0005

# New objects until the collector looks at them. Those of a batch are many, live shortly and are in no cycle: with the
# default of 700 to look at them again and again took a fifth of its time.
_GC_THRESHOLD = 50_000


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` on such a loop until it returns."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(_GC_THRESHOLD)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
