"""The thread in which batches are copied, so that a commit does not block the event loop."""

import asyncio
import threading
import time
from queue import SimpleQueue

from storage.copier import Copier
from storage.errors import DatabaseUnavailable
from storage.event import Outcome
from storage.rows import Row

_Batch = tuple[list[Row], float, "asyncio.Future[list[Outcome]]"]


class CopyThread:
    """A thread that writes batches one after another. Its methods belong to one event loop."""

    def __init__(self, url: str) -> None:
        self._copier = Copier(url)
        self._loop = asyncio.get_running_loop()
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._pending: dict[asyncio.Future[list[Outcome]], int] = {}
        self._closed = self._loop.create_future()
        # A daemon, so that a database that hangs cannot keep the process from ending.
        threading.Thread(target=self._run, name="copier", daemon=True).start()

    def write(self, rows: list[Row]) -> "asyncio.Future[list[Outcome]]":
        """Hand the rows to the thread and return a future of their outcomes."""
        outcomes: asyncio.Future[list[Outcome]] = self._loop.create_future()
        self._pending[outcomes] = len(rows)
        outcomes.add_done_callback(self._pending.__delitem__)
        self._batches.put((rows, time.monotonic(), outcomes))
        return outcomes

    def abandon(self, fault: type[DatabaseUnavailable]) -> None:
        """Report `fault` for everything handed over, without waiting for a commit that hangs."""
        for outcomes, count in list(self._pending.items()):
            if not outcomes.done():
                outcomes.set_result([fault() for _ in range(count)])

    async def close(self) -> None:
        """Write everything handed over, then close the connection and end the thread."""
        self._batches.put(None)
        await self._closed

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            rows, handed_over, outcomes = batch
            if not outcomes.done():  # Else it was abandoned, and its callers may have retried by now.
                self._loop.call_soon_threadsafe(_set_result, outcomes, self._copier.write(rows, handed_over))
        self._copier.close()
        self._loop.call_soon_threadsafe(_set_result, self._closed, None)


def _set_result(future: "asyncio.Future[list[Outcome]] | asyncio.Future[None]", result: list[Outcome] | None) -> None:
    if not future.done():
        future.set_result(result)  # type: ignore[arg-type] # each future is given its own type of result
