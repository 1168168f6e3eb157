"""A connection that the event loop drives: between a statement and its answer no thread has to be woken."""

import asyncio
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
        # For good, not for each statement: a connection that is closed in between is then noticed, too.
        self._loop.add_reader(self._descriptor, self._go_on)

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
        self._answer = self._loop.create_future()
        try:
            self._cursor.execute(sql, values)
            self._go_on()
            return await self._answer
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
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._connection.close()

    def _go_on(self) -> None:
        """Sends and receives what can be without waiting."""
        answer = self._answer
        try:
            state = self._connection.poll()
            if state == POLL_OK and answer and not answer.done():
                answer.set_result(self._cursor.fetchall() if self._cursor.description else [])
        except psycopg2.Error as error:
            if self._connection.closed:
                self.close()
            if answer and not answer.done():
                answer.set_exception(error)
            return
        if (state == POLL_WRITE) != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._descriptor, self._go_on)
            else:
                self._loop.remove_writer(self._descriptor)


async def in_thread(function: Callable[[], T], name: str) -> T:
    """What `function` returns or raises, in a thread: a daemon, so that what hangs does not keep the process alive."""
    done: Future[T] = Future()

    def call() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            done.set_exception(error)

    Thread(target=call, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)


def _connected(url: str, name: str, settings: Mapping[str, str]) -> psycopg2.extensions.connection:
    """Connects as the driver needs it for `poll`. For a thread: to look a host's name up takes its time."""
    end = time.monotonic() + CONNECT_SECONDS
    with unavailable():
        connection: psycopg2.extensions.connection = psycopg2.connect(**parameters(url, name, settings), async_=True)
        while (state := connection.poll()) != POLL_OK:
            socket = [connection.fileno()]
            reading, writing = (socket, []) if state == POLL_READ else ([], socket)
            left = end - time.monotonic()
            if left <= 0 or not any(select.select(reading, writing, [], left)):
                connection.close()
                raise DatabaseUnavailable("it does not answer")
    return connection
