"""The look-up of keys for a server: one statement at a time, for all keys that are asked for meanwhile."""

import asyncio
import contextlib
import logging
from typing import Any

import psycopg2

from storage.access_keys import EXISTS, FILL, FIND, NOTE_USE, TAKE, AccessKey, make_access_key
from storage.async_connection import AsyncConnection
from storage.errors import DatabaseUnavailable, TooManyLookups

log = logging.getLogger(__name__)

# What the database may take for a look-up before it counts as away, if a connection has to be opened for it.
_SECONDS = 4.0

# What is written here, rates and the hour of the last use, is no promise, and calls wait for it.
_SETTINGS = {"synchronous_commit": "off"}

# A flood of keys that are not known must not fill the memory.
_MAX_WAITING = 1_000


class KeyFinder:
    """Finds keys by id, on one connection that it opens when it needs it. Belongs to one event loop."""

    def __init__(self, url: str) -> None:
        """Prepare to use the database at `url`, a libpq connection URI or string, without connecting yet."""
        self._url = url
        self._connection: AsyncConnection | None = None
        self._waiting: dict[str, asyncio.Future[AccessKey | None]] = {}
        self._task: asyncio.Task[None] | None = None
        # One statement at a time.
        self._turn = asyncio.Lock()

    async def connect(self) -> None:
        """Connect, so that the first look-up does not have to. If that fails, the first look-up tries again."""
        with contextlib.suppress(DatabaseUnavailable):
            await self.has_keys()

    async def find(self, key_id: str, *, is_known: bool = False) -> AccessKey | None:
        """Return the key or signer of that id, or None if there is none.

        Args:
            key_id: the id.
            is_known: whether it was found a moment ago. Then it does not matter how many others wait.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
            TooManyLookups: as many as may wait are waiting.
        """
        found = self._waiting.get(key_id)
        if found is None:
            if len(self._waiting) >= _MAX_WAITING and not is_known:
                raise TooManyLookups
            found = self._waiting[key_id] = asyncio.get_running_loop().create_future()
            if self._task is None:
                self._task = asyncio.create_task(self._find_waiting())
        return await asyncio.shield(found)

    async def has_keys(self) -> bool:
        """Return whether there has ever been a key. Raises DatabaseUnavailable if the database cannot be reached."""
        return bool((await self._execute(EXISTS, ()))[0][0])

    async def take(self, key_id: str, rates: tuple[float, float], wanted: tuple[float, float]) -> tuple[float, float]:
        """Take from the bucket of a key, which all workers share, and return how much was in it.

        Args:
            key_id: the key.
            rates: how many events and bytes a second come into the bucket. It holds as many.
            wanted: how many events and bytes to take.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        names = ("events_rate", "bytes_rate", "events", "bytes")
        values = {"key_id": key_id, **dict(zip(names, map(float, (*rates, *wanted)), strict=True))}
        taken = await self._execute(TAKE, values)
        if not taken:
            await self._execute(FILL, values)
            taken = await self._execute(TAKE, values)
        ((events, bytes_),) = taken
        return events, bytes_

    async def note_use(self, key_id: str) -> None:
        """Note that a key is used, if the database can be written to."""
        with contextlib.suppress(DatabaseUnavailable):
            await self._execute(NOTE_USE, ([key_id],))

    def close(self) -> None:
        """Close the connection. Look-ups fail from now on."""
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _find_waiting(self) -> None:
        """Look keys up until none is asked for."""
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            try:
                rows = await self._execute(FIND, (list(asked),))
            except DatabaseUnavailable as error:
                log.warning("keys cannot be looked up", extra={"keys": len(asked), "reason": str(error)})
                for future in asked.values():
                    future.set_exception(DatabaseUnavailable(*error.args))
                    future.exception()  # The one who asked may have gone.
            except asyncio.CancelledError:
                for future in asked.values():
                    future.cancel()
                raise
            else:
                keys = {key.id: key for key in map(make_access_key, rows)}
                for key_id, future in asked.items():
                    future.set_result(keys.get(key_id))
        self._task = None

    async def _execute(self, sql: str, values: Any) -> list[Any]:
        async with self._turn:
            try:
                async with asyncio.timeout(_SECONDS):
                    if self._connection is not None:
                        with contextlib.suppress(DatabaseUnavailable):  # It may have been closed while it was idle.
                            return await self._connection.execute(sql, values)
                        self._forget()
                    self._connection = await AsyncConnection.open(self._url, "analytics access", _SETTINGS)
                    return await self._connection.execute(sql, values)
            except TimeoutError:
                self._forget()
                raise DatabaseUnavailable("it does not answer") from None
            except psycopg2.Error as error:
                self._forget()
                raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None
            except DatabaseUnavailable:
                self._forget()
                raise

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
