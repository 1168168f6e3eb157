"""A connection that the event loop drives: between a statement and its answer no thread has to be woken."""

import asyncio
import contextlib
import select
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from storage.connection import CONNECT_SECONDS, is_lost, parameters, unavailable
from storage.errors import DatabaseUnavailable

T = TypeVar("T")


class LoopConnection:
    """Executes one statement at a time, in autocommit mode. To be used from one event loop."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._descriptor = connection.fileno()
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[list[Any]] | None = None
        self._writing = False
        self._closed = False
        # For good, not for each statement: a connection that is closed in between is then noticed, too.
        self._loop.add_reader(self._descriptor, self._on_ready)

    @classmethod
    async def open(
        cls, url: str, name: str, settings: Mapping[str, str], prepare: Sequence[str] = ()
    ) -> "LoopConnection":
        """Connects, as `storage.connection.connect` does, and executes the statements of `prepare`.

        Raises:
            DatabaseUnavailable
        """
        opened = cls(await in_thread(lambda: _connected(url, name, settings), "connecting"))
        try:
            for statement in prepare:
                await opened.run(statement)
        except BaseException:
            opened.close()
            raise
        return opened

    async def run(self, sql: str, values: Mapping[str, Any] | Sequence[Any] | None = None) -> list[Any]:
        """Executes a statement and returns its rows. If the caller is cancelled meanwhile, the connection is closed.

        Raises:
            DatabaseUnavailable: the connection is lost; it is then closed.
            psycopg2.Error: the database did not like the statement.
        """
        if self._connection.closed:
            raise DatabaseUnavailable
        answer: asyncio.Future[list[Any]] = self._loop.create_future()
        self._answer = answer
        try:
            self._cursor.execute(sql, values)
            self._go_on()
            return await answer
        except psycopg2.Error as error:
            if not is_lost(self._connection, error):
                raise
            self.close()
            raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Closes the connection; a statement in it may go on for a while in the database."""
        if self._closed:  # The descriptor may be another connection's by now.
            return
        self._closed = True
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._connection.close()
        if self._answer and not self._answer.done():
            self._answer.set_exception(DatabaseUnavailable())

    def _on_ready(self) -> None:
        # uvloop calls for a socket in error once and then never again, however much is left to be read from it.
        while self._go_on() == POLL_READ and _is_broken(self._descriptor):
            pass

    def _go_on(self) -> Any:
        """Sends and receives what can be without waiting; returns what is to be waited for next, if anything is."""
        answer = self._answer
        try:
            state = self._connection.poll()
            if state == POLL_OK and answer and not answer.done():
                answer.set_result(self._cursor.fetchall() if self._cursor.description else [])
        except Exception as error:  # noqa: BLE001 - it is the caller's, who handles it
            if answer and not answer.done():
                answer.set_exception(error)
            if self._connection.closed or not isinstance(error, psycopg2.Error):
                self.close()
            return None
        if (state == POLL_WRITE) != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._descriptor, self._on_ready)
            else:
                self._loop.remove_writer(self._descriptor)
        return state


def _is_broken(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # It tells of errors and of the other side's end all the same.
    return bool(poll.poll(0))


async def in_thread(function: Callable[[], T], name: str) -> T:
    """What `function` returns or raises, in a thread: a daemon, so that what hangs does not keep the process alive."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # From here on it takes what comes, whether anybody waits for it or not.

    def call() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            done.set_exception(error)

    Thread(target=call, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)


def _connected(url: str, name: str, settings: Mapping[str, str]) -> psycopg2.extensions.connection:
    """Connects as the driver needs it for `poll`. For a thread: to look a host's name up takes its time."""
    *others, last = _by_host(parameters(url, name, settings))
    for given in others:
        with contextlib.suppress(DatabaseUnavailable):
            return _connected_to(given)
    return _connected_to(last)


def _by_host(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parameters for each host of a list of them: libpq would spend all of our time on one that does not answer."""
    lists = {key: str(given[key]).split(",") for key in ("host", "hostaddr", "port") if given.get(key)}
    count = max(map(len, lists.values()), default=1)
    return [{**given, **{key: each[min(n, len(each) - 1)] for key, each in lists.items()}} for n in range(count)]


def _connected_to(given: Mapping[str, Any]) -> psycopg2.extensions.connection:
    end = time.monotonic() + CONNECT_SECONDS
    with unavailable():
        connection: psycopg2.extensions.connection = psycopg2.connect(**given, async_=True)
        try:
            while (state := connection.poll()) != POLL_OK:
                poll = select.poll()
                poll.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
                left = end - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    raise DatabaseUnavailable("it does not answer")
        except BaseException:
            connection.close()  # Or its descriptor would stay until the collector comes.
            raise
    return connection
