"""Statements that read: a few connections that the event loop drives, and a bounded queue of what waits for one."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from storage.canceller import Canceller
from storage.errors import DatabaseUnavailable, TooManySearches
from storage.search_session import Search, SearchSession

# What a statement may take beyond the database's own timeout before its connection counts as hung.
_GRACE_SECONDS = 1.0


class Sessions:
    """The connections for one kind of statement. Belongs to one event loop."""

    def __init__(
        self,
        url: str,
        name: str,
        settings: Mapping[str, str],
        prepare: Sequence[str] = (),
        *,
        connections: int,
        max_waiting: int,
        timeout: float,
    ) -> None:
        """Prepare the sessions. Each connects at its first statement.

        Args:
            url: a libpq connection URI or string.
            name: the name by which the database lists the connections.
            settings: run-time parameters of the sessions.
            prepare: the statements to prepare in each.
            connections: the number of statements that run at once.
            max_waiting: the number of further statements that may wait.
            timeout: seconds until the database gives up a statement.
        """
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._pending: set[asyncio.Future[list[Any]]] = set()
        self._waiting: deque[Search] = deque()
        settings = {
            **settings,
            "statement_timeout": str(int(timeout * 1000)),
            "default_transaction_read_only": "on",
        }
        self._canceller = Canceller(url, name)
        self._sessions = [
            SearchSession(url, name, settings, prepare, timeout + _GRACE_SECONDS, self._canceller, self._run_next)
            for _ in range(connections)
        ]
        # The one that was used last is used next: its backend has everything at hand.
        self._idle = self._sessions[::-1]

    async def run(self, sql: str, values: Sequence[Any], recordings: int = 0) -> list[Any]:
        """Return the rows of a statement. If the awaiting task is cancelled, end the statement.

        Args:
            sql: the statement.
            values: what takes the place of each `%s` in it.
            recordings: how many it asks for, for the log.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: the database gave up the statement.
        """
        if self._closed:
            raise DatabaseUnavailable
        if not self._idle and len(self._waiting) >= self._max_waiting:
            raise TooManySearches
        search = Search(sql, values, recordings, self._loop.create_future())
        if self._idle:
            self._idle.pop().run(search)
        else:
            self._waiting.append(search)
        self._pending.add(search.rows)
        try:
            return await search.rows
        except asyncio.CancelledError:
            for session in self._sessions:
                await session.give_up(search)
            raise
        finally:
            self._pending.discard(search.rows)

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every `run` in flight, without waiting for a statement that hangs."""
        for rows in self._pending:
            if not rows.done():
                rows.set_exception(DatabaseUnavailable())

    async def close(self) -> None:
        """Abandon all statements. The database ends those that it runs, at their timeout at the latest."""
        self._closed = True
        self.abandon()
        self._waiting.clear()
        self._canceller.close()
        await asyncio.gather(*[session.close() for session in self._sessions])

    def _run_next(self, session: SearchSession) -> None:
        """Give an idle session the statement that has waited longest."""
        while self._waiting:
            search = self._waiting.popleft()
            if not search.rows.done():  # Otherwise it is abandoned, or its caller has gone.
                session.run(search)
                return
        self._idle.append(session)
