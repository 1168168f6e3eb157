"""Searches: a few tasks on the event loop, each with a connection of its own."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import psycopg2.errors

from storage.async_connection import AsyncConnection
from storage.errors import DatabaseUnavailable, PageTooLarge, SearchTimedOut, TooManySearches
from storage.event import Found, Page, Query
from storage.model import make_search_key
from storage.search_sql import ALL, LATEST, SESSION

log = logging.getLogger(__name__)

# What a search may take beyond the database's own timeout before its connection counts as hung.
_GRACE_SECONDS = 1.0


class Searches:
    """The searches of one event loop: a bounded queue, and the tasks that work through it."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = 4,
        max_waiting: int = 256,
        timeout: float = 5.0,
        max_page_bytes: int = 16 << 20,
    ) -> None:
        """Start the tasks. Each connects at its first search.

        Args:
            url: a libpq connection URI or string.
            connections: the number of searches that run at once.
            max_waiting: the number of further searches that may wait.
            timeout: seconds until the database gives up a search.
            max_page_bytes: the limit on the sum of a page's `message` texts, in bytes.
        """
        self._url = url
        self._max_page_bytes = max_page_bytes
        self._timeout = timeout
        self._closed = False
        self._pending: set[asyncio.Future[Page]] = set()
        self._queue: asyncio.Queue[tuple[Query, asyncio.Future[Page]]] = asyncio.Queue(max_waiting)
        self._tasks = [asyncio.create_task(self._run()) for _ in range(connections)]

    async def find(self, query: Query) -> Page:
        """Return the page that `query` asks for.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the database gave up the search.
            PageTooLarge: the messages of the page exceed the limit.
        """
        if self._closed:
            raise DatabaseUnavailable
        if self._queue.full():
            raise TooManySearches
        page: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self._pending.add(page)
        self._queue.put_nowait((query, page))
        try:
            return await page
        finally:
            self._pending.discard(page)

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every `find` in flight, without waiting for a search that hangs."""
        for page in self._pending:
            if not page.done():
                page.set_exception(DatabaseUnavailable())

    async def close(self) -> None:
        """Abandon all searches. The database ends those that it runs, at their timeout at the latest."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self.abandon()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        settings = {
            **SESSION,
            "statement_timeout": str(int(self._timeout * 1000)),
            "default_transaction_read_only": "on",
        }
        session = _Session(self._url, settings)
        try:
            while True:
                query, page = await self._queue.get()
                if page.done():  # Abandoned, or its caller has gone.
                    continue
                try:
                    found = await self._find(session, query)
                except Exception as error:  # noqa: BLE001 - raised again in `find`
                    if not page.done():
                        page.set_exception(error)
                else:
                    if not page.done():
                        page.set_result(found)
        finally:
            session.close()

    async def _find(self, session: "_Session", query: Query) -> Page:
        keys = {
            make_search_key(query.entity_type, query.entity_id, query.user_id, recording)
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
            async with asyncio.timeout(self._timeout + _GRACE_SECONDS):
                rows = await session.fetch(statement.execute, values)
        except (psycopg2.errors.QueryCanceled, TimeoutError):
            log.warning("search timed out", extra={"recordings": len(keys)})
            raise SearchTimedOut from None
        total = rows[0][0]
        # A page past the end is one row that holds only the total.
        events = [Found._make(row[1:]) for row in rows if row[1] is not None]
        if events and events[0].message is None:
            raise PageTooLarge
        return Page(events, total)


class _Session:
    """A connection with the search statements prepared. Opened at its first use, and again when it is lost."""

    def __init__(self, url: str, settings: Mapping[str, str]) -> None:
        self._url = url
        self._settings = settings
        self._connection: AsyncConnection | None = None

    async def fetch(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        if self._connection is not None:
            try:
                return await self._connection.execute(statement, values)
            except DatabaseUnavailable as error:
                log.info("connection lost during a search", extra={"reason": str(error)})
                self._connection = None
        self._connection = await AsyncConnection.open(
            self._url, "analytics search", self._settings, [ALL.prepare, LATEST.prepare]
        )
        return await self._connection.execute(statement, values)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
