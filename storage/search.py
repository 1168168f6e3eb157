"""Searches: a few connections that the event loop drives, and a bounded queue of searches that wait for one."""

import asyncio
from collections import deque
from typing import Any

from storage.canceller import Canceller
from storage.errors import DatabaseUnavailable, PageTooLarge, TooManySearches
from storage.event import Found, Page, Query
from storage.model import make_search_key
from storage.search_session import NAME, Search, SearchSession
from storage.search_sql import ALL, LATEST, SESSION

# What a search may take beyond the database's own timeout before its connection counts as hung.
_GRACE_SECONDS = 1.0


class Searches:
    """The searches of one event loop."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = 6,
        max_waiting: int = 256,
        timeout: float = 5.0,
        max_page_bytes: int = 16 << 20,
    ) -> None:
        """Prepare the sessions. Each connects at its first search.

        Args:
            url: a libpq connection URI or string.
            connections: the number of searches that run at once.
            max_waiting: the number of further searches that may wait.
            timeout: seconds until the database gives up a search.
            max_page_bytes: the limit on the sum of a page's `message` texts, in bytes.
        """
        self._max_page_bytes = max_page_bytes
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._pending: set[asyncio.Future[list[Any]]] = set()
        self._waiting: deque[Search] = deque()
        settings = {
            **SESSION,
            "statement_timeout": str(int(timeout * 1000)),
            "default_transaction_read_only": "on",
        }
        self._canceller = Canceller(url, NAME)
        self._sessions = [
            SearchSession(url, settings, timeout + _GRACE_SECONDS, self._canceller, self._run_next)
            for _ in range(connections)
        ]
        # The one that was used last is used next: its backend has everything at hand.
        self._idle = self._sessions[::-1]

    async def find(self, query: Query) -> Page:
        """Return the page that `query` asks for. If the awaiting task is cancelled, end the search.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the database gave up the search.
            PageTooLarge: the messages of the page exceed the limit.
        """
        if self._closed:
            raise DatabaseUnavailable
        if not self._idle and len(self._waiting) >= self._max_waiting:
            raise TooManySearches
        search = self._make_search(query)
        if self._idle:
            self._idle.pop().run(search)
        else:
            self._waiting.append(search)
        self._pending.add(search.rows)
        try:
            return _make_page(await search.rows)
        except asyncio.CancelledError:
            for session in self._sessions:
                await session.give_up(search)
            raise
        finally:
            self._pending.discard(search.rows)

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every `find` in flight, without waiting for a search that hangs."""
        for rows in self._pending:
            if not rows.done():
                rows.set_exception(DatabaseUnavailable())

    async def close(self) -> None:
        """Abandon all searches. The database ends those that it runs, at their timeout at the latest."""
        self._closed = True
        self.abandon()
        self._waiting.clear()
        self._canceller.close()
        await asyncio.gather(*[session.close() for session in self._sessions])

    def _run_next(self, session: SearchSession) -> None:
        """Give an idle session the search that has waited longest."""
        while self._waiting:
            search = self._waiting.popleft()
            if not search.rows.done():  # Otherwise it is abandoned, or its caller has gone.
                session.run(search)
                return
        self._idle.append(session)

    def _make_search(self, query: Query) -> Search:
        keys = {
            make_search_key(query.entity_type, query.entity_id, query.user_id, recording)
            for recording in query.recording_ids
        }
        offset = (query.page - 1) * query.page_size
        statement = LATEST if query.latest else ALL
        sql = statement.execute.format(
            keys=",".join(keys),
            limit=query.page_size,
            offset=offset,
            page_end=offset + query.page_size,
            max_bytes=self._max_page_bytes,
        )
        return Search(sql, query.customer_id, len(keys), self._loop.create_future())


def _make_page(rows: list[Any]) -> Page:
    total = rows[0][0]
    # A page past the end is one row that holds only the total.
    events = [Found._make(row[1:]) for row in rows if row[1] is not None]
    if events and events[0].message is None:
        raise PageTooLarge
    return Page(events, total)
