"""The embedded PostgreSQL: the real server, on a Unix socket, with its data in a directory of ours."""

import asyncio
import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from server.stack.os_user import account_for_postgres
from server.stack.pgdata import ENVIRONMENT, PROGRAMS, clear_leftovers, initialise, is_initialised
from server.stack.process import Command
from server.stack.supervised_process import Part

_DATABASE = "analytics"
_PORT = 5432  # Only the name of the socket: nothing listens on TCP.
_SOCKET_PATH_BYTES = 107  # What the kernel's sockaddr_un holds.

_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # No customer's data in the log: neither errors, which may quote a value (the server logs their SQLSTATE), nor the
    # statements that fail, nor the keys and rows that a DETAIL quotes.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


async def embedded_postgres(directory: Path, cleanup: contextlib.ExitStack) -> tuple[Part, str]:
    """Make ready to run PostgreSQL with its data in `directory`/postgres, which is created if it is not there.

    Returns the part to start and the URL of its database; `cleanup` is to be closed after the part has been stopped.
    `directory` has to exist, be absolute, and be used by nobody else. Raises StackError, or OSError if the disk fails.
    """
    data = directory / "postgres"
    initialised = is_initialised(data)
    account = account_for_postgres(PROGRAMS, directory)
    if not initialised:
        await initialise(data, account)
    sockets = _socket_directory(directory, cleanup)
    if account:
        account.own(sockets)
        if data.stat().st_uid != account.user:
            account.own(data)
    url = f"postgresql://postgres@/{_DATABASE}?host={quote(str(sockets), safe='/')}&port={_PORT}"
    settings = _SETTINGS | {"unix_socket_directories": str(sockets)}
    command = Command(
        name="postgres",
        # Not by pg_ctl: as our own child, its death is seen.
        arguments=[
            PROGRAMS / "postgres",
            "-D",
            data,
            *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
        ],
        environment=ENVIRONMENT,
        # Fast: open transactions are rolled back. Then immediate: as in a power failure; the next start recovers.
        stop=[(signal.SIGINT, 15.0), (signal.SIGQUIT, 10.0)],
        account=account,
        directory=Path("/"),
    )
    part = Part(
        command,
        lambda: _is_ready(url),
        patience=600.0,  # After a crash it first reads its log again, and to kill it then would help nobody.
        clear=lambda: clear_leftovers(data, sockets),
    )
    return part, url


@contextlib.contextmanager
def running_postgres(directory: Path) -> Iterator[str]:
    """Run an embedded PostgreSQL in `directory` and yield the URL of its (at first empty) database, for tests.

    Its log goes to standard error. Raises StackError if it does not start. The data is left in `directory`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="postgres")
    thread.start()
    try:
        with contextlib.ExitStack() as cleanup:
            part, url = asyncio.run_coroutine_threadsafe(_start_for_test(directory.absolute(), cleanup), loop).result()
            try:
                yield url
            finally:
                asyncio.run_coroutine_threadsafe(part.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start_for_test(directory: Path, cleanup: contextlib.ExitStack) -> tuple[Part, str]:
    part, url = await embedded_postgres(directory, cleanup)
    gave_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    part.start(gave_up.set_exception)
    ready = asyncio.ensure_future(part.ready.wait())
    either: set[asyncio.Future[Any]] = {ready, gave_up}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if gave_up.done():
        ready.cancel()
        await part.stop()
        gave_up.result()
    return part, url


def _socket_directory(directory: Path, cleanup: contextlib.ExitStack) -> Path:
    """Return a directory for the socket that only its owner can enter: in `directory`, if such a path can be used."""
    sockets = directory / "run"
    # A comma, in PostgreSQL's setting and in a URL's host, begins another directory.
    if len(os.fsencode(sockets / f".s.PGSQL.{_PORT}")) > _SOCKET_PATH_BYTES or set(str(sockets)) & set(',"'):
        return Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp")))
    sockets.mkdir(mode=0o700, exist_ok=True)
    sockets.chmod(0o700)
    return sockets


def _is_ready(url: str) -> bool:
    """Tell whether PostgreSQL accepts connections, and see to it that it has our database."""
    try:
        connection = psycopg2.connect(url, dbname="postgres", connect_timeout=5)
        try:
            connection.autocommit = True  # CREATE DATABASE cannot be part of a transaction.
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (_DATABASE,))
                if not cursor.rowcount:
                    cursor.execute(f"CREATE DATABASE {_DATABASE}")
        finally:
            connection.close()
    except psycopg2.OperationalError:
        return False
    return True
