"""Searches: a few threads, each with a connection of its own, off the event loop."""

import asyncio
import logging
import threading
from queue import SimpleQueue
from typing import Any, NamedTuple

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from storage.availability import Availability
from storage.connection import connect, is_lost
from storage.errors import DatabaseUnavailable, PageTooLarge, QueueFull, SearchTimedOut
from storage.event import Found, Page
from storage.model import search_key
from storage.search_sql import ALL, LATEST, SESSION

log = logging.getLogger(__name__)


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
        self._max_waiting = max_waiting
        self._max_page_bytes = max_page_bytes
        self._session = {
            **SESSION,
            "statement_timeout": str(int(timeout * 1000)),
            "default_transaction_read_only": "on",
        }
        self._loop = asyncio.get_running_loop()
        self._pending: set[asyncio.Future[Page]] = set()
        # Not an executor: its futures, conditions and callbacks cost as much as the conversion of a page.
        self._queue: SimpleQueue[tuple[Query, asyncio.Future[Page]] | None] = SimpleQueue()
        self._mine = threading.local()
        # Daemons, so that a database that hangs cannot keep the process from ending.
        self._threads = [
            threading.Thread(target=self._answer_queries, name=f"search-{number}", daemon=True)
            for number in range(connections)
        ]
        for thread in self._threads:
            thread.start()
        availability.on_change(self._on_availability)

    async def find(self, query: Query) -> Page:
        """The page of events that `query` asks for.

        Raises:
            QueueFull: too many searches are waiting.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the database gave up.
            PageTooLarge: the messages of the page are larger than a page may be.
        """
        if not self._availability.up:
            raise DatabaseUnavailable
        if self._queue.qsize() >= self._max_waiting:
            raise QueueFull
        answer: asyncio.Future[Page] = self._loop.create_future()
        self._pending.add(answer)
        self._queue.put((query, answer))
        try:
            return await answer
        finally:
            self._pending.discard(answer)

    async def close(self) -> None:
        """Takes no more searches. Those that run end at their time-out; their callers are gone."""
        for _ in self._threads:
            self._queue.put(None)

    def _on_availability(self, up: bool) -> None:
        """Lets nobody wait for a database that is away, not even for a search that hangs in it."""
        if up:
            return
        for answer in self._pending:
            if not answer.done():
                answer.set_exception(DatabaseUnavailable())

    # What follows runs in the threads.

    def _answer_queries(self) -> None:
        while (item := self._queue.get()) is not None:
            query, answer = item
            if answer.done():  # Its caller has gone.
                continue
            try:
                page = self._find(query)
            except Exception as error:  # noqa: BLE001 - it is the caller's, who handles it
                self._loop.call_soon_threadsafe(_fail, answer, error)
            else:
                self._loop.call_soon_threadsafe(_hand_over, answer, page)

    def _find(self, query: Query) -> Page:
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
            rows = self._fetch(statement.execute, values)
        except psycopg2.errors.QueryCanceled:
            log.warning("a search took too long", extra={"recordings": len(keys)})
            raise SearchTimedOut from None
        total = rows[0][0]
        # A page past the end is one row that has the total alone.
        events = [Found._make(row[1:]) for row in rows if row[1] is not None]
        if events and events[0].message is None:
            raise PageTooLarge
        return Page(events, total)

    def _fetch(self, statement: str, values: dict[str, Any]) -> list[Any]:
        """Executes the statement; once more on a new connection if the old one turns out to be lost."""
        connection: psycopg2.extensions.connection | None = getattr(self._mine, "connection", None)
        if connection is not None:
            try:
                return _run(connection, statement, values)
            except DatabaseUnavailable:
                self._mine.connection = None
        connection = connect(self._url, "analytics search", self._session)
        for each in (ALL, LATEST):
            _run(connection, each.prepare)
        self._mine.connection = connection
        return _run(connection, statement, values)


def _run(connection: psycopg2.extensions.connection, sql: str, values: dict[str, Any] | None = None) -> list[Any]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []
    except psycopg2.Error as error:
        if not is_lost(connection, error):
            raise
        log.info("a search found its connection closed", extra={"sqlstate": error.pgcode})
        connection.close()
        raise DatabaseUnavailable from None


def _hand_over(answer: asyncio.Future[Page], page: Page) -> None:
    if not answer.done():
        answer.set_result(page)


def _fail(answer: asyncio.Future[Page], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
