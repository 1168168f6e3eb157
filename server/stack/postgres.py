"""The embedded PostgreSQL: the real server, on a Unix socket, with its data in the stack's data directory."""

import contextlib
import signal
from pathlib import Path
from urllib.parse import quote

import psycopg2

from server.stack.child_process import Command
from server.stack.libpq import forget_variables
from server.stack.pgdata import (
    PROGRAMS,
    initialise,
    is_accepting_connections,
    is_initialised,
    make_environment,
    remove_leftovers,
)
from server.stack.settings import DatabaseUrls
from server.stack.supervised_process import SupervisedProcess
from storage.privileges import SERVER_ROLE

_DATABASE = "analytics"
_OWNER = "postgres"
_PORT = 5432  # Only part of the socket's name: nothing listens on TCP.
SOCKET = f".s.PGSQL.{_PORT}"
"""The name of the socket on which clients reach it, in the directory for Unix sockets."""

_PARAMETERS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "300",  # Eight workers may open 26 each.
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


async def prepare_postgres(directory: Path, run: Path) -> tuple[SupervisedProcess, DatabaseUrls]:
    """Return PostgreSQL, ready to be started, and the URLs of its database.

    The variables of libpq are removed from the environment of this process: see `forget_variables`.

    Args:
        directory: An absolute path. The data is in its subdirectory `postgres`, which is created if it is missing.
            Nothing else may use the directory at the same time.
        run: The directory for Unix sockets.

    Raises:
        StackError: PostgreSQL cannot run here; the message says why.
        OSError: a file cannot be read or written.
    """
    forget_variables()
    data = directory / "postgres"
    if not is_initialised(data):
        await initialise(data)
    private_sockets = run / "private"
    private_sockets.mkdir(exist_ok=True)

    def probe() -> str | None:
        if not is_accepting_connections(data):
            return "it is starting, or recovering what an earlier one left unfinished"
        try:
            _prepare_database(_make_url(private_sockets, _OWNER, "postgres"))
        except psycopg2.Error as error:  # It has died or crashed since, for one.
            return " ".join(str(error).split())
        _publish(run)
        return None

    async def clean_up() -> None:
        (run / SOCKET).unlink(missing_ok=True)
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
        environment=make_environment(),
        # First a fast shutdown, which rolls back open transactions; then an immediate one, like a power failure, after
        # which the next start has to recover.
        stop_signals=[(signal.SIGINT, 15.0), (signal.SIGQUIT, 10.0)],
        working_directory=Path("/"),
    )
    # Crash recovery can take minutes, and killing PostgreSQL would only make it start over.
    process = SupervisedProcess(command, probe, startup_seconds=600.0, clean_up=clean_up)
    return process, DatabaseUrls(_make_url(run, SERVER_ROLE, _DATABASE), make_owner_url(run))


def make_owner_url(run: Path) -> str:
    """Return the URL of the database as its owner.

    Args:
        run: The directory for Unix sockets.
    """
    return _make_url(run, _OWNER, _DATABASE)


def _make_url(sockets: Path, role: str, database: str) -> str:
    return f"postgresql://{role}@/{database}?host={quote(str(sockets), safe='/')}&port={_PORT}"


def _prepare_database(url: str) -> None:
    """Create the service's database and the workers' role if they are missing.

    The role may connect to that one database. It gets its privileges on tables from `storage.migrate`.

    Args:
        url: The database `postgres`, as the owner of the other one.
    """
    with contextlib.closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True  # CREATE DATABASE cannot run in a transaction.
        with connection.cursor() as cursor:
            cursor.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (SERVER_ROLE,))
            if not cursor.rowcount:
                cursor.execute(f"CREATE ROLE {SERVER_ROLE} LOGIN")
            elif cursor.fetchone() == (False,):
                cursor.execute(f"ALTER ROLE {SERVER_ROLE} LOGIN")
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (_DATABASE,))
            if not cursor.rowcount:
                cursor.execute(f"CREATE DATABASE {_DATABASE}")
            # By default, every role may connect to every database and create temporary tables in it.
            cursor.execute(f"REVOKE ALL ON DATABASE {_DATABASE}, postgres, template1 FROM PUBLIC")
            cursor.execute(f"GRANT CONNECT ON DATABASE {_DATABASE} TO {SERVER_ROLE}")


def _publish(sockets: Path) -> None:
    """Link PostgreSQL's private socket to the place where clients look for it.

    Clients get "No such file or directory" until then. If they could connect while PostgreSQL recovers, each attempt
    would be a FATAL line in its log.
    """
    link = sockets / SOCKET
    link.unlink(missing_ok=True)
    link.symlink_to(Path("private") / SOCKET)
