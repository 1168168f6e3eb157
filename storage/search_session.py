"""One of the connections of the searches, and the search that runs on it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import psycopg2.errors

from storage.async_connection import AsyncConnection, Outcome, settle
from storage.canceller import Canceller
from storage.errors import DatabaseUnavailable, NodeUnavailable, SearchTimedOut

log = logging.getLogger(__name__)

# To let a search end by itself costs less than to cancel it, if it does not take longer.
_SHORT_SECONDS = 0.1


class Search(NamedTuple):
    """A search to run."""

    sql: str
    values: Sequence[Any]
    """What takes the place of each `%s` in `sql`."""
    recordings: int
    """How many it asks for."""
    rows: "asyncio.Future[list[Any]]"
    """What its caller awaits."""


class SearchSession:
    """A connection with some statements prepared. Opened at its first use, and again when it is lost."""

    def __init__(
        self,
        url: str,
        name: str,
        settings: Mapping[str, str],
        prepare: Sequence[str],
        timeout: float,
        canceller: Canceller,
        on_idle: Callable[["SearchSession"], None],
    ) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string.
            name: the name by which the database lists the connection.
            settings: run-time parameters of the session.
            prepare: the statements to prepare in it.
            timeout: the seconds after which the connection counts as hung.
            canceller: what ends a search that its caller has given up.
            on_idle: called with this session each time a search has ended.
        """
        self._url = url
        self._canceller = canceller
        self._name = name
        self._settings = settings
        self._prepare = prepare
        self._timeout = timeout
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._connection: AsyncConnection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._search: Search | None = None
        self._given_up: asyncio.Event | None = None
        """Set when the search has ended, if its caller has given it up."""
        self._timer: asyncio.TimerHandle | None = None

    def run(self, search: Search) -> None:
        """Run a search. The session must be idle."""
        self._search = search
        # Cheaper than asyncio.timeout.
        self._timer = self._loop.call_later(self._timeout, self._end, search, TimeoutError())
        if self._connection is None:
            self._opening = self._loop.create_task(self._open_and_run(search))
        else:
            self._connection.start(search.sql, search.values, partial(self._end_or_repeat, search))

    async def give_up(self, search: Search) -> None:
        """Return when `search` has ended, if it runs here. Have the database end it unless it is short."""
        if search is not self._search:
            return
        ended = self._given_up = asyncio.Event()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SHORT_SECONDS):
                    await ended.wait()
            # While it still connects there is nothing to end.
            if not ended.is_set() and self._connection is not None:
                await self._canceller.cancel(self._connection.backend)
            await ended.wait()
        finally:
            self._given_up = None
            if ended.is_set():
                # Only now, or the next search might be the one that is cancelled.
                self._on_idle(self)

    async def close(self) -> None:
        """Close the connection for good. A search in flight has no outcome."""
        self._search = None
        if self._timer is not None:
            self._timer.cancel()
        opening = self._opening
        self._disconnect()
        if opening is not None:
            await asyncio.wait([opening])

    async def _open_and_run(self, search: Search) -> None:
        try:
            self._connection = await AsyncConnection.open(self._url, self._name, self._settings, self._prepare)
        except Exception as error:  # noqa: BLE001 - raised again to the caller of the search
            self._opening = None
            self._end(search, error)
        else:
            self._opening = None
            if search.rows.cancelled():
                self._end(search, [])
            else:
                self._connection.start(search.sql, search.values, partial(self._end, search))

    def _end_or_repeat(self, search: Search, outcome: Outcome) -> None:
        """End a search, or, if the connection was lost, run it once more on another."""
        is_lost = isinstance(outcome, DatabaseUnavailable) and not isinstance(outcome, NodeUnavailable)
        if is_lost and search is self._search:
            log.info("connection lost during a search", extra={"reason": str(outcome)})
            self._connection = None
            self._opening = self._loop.create_task(self._open_and_run(search))
        else:
            self._end(search, outcome)

    def _end(self, search: Search, outcome: Outcome) -> None:
        """Hand over the outcome of a search, unless it has one, and report that the session is idle."""
        if search is not self._search:
            return
        self._search = None
        if self._timer is not None:
            self._timer.cancel()
        if isinstance(outcome, psycopg2.errors.QueryCanceled | TimeoutError):
            if not search.rows.cancelled():
                log.warning("search timed out", extra={"recordings": search.recordings})
            if isinstance(outcome, TimeoutError):
                self._disconnect()
            outcome = SearchTimedOut()
        settle(search.rows, outcome)
        if self._given_up is not None:
            self._given_up.set()
        else:
            self._on_idle(self)

    def _disconnect(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
