"""What the service needs of a database, and of the way to it, that no migration can give it."""

import contextlib
from typing import Any

import psycopg2

from storage.connection import connect
from storage.errors import DatabaseUnavailable, UnfitDatabase

MIN_VERSION = 15

_SET = "SELECT set_config('analytics.session', 'kept', false)"
_READ = "SELECT current_setting('analytics.session', true)"


def check_database(cursor: Any) -> None:
    """Raise UnfitDatabase if the database cannot hold what it is given.

    Args:
        cursor: of a connection to it.
    """
    cursor.execute("SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding')")
    version, encoding = cursor.fetchone()
    if version < MIN_VERSION:
        raise UnfitDatabase(f"it is PostgreSQL {version}, and {MIN_VERSION} or later is needed")
    if encoding != "UTF8":
        raise UnfitDatabase(f"its encoding is {encoding}, which cannot hold every text: create it with ENCODING 'UTF8'")


def check_sessions(url: str) -> None:
    """Raise UnfitDatabase if a pooler gives the statements of one connection to several sessions of the database.

    Then what a connection has set or prepared would be lost, or met by others: `synchronous_commit`, time limits, the
    time zone and prepared statements.

    Args:
        url: a libpq connection URI or string.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    with (
        contextlib.closing(connect(url, "analytics start", {})) as ours,
        contextlib.closing(connect(url, "analytics start", {})) as others,
        ours.cursor() as cursor,
        others.cursor() as holder,
    ):
        try:
            cursor.execute(_SET)
            # A transaction keeps the session that has just become free, if that was not ours for good.
            holder.execute("BEGIN")
            holder.execute("SELECT 1")
            cursor.execute(_READ)
            is_kept = cursor.fetchone() == ("kept",)
        except psycopg2.OperationalError as error:
            raise DatabaseUnavailable(str(error).strip().partition("\n")[0]) from None
        except psycopg2.Error:  # Such as that of a pooler that allows no transactions.
            is_kept = False
    if not is_kept:
        raise UnfitDatabase(
            "a pooler on the way shares sessions between connections, and what a session has set would be lost: let it "
            "pool sessions (pool_mode = session), or go around it"
        )
