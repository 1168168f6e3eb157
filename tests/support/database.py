"""Access to the database behind the server's back: to see what is stored, and to cause faults from outside."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from psycopg2 import sql as composed

from storage.privileges import SERVER_ROLE
from tests.support.until import until

ONE_NODE = pytest.mark.skipif(bool(os.environ.get("CITUS_URL")), reason="looks at a single PostgreSQL from within")
"""For tests that see what the nodes of a cluster do not show."""

AVAILABILITY = "analytics availability"
"""The application_name of the connection that checks whether the database answers."""


def as_server(url: str) -> str:
    """Return the URL of the same database in the role of the servers."""
    dsn: str = psycopg2.extensions.make_dsn(url, user=SERVER_ROLE)
    return dsn


def query(url: str, sql: str, *values: object) -> list[Any]:
    """Return the rows of a query."""
    with _connected(url) as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall())


def count_events(url: str, customer: str) -> int:
    """Return how many events of a customer are stored."""
    ((number,),) = query(url, "SELECT count(*) FROM analytics_event WHERE customer_id = %s", customer)
    return int(number)


def execute(url: str, sql: str | composed.Composable) -> None:
    """Execute a statement in autocommit mode, as CREATE DATABASE and ALTER DATABASE need it."""
    with _connected(url) as cursor:
        cursor.execute(sql)


@contextlib.contextmanager
def locked_table(url: str) -> Iterator[None]:
    """Lock the events table: until the block ends, every statement on it hangs."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE analytics_event IN ACCESS EXCLUSIVE MODE")
        yield


def backends(url: str, application_name: str) -> set[int]:
    """Return the process ids of PostgreSQL's backends for the database's connections of that name."""
    rows = query(
        _administration(url),
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
        _name(url),
        application_name,
    )
    return {pid for (pid,) in rows}


def blocked_backends(url: str) -> set[int]:
    """Return the process ids of the backends whose statement waits for a lock in the database."""
    rows = query(
        _administration(url),
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'",
        _name(url),
    )
    return {pid for (pid,) in rows}


def terminate_backends(url: str, application_name: str) -> set[int]:
    """Ask the backends of the connections of that name to end, do not wait for it, and return their process ids."""
    rows = query(
        _administration(url),
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
        _name(url),
        application_name,
    )
    return {pid for pid, _ in rows}


@contextlib.contextmanager
def frozen_backend(url: str, application_name: str) -> Iterator[int]:
    """Stop the backend of the newest connection of that name until the block ends; yield its process id.

    The newest, because a server that several tests share may have an older one.
    """
    ((pid,),) = query(
        _administration(url),
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
        " ORDER BY backend_start DESC LIMIT 1",
        _name(url),
        application_name,
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: _state(pid) == "T")
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def refusing_connections(url: str) -> Iterator[None]:
    """Make the database refuse new connections until the block ends, while the sessions that are open go on.

    A server notices within a second: the connection of its availability check is closed, and it gets no other one.
    The test itself gets none either, so it must lock the table, say, before.
    """
    alter = composed.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    name = composed.Identifier(_name(url))
    execute(_administration(url), alter.format(name, composed.SQL("false")))
    try:
        terminate_backends(url, AVAILABILITY)
        yield
    finally:
        execute(_administration(url), alter.format(name, composed.SQL("true")))


def _state(pid: int) -> str:
    """Return the state of a process: T if it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _name(url: str) -> str:
    name: str = psycopg2.extensions.parse_dsn(url)["dbname"]
    return name


def _administration(url: str) -> str:
    """Return the URL of the server's own database, which can be reached whatever happens to the one at `url`."""
    dsn: str = psycopg2.extensions.make_dsn(url, dbname="postgres")
    return dsn


@contextlib.contextmanager
def _connected(url: str) -> Iterator[psycopg2.extensions.cursor]:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
