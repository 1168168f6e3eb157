"""A single event into the table: an INSERT that the event loop sends, with no thread to wake and no COPY to open.

For a lone event this takes two thirds of the time of `storage.copier`; for several it would take longer.
"""

import asyncio
import logging

import psycopg2

from storage.async_connection import AsyncConnection
from storage.copier import SESSION
from storage.erased_keys import CHECK, PREPARE_CHECK, hash_key
from storage.errors import DatabaseUnavailable, NodeUnavailable
from storage.event import Event
from storage.model import make_search_key
from storage.rows import COLUMNS, INTO
from storage.sqlstates import is_row_error

log = logging.getLogger(__name__)

_PARAMETERS = ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 1))
_PREPARE = f"PREPARE insert_event AS INSERT INTO {INTO} VALUES ({_PARAMETERS})"  # noqa: S608 - the names are the model's
_EXECUTE = f"EXECUTE insert_event ({', '.join(['%s'] * len(COLUMNS))})"
_EXECUTE_WITH_KEY = f"{_EXECUTE}; {CHECK}"

# A commit on a slow disk may take this long. After that, the copier tries.
_TIMEOUT_SECONDS = 3.0

# Between two attempts to connect.
_RECONNECT_SECONDS = 1.0


class Inserter:
    """A writer of single events, with one connection. Belongs to one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._connection: AsyncConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._next_attempt = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether `insert` can be called."""
        return self._connection is not None

    def connect_in_background(self) -> None:
        """Start to connect, unless an attempt is in flight or has just failed."""
        if self._connection is None and self._connecting is None and self._loop.time() >= self._next_attempt:
            self._connecting = asyncio.create_task(self._connect())

    async def connect(self) -> None:
        """Connect, and return when that has succeeded or failed."""
        self.connect_in_background()
        if self._connecting is not None:
            await asyncio.shield(self._connecting)

    async def insert(self, event: Event) -> bool:
        """Commit an event. Return whether it is certain to be stored.

        After False, pass it to `Copier.write`, which finds out why. If it was committed after all, the copier meets the
        event's own row and handles that.
        """
        # Cheaper than asyncio.timeout, with the same effect: closing the connection ends the wait for it.
        timeout = self._loop.call_later(_TIMEOUT_SECONDS, self.disconnect)
        try:
            assert self._connection is not None
            search_key = make_search_key(event.entity_type, event.entity_id, event.user_id, event.recording_id)
            if event.idempotency_key:
                key = (event.customer_id, hash_key(event.customer_id, event.idempotency_key))
                await self._connection.execute(_EXECUTE_WITH_KEY, (*event, search_key, *key))
            else:
                await self._connection.execute(_EXECUTE, (*event, search_key))
        except (DatabaseUnavailable, psycopg2.Error) as error:
            if not isinstance(error, NodeUnavailable) and not is_row_error(getattr(error, "pgcode", None) or ""):
                self.disconnect()
            return False
        except Exception:
            log.exception("unexpected error in an INSERT; the copier writes the event instead")
            self.disconnect()
            return False
        finally:
            timeout.cancel()
        return True

    def disconnect(self) -> None:
        """Close the connection. An `insert` in flight returns False."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the connection for good."""
        if self._connecting is not None:
            self._connecting.cancel()
        self.disconnect()

    async def _connect(self) -> None:
        # Short, because waiting for another worker's key, or for an operator's lock, is left to the copier's thread.
        # On another node of a cluster, only the time limit of the statement ends that wait.
        settings = SESSION | {"lock_timeout": "50ms", "statement_timeout": f"{int(_TIMEOUT_SECONDS)}s"}
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                self._connection = await AsyncConnection.open(
                    self._url, "analytics inserter", settings, [_PREPARE, PREPARE_CHECK]
                )
        except (DatabaseUnavailable, psycopg2.Error, TimeoutError) as error:
            # The copier writes single events meanwhile, and reports what is wrong with the database.
            log.debug("no connection for single events", extra={"reason": type(error).__name__})
        except Exception:
            log.exception("unexpected error while connecting for single events")
        finally:
            self._connecting = None
            if self._connection is None:
                self._next_attempt = self._loop.time() + _RECONNECT_SECONDS
