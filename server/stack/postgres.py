"""The embedded PostgreSQL: the real server, on a Unix socket, with its data in the stack's data directory."""

import contextlib
import os
import signal
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg2

from server.stack.child_process import Command
from server.stack.os_user import prepare_postgres_user
from server.stack.pgdata import (
    ENVIRONMENT,
    PROGRAMS,
    initialise,
    is_accepting_connections,
    is_initialised,
    remove_leftovers,
)
from server.stack.supervised_process import SupervisedProcess

_DATABASE = "analytics"
_PORT = 5432  # Only part of the socket's name: nothing listens on TCP.
_SOCKET = f".s.PGSQL.{_PORT}"
_MAX_SOCKET_PATH_BYTES = 107  # The kernel's limit, from sockaddr_un.

_PARAMETERS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    # Not used. Its launcher would log "exited with exit code 1" at each regular stop.
    "max_logical_replication_workers": "0",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # These keep customers' data out of the log. Errors may quote a value (the server logs their SQLSTATE), so they are
    # not logged, and neither are the statements that fail, nor a DETAIL with its keys and rows.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


async def prepare_postgres(directory: Path, cleanup: contextlib.AsyncExitStack) -> tuple[SupervisedProcess, str]:
    """Return PostgreSQL, ready to be started, and the URL of its database.

    Args:
        directory: An absolute path. The data is in its subdirectory `postgres`, which is created if it is missing.
            Nothing else may use the directory at the same time.
        cleanup: To be closed after the process has been stopped.

    Raises:
        StackError: PostgreSQL cannot run here; the message says why.
        OSError: a file cannot be read or written.
    """
    data = directory / "postgres"
    initialised = is_initialised(data)
    user = prepare_postgres_user(PROGRAMS, directory)
    if not initialised:
        await initialise(data, user)
    sockets = _make_socket_directory(directory, cleanup)
    private_sockets = sockets / "private"
    private_sockets.mkdir(exist_ok=True)
    if user:
        user.take_ownership(sockets)
        if data.stat().st_uid != user.uid:
            user.take_ownership(data)

    def probe() -> bool:
        if not is_accepting_connections(data):
            return False
        try:
            _create_database(_make_url(private_sockets, "postgres"))
        except psycopg2.OperationalError:  # It has died or crashed since.
            return False
        _publish(sockets)
        return True

    async def clean_up() -> None:
        (sockets / _SOCKET).unlink(missing_ok=True)
        await remove_leftovers(data, private_sockets)

    parameters = _PARAMETERS | {"unix_socket_directories": str(private_sockets)}
    command = Command(
        name="postgres",
        # pg_ctl would make it a process of its own, whose death the supervisor would not notice.
        arguments=[
            PROGRAMS / "postgres",
            "-D",
            data,
            *(argument for name, value in parameters.items() for argument in ("-c", f"{name}={value}")),
        ],
        environment=ENVIRONMENT,
        # First a fast shutdown, which rolls back open transactions; then an immediate one, like a power failure, after
        # which the next start has to recover.
        stop_signals=[(signal.SIGINT, 15.0), (signal.SIGQUIT, 10.0)],
        user=user,
        working_directory=Path("/"),
    )
    # Crash recovery can take minutes, and killing PostgreSQL would only make it start over.
    process = SupervisedProcess(command, probe, startup_seconds=600.0, clean_up=clean_up)
    return process, _make_url(sockets, _DATABASE)


def _make_socket_directory(directory: Path, cleanup: contextlib.AsyncExitStack) -> Path:
    """Return a directory for sockets that only its owner can enter, in `directory` if that path can be used."""
    sockets = directory / "run"
    too_long = len(os.fsencode(sockets / "private" / _SOCKET)) > _MAX_SOCKET_PATH_BYTES
    # A comma separates directories, in PostgreSQL's parameter and in the host of a URL.
    if too_long or set(str(sockets)) & set(',"'):
        return Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp")))
    sockets.mkdir(mode=0o700, exist_ok=True)
    sockets.chmod(0o700)
    return sockets


def _make_url(sockets: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(sockets), safe='/')}&port={_PORT}"


def _create_database(url: str) -> None:
    """Create the service's database if it is missing. The URL is that of the database `postgres`."""
    with contextlib.closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True  # CREATE DATABASE cannot run in a transaction.
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (_DATABASE,))
            if not cursor.rowcount:
                cursor.execute(f"CREATE DATABASE {_DATABASE}")


def _publish(sockets: Path) -> None:
    """Link PostgreSQL's private socket to the place where clients look for it.

    Clients get "No such file or directory" until then. If they could connect while PostgreSQL recovers, each attempt
    would be a FATAL line in its log.
    """
    link = sockets / _SOCKET
    link.unlink(missing_ok=True)
    link.symlink_to(Path("private") / _SOCKET)
