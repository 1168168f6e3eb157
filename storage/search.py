"""Searches: a few tasks, each with a connection of its own."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg2.errors

from storage.async_connection import LoopConnection
from storage.availability import Availability
from storage.errors import DatabaseUnavailable, PageTooLarge, QueueFull, SearchTimedOut
from storage.event import Found, Page
from storage.model import search_key
from storage.search_sql import ALL, LATEST, SESSION

log = logging.getLogger(__name__)


_GRACE_SECONDS = 1.0


class Query(NamedTuple):
    """What to look for. All of it must match."""

    customer_id: str
    entity_type: str
    """ "lead" or "contact"."""
    entity_id: str
    user_id: str
    recording_ids: list[str]
    """One that is named twice counts once."""
    latest: bool
    """Keep only the newest event of each recording."""
    page: int
    """From 1."""
    page_size: int
    """In events, from 1."""


class Searches:
    """Finds events. To be used from one event loop."""

    def __init__(
        self,
        url: str,
        availability: Availability,
        *,
        connections: int = 4,
        max_waiting: int = 256,
        timeout: float = 5.0,
        max_page_bytes: int = 16 << 20,
    ) -> None:
        """Makes searches that connect when they are first needed.

        Args:
            url: the database, as libpq takes it.
            availability: whether to try at all.
            connections: how many searches run at once.
            max_waiting: how many more may wait for their turn.
            timeout: seconds after which the database gives a search up.
            max_page_bytes: how many bytes of `message` one page may carry.
        """
        self._url = url
        self._availability = availability
        self._max_page_bytes = max_page_bytes
        self._timeout = timeout
        self._closed = False
        self._session = {
            **SESSION,
            "statement_timeout": str(int(timeout * 1000)),
            "default_transaction_read_only": "on",
        }
        self._loop = asyncio.get_running_loop()
        self._pending: set[asyncio.Future[Page]] = set()
        self._queue: asyncio.Queue[tuple[Query, asyncio.Future[Page]]] = asyncio.Queue(max_waiting)
        self._tasks = [asyncio.create_task(self._answer_queries()) for _ in range(connections)]
        availability.on_change(self._on_availability)

    async def find(self, query: Query) -> Page:
        """The page of events that `query` asks for.

        Raises:
            QueueFull: too many searches are waiting.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the database gave up.
            PageTooLarge: the messages of the page are larger than a page may be.
        """
        if self._closed or not self._availability.up:
            raise DatabaseUnavailable
        if self._queue.full():
            raise QueueFull
        answer: asyncio.Future[Page] = self._loop.create_future()
        self._pending.add(answer)
        self._queue.put_nowait((query, answer))
        try:
            return await answer
        finally:
            self._pending.discard(answer)

    async def close(self) -> None:
        """Ends all searches. What of them runs in the database ends there, at its time-out at the latest."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._on_availability(False)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_availability(self, up: bool) -> None:
        """Lets nobody wait for a database that is away, not even for a search that hangs in it."""
        if up:
            return
        for answer in self._pending:
            if not answer.done():
                answer.set_exception(DatabaseUnavailable())

    async def _answer_queries(self) -> None:
        session = _Session(self._url, self._session)
        try:
            while True:
                query, answer = await self._queue.get()
                if answer.done():  # Its caller has gone.
                    continue
                try:
                    page = await self._find(session, query)
                except Exception as error:  # noqa: BLE001 - it is the caller's, who handles it
                    if not answer.done():
                        answer.set_exception(error)
                else:
                    if not answer.done():
                        answer.set_result(page)
        finally:
            session.close()

    async def _find(self, session: "_Session", query: Query) -> Page:
        keys = {
            search_key(query.entity_type, query.entity_id, query.user_id, recording)
            for recording in query.recording_ids
        }
        offset = (query.page - 1) * query.page_size
        values = {
            "customer_id": query.customer_id,
            "keys": "{" + ",".join(keys) + "}",
            "limit": query.page_size,
            "offset": offset,
            "page_end": offset + query.page_size,
            "max_bytes": self._max_page_bytes,
        }
        statement = LATEST if query.latest else ALL
        try:
            # The database keeps to its time-out itself, unless it hangs.
            async with asyncio.timeout(self._timeout + _GRACE_SECONDS):
                rows = await session.fetch(statement.execute, values)
        except (psycopg2.errors.QueryCanceled, TimeoutError):
            log.warning("a search took too long", extra={"recordings": len(keys)})
            raise SearchTimedOut from None
        total = rows[0][0]
        # A page past the end is one row that has the total alone.
        events = [Found._make(row[1:]) for row in rows if row[1] is not None]
        if events and events[0].message is None:
            raise PageTooLarge
        return Page(events, total)


class _Session:
    """A connection for searches, opened when it is first needed and once more when it is lost."""

    def __init__(self, url: str, settings: Mapping[str, str]) -> None:
        self._url = url
        self._settings = settings
        self._connection: LoopConnection | None = None

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        if self._connection is not None:
            try:
                return await self._connection.run(statement, values)
            except DatabaseUnavailable as error:
                log.info("a search found its connection closed", extra={"reason": str(error)})
                self._connection = None
        self._connection = await LoopConnection.open(
            self._url, "analytics search", self._settings, [ALL.prepare, LATEST.prepare]
        )
        return await self._connection.run(statement, values)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
