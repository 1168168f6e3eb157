"""A connection that the event loop drives, so that no thread has to be woken between a statement and its result."""

import asyncio
import logging
import select
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from storage.connection import (
    CONNECT_SECONDS,
    has_ended_wait,
    is_lost,
    make_configuration,
    make_parameters,
    make_unavailable,
    translated_errors,
)
from storage.daemon_thread import run_in_daemon_thread
from storage.errors import DatabaseUnavailable, NodeUnavailable
from storage.hosts import try_hosts

log = logging.getLogger(__name__)


Outcome = list[Any] | Exception
"""What became of a statement: its rows, or what went wrong."""


class AsyncConnection:
    """A connection in autocommit mode that executes one statement at a time. Belongs to one event loop."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._descriptor = connection.fileno()
        self._loop = asyncio.get_running_loop()
        self._on_outcome: Callable[[Outcome], None] | None = None
        self._writing = False
        self._closed = False
        # Registered for good, not per statement, so that a connection closed between two statements is noticed.
        self._loop.add_reader(self._descriptor, self._on_ready)

    @property
    def backend(self) -> int:
        """The number of the database's process that serves it."""
        number: int = self._connection.info.backend_pid
        return number

    @classmethod
    async def open(
        cls, url: str, name: str, settings: Mapping[str, str], prepare: Sequence[str] = ()
    ) -> "AsyncConnection":
        """Connect, as `storage.connection.connect` does, and execute the statements of `prepare`.

        Raises:
            DatabaseUnavailable: the database cannot be reached or rejects the connection.
            psycopg2.Error: it rejected a statement of `prepare`.
        """
        opened = cls(await run_in_daemon_thread(lambda: _connect(url, name), "connecting"))
        try:
            await opened.execute(*make_configuration(settings))
            for statement in prepare:
                await opened.execute(statement)
        except BaseException:
            opened.close()
            raise
        return opened

    async def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Any]:
        """Execute a statement and return its rows. If the awaiting task is cancelled, close the connection.

        Raises:
            NodeUnavailable: the connection is good, but a node of the database is away.
            DatabaseUnavailable: the connection is lost, and now closed.
            psycopg2.Error: the database rejected the statement.
        """
        result: asyncio.Future[list[Any]] = self._loop.create_future()
        self.start(sql, values, partial(settle, result))
        try:
            return await result
        except asyncio.CancelledError:
            self.close()
            raise

    def start(
        self, sql: str, values: Sequence[Any] | Mapping[str, Any] | None, on_outcome: Callable[[Outcome], None]
    ) -> None:
        """Send a statement.

        Args:
            sql: the statement.
            values: what takes the place of each `%s` in it, or, by name, of each `%(name)s`.
            on_outcome: called once, later, with the rows, or with an exception as `execute` raises it.
        """
        try:
            self._cursor.execute(sql, values)
            state = self._connection.poll()
        except Exception as error:  # noqa: BLE001 - it is the outcome
            self._loop.call_soon(on_outcome, self._examine(error))
            return
        self._watch(state)
        if state == POLL_OK:  # The database was that quick.
            self._loop.call_soon(on_outcome, self._fetch())
        else:
            self._on_outcome = on_outcome

    def close(self) -> None:
        """Close the connection. The database may go on with the statement for a while. Its outcome is reported now."""
        self._disconnect()
        self._report(DatabaseUnavailable())

    def _on_ready(self) -> None:
        # uvloop reports a socket in error only once, however much is left to read from it.
        while self._poll() == POLL_READ and _is_broken(self._descriptor):
            pass

    def _poll(self) -> Any:
        """Send and receive whatever does not block. Return what to wait for next, or None after an error."""
        try:
            state = self._connection.poll()
        except Exception as error:
            if self._on_outcome is None and not isinstance(error, psycopg2.Error):
                log.exception("unexpected error on an idle connection")
            self._report(self._examine(error))
            return None
        self._watch(state)
        if state == POLL_OK and self._on_outcome is not None:
            self._report(self._fetch())
        return state

    def _watch(self, state: Any) -> None:
        """Have `_on_ready` called when the socket can take more, for as long as there is something to send."""
        if (state == POLL_WRITE) != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._descriptor, self._on_ready)
            else:
                self._loop.remove_writer(self._descriptor)

    def _fetch(self) -> Outcome:
        try:
            if has_ended_wait(self._connection):
                self._disconnect()
                return DatabaseUnavailable("somebody has ended its wait for a standby")
            return self._cursor.fetchall() if self._cursor.description else []
        except Exception as error:  # noqa: BLE001 - it is the outcome
            return self._examine(error)

    def _examine(self, error: Exception) -> Exception:
        """Return what to report for `error`. Close the connection, unless the database merely rejected a statement."""
        if isinstance(error, psycopg2.Error):
            if not is_lost(self._connection, error):
                return error
            error = make_unavailable(self._connection, error)
        if not isinstance(error, NodeUnavailable):
            self._disconnect()
        return error

    def _disconnect(self) -> None:
        if self._closed:  # Another connection may have the descriptor by now.
            return
        self._closed = True
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._connection.close()

    def _report(self, outcome: Outcome) -> None:
        """Report the outcome of the statement in flight, if there is one."""
        on_outcome, self._on_outcome = self._on_outcome, None
        if on_outcome is not None:
            on_outcome(outcome)


def settle(result: "asyncio.Future[list[Any]]", outcome: Outcome) -> None:
    """Settle `result` with the outcome, unless it is settled already."""
    if result.done():
        return
    if isinstance(outcome, Exception):
        result.set_exception(outcome)
    else:
        result.set_result(outcome)


def _is_broken(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # Errors and a hang-up are reported without being asked for.
    return bool(poll.poll(0))


def _connect(url: str, name: str) -> psycopg2.extensions.connection:
    """Open a connection for use with `poll`. Blocks, if only to look up the host's name."""
    return try_hosts(url, make_parameters(url, name), _connect_to_host)


def _connect_to_host(parameters: Mapping[str, Any]) -> psycopg2.extensions.connection:
    end = time.monotonic() + CONNECT_SECONDS
    with translated_errors():
        connection: psycopg2.extensions.connection = psycopg2.connect(**parameters, async_=True)
        try:
            while (state := connection.poll()) != POLL_OK:
                poll = select.poll()
                poll.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
                left = end - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    raise DatabaseUnavailable("it does not answer")
        except BaseException:
            connection.close()  # Otherwise its descriptor stays open until the next garbage collection.
            raise
    return connection
