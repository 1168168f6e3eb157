"""What reads in storage, on an event loop of a test's own."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from server.event_loop import make_event_loop


class Closable(Protocol):
    """What is closed at the end."""

    async def close(self) -> None:
        """Close it."""


T = TypeVar("T", bound=Closable)


def run_with(make: Callable[[], T], run: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Make something, run a coroutine with it, and close it.

    Args:
        make: makes it. Called on the event loop.
        run: what is done with it.
    """

    async def use_and_close() -> None:
        made = make()
        try:
            await run(made)
        finally:
            await made.close()

    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        runner.run(use_and_close())
