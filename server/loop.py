"""The event loop that a server process runs on."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import uvloop


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop for a server."""
    return uvloop.new_event_loop()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` on such a loop until it returns."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)
