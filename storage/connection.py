"""Connections to PostgreSQL, and what their errors mean."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
import psycopg2.extensions

from storage.errors import DatabaseUnavailable

CONNECT_SECONDS = 2
"""How long the database has to let us in."""

# Noticing a peer that vanished without a word: at most about 5 s over TCP; on a Unix socket they do nothing.
_KEEPALIVE = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}

# SQLSTATE classes and codes that speak of the server and not of what it was sent: connection exception, insufficient
# resources, operator intervention (shutdown, start-up), system error, and a server that has become a standby.
_UNAVAILABLE_CLASSES = ("08", "53", "57P", "58")
_READ_ONLY = "25006"


def check_url(url: str) -> None:
    """Raises ValueError if libpq cannot make sense of `url`; the message does not quote it. Does not connect."""
    try:
        psycopg2.extensions.parse_dsn(url)
    except psycopg2.ProgrammingError as error:
        # libpq quotes all of it, password included, when it complains.
        reason = str(error).strip().replace(url, "…")
        raise ValueError(f"{reason}: it must be like postgresql://user@host/name") from None


def connect(url: str, name: str, settings: Mapping[str, str]) -> psycopg2.extensions.connection:
    """Opens a connection in autocommit mode.

    Args:
        url: a libpq connection URI or string.
        name: what pg_stat_activity shows as application_name.
        settings: run-time parameters of the session, such as {"statement_timeout": "5000"}.

    Raises:
        DatabaseUnavailable: the database cannot be reached or does not let us in.
    """
    with unavailable():
        connection: psycopg2.extensions.connection = psycopg2.connect(**parameters(url, name, settings))
    connection.autocommit = True
    return connection


def parameters(url: str, name: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """What psycopg2 is to be given for the arguments of `connect`."""
    given: dict[str, Any] = {**_KEEPALIVE, **psycopg2.extensions.parse_dsn(url), "application_name": name}
    settings = {"timezone": "UTC", "client_encoding": "UTF8", **settings}
    given["options"] = " ".join(
        [given.get("options", ""), *(f"-c {key}={value}" for key, value in settings.items())]
    ).strip()
    return given


@contextlib.contextmanager
def unavailable() -> Iterator[None]:
    """Turns what psycopg2 says of a database that it cannot connect to into DatabaseUnavailable."""
    try:
        yield
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailable(str(error).strip().partition("\n")[0]) from None
    except UnicodeDecodeError:
        # Its reason, in a language and an encoding of its own.
        raise DatabaseUnavailable("it refuses connections") from None


def is_lost(connection: psycopg2.extensions.connection, error: psycopg2.Error) -> bool:
    """Whether `error` means that the database is not there (now), rather than that it disliked what it was sent."""
    if connection.closed or isinstance(error, psycopg2.InterfaceError):
        return True
    state = error.pgcode
    if state is None:
        # Not the server said it, but libpq. A bare DatabaseError is an answer that broke off in the middle of a COPY.
        return isinstance(error, psycopg2.OperationalError) or type(error) is psycopg2.DatabaseError
    return state.startswith(_UNAVAILABLE_CLASSES) or state == _READ_ONLY
