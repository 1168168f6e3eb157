"""Reads C-core's completion queue on the event loop, and in a thread only while there is nothing to read.

The stock `grpc.aio` has a thread that waits for each event and wakes the event loop for it. Here the event loop takes
the events itself, without waiting, until there is none. Then the thread waits for the next one and hands it over, and
with it the turn to read.
"""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any

from server.transport.core import QUEUE_SHUTDOWN, QUEUE_TIMEOUT

log = logging.getLogger(__name__)

# How many events the event loop takes in one turn. With 256 a timer was up to 38 ms late, with 16 to 32 up to 5, and
# the rate was the same.
_EVENTS_PER_TURN = 32


class QueueReader:
    """The reader of one completion queue. Its tags are functions: each is called with its event, on the event loop."""

    def __init__(self, queue: Any, on_lost: Callable[[], None]) -> None:
        """Create a reader that does not read yet, for the running event loop.

        Args:
            queue: C-core's completion queue.
            on_lost: called after an event that could not be read, because memory ran out or a signal handler raised.
        """
        self._queue = queue
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        # Empty, so that calls do not see the context variables of the code that starts the server.
        self._variables = contextvars.Context()
        self._shut_down = self._loop.create_future()
        self._closing = False
        # Held while the event loop has the turn to read.
        self._turn = threading.Lock()
        self._turn.acquire()
        self._thread = threading.Thread(target=self._wait, name="completion-queue", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()
        self._turn.release()

    async def close(self) -> None:
        """Shut the queue down, read what is left in it, and end the thread."""
        self._queue.shutdown()
        await self._shut_down
        self._closing = True
        self._turn.release()
        self._thread.join()

    def _wait(self) -> None:
        """Wait for an event whenever it is the thread's turn. Runs in the thread."""
        while True:
            self._turn.acquire()
            if self._closing:
                return
            try:
                event = self._queue.poll()
            except Exception as error:  # noqa: BLE001 - handled on the event loop
                event = error
            try:
                self._loop.call_soon_threadsafe(self._take_over, event, context=self._variables)
            except RuntimeError:  # The loop was closed without a stop.
                return
            del event  # Otherwise it keeps its call in memory until the next one.

    def _take_over(self, event: Any) -> None:
        """Handle the event, or the exception, that the thread has waited for, and read on."""
        if isinstance(event, Exception):
            self._lose(event)
        elif self._handle(event):
            return
        self._read()

    def _read(self) -> None:
        """Handle the events that there are, up to a number. If there are none, give the turn to the thread."""
        poll = self._queue.poll
        goes_on = True
        try:
            for count in range(_EVENTS_PER_TURN):
                try:
                    event = poll(0)
                except Exception as error:  # noqa: BLE001 - the others must be read all the same
                    self._lose(error)
                    continue
                if event.completion_type == QUEUE_TIMEOUT:
                    # Not if there was any: what it has led to is likely to complete within this turn of the event loop.
                    goes_on = count > 0
                    break
                if self._handle(event):
                    goes_on = False
                    return
        finally:
            # Also after an exception of a signal handler, which poll() lets pass. The server would be deaf otherwise.
            if goes_on:
                self._loop.call_soon(self._read, context=self._variables)
        if not goes_on:
            self._turn.release()

    def _lose(self, error: Exception) -> None:
        log.error("an event could not be read", exc_info=error)
        self._on_lost()

    def _handle(self, event: Any) -> bool:
        """Call the event's function. Return whether the queue is shut down, and this its last event."""
        if event.completion_type == QUEUE_SHUTDOWN:
            self._shut_down.set_result(None)
            return True
        try:
            event.tag(event)
        except Exception:
            log.exception("an event could not be handled")
        return False
