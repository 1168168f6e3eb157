"""Connections to PostgreSQL: how they are opened, and when an error means that one is lost."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
import psycopg2.extensions

from storage import sqlstates
from storage.errors import DatabaseUnavailable, NodeUnavailable
from storage.hosts import try_hosts

CONNECT_SECONDS = 2
"""How long the database has to accept a connection."""

# Over TCP, a peer that vanished is noticed within about 5 s. On a Unix socket these have no effect.
_KEEPALIVE = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}

# Whatever the database's default is, what is acknowledged is on disk, and on that of a synchronous standby if there is
# one. A default that waits for even more is kept.
_WAIT_FOR_COMMITS = (
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)"
)

# For Citus; PostgreSQL alone ignores them. A statement on many shards opens one connection to each node, not one for
# each shard. A node that accepts no connection is not waited for.
_CITUS = {
    "citus.max_adaptive_executor_pool_size": "1",
    "citus.node_connection_timeout": f"{CONNECT_SECONDS}s",
}

# Citus has no generic plans: it has to know whose events a statement is about.
_PLAN_FOR_A_CUSTOMER = (
    "CASE WHEN current_setting('citus.version', true) IS NOT NULL THEN set_config('plan_cache_mode', 'auto', false) END"
)


def check_url(url: str) -> None:
    """Raise ValueError, without quoting `url`, if libpq cannot parse it. Does not connect."""
    if _has_misplaced_at(url):
        # libpq would take a part of the password for a host or a port, and quote that in its messages.
        raise ValueError("@, / and % in a password must be written as %40, %2F and %25")
    try:
        psycopg2.extensions.parse_dsn(url)
    except psycopg2.ProgrammingError as error:
        # libpq's message quotes the whole URL, or what it takes for a word of it: either may be the password.
        reason = re.sub(r'(missing "=" after )?".*"', r'\1"…"', str(error).strip().replace(url, "…"))
        raise ValueError(f"{reason}: it must be like postgresql://user@host/name") from None


def count_hosts(url: str) -> int:
    """Return how many hosts `url` names."""
    parameters = psycopg2.extensions.parse_dsn(url)
    return max(len(parameters.get(name, "").split(",")) for name in ("host", "hostaddr"))


def _has_misplaced_at(url: str) -> bool:
    """Return whether an @ of a URI stands elsewhere than at the end of the user and the password."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("?")[0].partition("/")
    return scheme in ("postgres", "postgresql") and (authority.count("@") > 1 or "@" in path)


def connect(url: str, name: str, settings: Mapping[str, str]) -> psycopg2.extensions.connection:
    """Open a connection in autocommit mode.

    Args:
        url: a libpq connection URI or string.
        name: the application_name that pg_stat_activity shows.
        settings: run-time parameters of the session, such as {"statement_timeout": "5000"}. Unless they say otherwise,
            a commit waits until it is on disk, and on that of a synchronous standby.

    Raises:
        DatabaseUnavailable: the database cannot be reached or rejects the connection.
    """
    connection = try_hosts(url, make_parameters(url, name), _connect_to_host)
    with translated_errors():
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(*make_configuration(settings))
        except BaseException:
            connection.close()
            raise
    return connection


def _connect_to_host(parameters: Mapping[str, Any]) -> psycopg2.extensions.connection:
    with translated_errors():
        connection: psycopg2.extensions.connection = psycopg2.connect(**parameters)
    return connection


def make_parameters(url: str, name: str) -> dict[str, Any]:
    """Return psycopg2's keyword arguments for a connection as `connect` describes it, but for its settings."""
    own = {"application_name": name, "client_encoding": "UTF8"}
    return {**_KEEPALIVE, **psycopg2.extensions.parse_dsn(url), **own}


def make_configuration(settings: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the first statement of a session, and its values.

    It is a statement because poolers refuse, or drop, the settings that are sent when a connection is opened.
    """
    settings = {"timezone": "UTC", **_CITUS, **settings}
    calls = ["set_config(%s, %s, false)"] * len(settings)
    if "synchronous_commit" not in settings:
        calls.append(_WAIT_FOR_COMMITS)
    if "plan_cache_mode" in settings:
        calls.append(_PLAN_FOR_A_CUSTOMER)
    return f"SELECT {', '.join(calls)}", [text for pair in settings.items() for text in pair]


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Raise DatabaseUnavailable in place of psycopg2's errors about a connection that cannot be opened."""
    try:
        yield
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailable(str(error).strip().partition("\n")[0]) from None
    except UnicodeDecodeError:
        # The server's message is in an encoding that it does not announce.
        raise DatabaseUnavailable("it refuses connections") from None


def has_ended_wait(connection: psycopg2.extensions.connection) -> bool:
    """Return whether somebody has ended the wait of the last commit for its standby, by pg_cancel_backend, say.

    PostgreSQL reports such a commit as done, with a warning, in whatever language.
    """
    with contextlib.suppress(psycopg2.Error):  # A connection that is lost now has said before what it had to say.
        connection.poll()  # After a COPY, and between two results, psycopg2 keeps warnings back until then: 0.4 µs.
    notices = connection.notices
    return bool(notices) and "synchron" in notices[-1].lower()


def is_lost(connection: psycopg2.extensions.connection, error: psycopg2.Error) -> bool:
    """Return whether `error` means that the database is unavailable rather than that it rejected the statement."""
    if connection.closed or isinstance(error, psycopg2.InterfaceError):
        return True
    if error.pgcode is None:
        # libpq reported this, not the server. A bare DatabaseError is a reply that broke off in the middle of a COPY.
        return isinstance(error, psycopg2.OperationalError) or type(error) is psycopg2.DatabaseError
    return sqlstates.is_unavailable(error.pgcode)


def make_unavailable(connection: psycopg2.extensions.connection, error: psycopg2.Error) -> DatabaseUnavailable:
    """Return what to report for an error of which `is_lost` is true."""
    of_node = not connection.closed and sqlstates.is_of_node(error.pgcode or "")
    return (NodeUnavailable if of_node else DatabaseUnavailable)(f"SQLSTATE {error.pgcode}")
