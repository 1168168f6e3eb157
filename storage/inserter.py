"""A single event into the table: an INSERT that the event loop sends, with no thread to wake and no COPY to open.

For one event by itself that takes two thirds of the time of `storage.copier`; for several it would take longer.
"""

import asyncio
import logging

from storage.async_connection import LoopConnection
from storage.copier import SESSION, is_of_a_row
from storage.event import Event
from storage.model import search_key_of
from storage.rows import COLUMNS, INTO

log = logging.getLogger(__name__)

_PARAMETERS = ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 1))
_PREPARE = f"PREPARE insert_event AS INSERT INTO {INTO} VALUES ({_PARAMETERS})"  # noqa: S608 - the names are the model's
_EXECUTE = f"EXECUTE insert_event ({', '.join(['%s'] * len(COLUMNS))})"


# After that, the copier tries. It is no more than a commit may take on a disk that is slow.
_PATIENCE_SECONDS = 3.0

# Between two attempts to connect.
_PAUSE_SECONDS = 1.0


class Inserter:
    """Commits single events on a connection of its own. To be used from one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._connection: LoopConnection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._next_attempt = 0.0

    def is_ready(self) -> bool:
        """Whether there is a connection; if not, one is opened meanwhile."""
        if self._connection is None and self._opening is None and self._loop.time() >= self._next_attempt:
            self._opening = asyncio.create_task(self._open())
        return self._connection is not None

    async def insert(self, event: Event) -> bool:
        """Commits an event, and returns whether that is certain. If not, `Copier.write` finds out, and why.

        That it is in the way of itself then, because it was committed after all, is nothing new to the copier.
        """
        # Cheaper than asyncio.timeout, and does as much: who waits for a connection that is closed hears of it.
        patience = self._loop.call_later(_PATIENCE_SECONDS, self._disconnect)
        try:
            assert self._connection is not None
            await self._connection.run(_EXECUTE, (*event, search_key_of(event)))
        except Exception as error:  # noqa: BLE001 - the copier will meet it too, and has a word for it
            if not is_of_a_row(error):
                self._disconnect()
            return False
        finally:
            patience.cancel()
        return True

    async def _open(self) -> None:
        # Not long: what waits for another worker, or for an operator, waits in the copier's thread.
        settings = SESSION | {"lock_timeout": "50ms"}
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                self._connection = await LoopConnection.open(self._url, "analytics inserter", settings, [_PREPARE])
        except Exception as error:  # noqa: BLE001 - the copier does without, and has a word for it
            self._next_attempt = self._loop.time() + _PAUSE_SECONDS
            log.debug("no connection for single events", extra={"reason": type(error).__name__})
        finally:
            self._opening = None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Closes the connection."""
        if self._opening is not None:
            self._opening.cancel()
        self._disconnect()
