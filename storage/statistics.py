"""What the database tells about itself: sizes, what autovacuum has to do, long transactions, standbys."""

import contextlib
from typing import Any, NamedTuple

import psycopg2

from storage.async_connection import AsyncConnection
from storage.errors import DatabaseUnavailable
from storage.tables import TABLES

# A table that is being altered is not waited for.
_SETTINGS = {"statement_timeout": "2000", "lock_timeout": "500"}

_TABLES = """
SELECT relname, pg_table_size(relid), pg_indexes_size(relid), n_dead_tup, n_dead_tup + n_ins_since_vacuum
FROM pg_stat_user_tables WHERE relid IN (SELECT to_regclass(name) FROM unnest(%s) AS name)
"""

# Of sessions of other roles, a role without pg_read_all_stats sees no times.
_SESSIONS = """
SELECT
  (SELECT sum(numbackends) FROM pg_stat_database),
  current_setting('max_connections')::int,
  pg_has_role('pg_read_all_stats', 'USAGE')::int,
  (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
   WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'),
  (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - prepared)), 0) FROM pg_prepared_xacts),
  (SELECT count(*) FROM pg_stat_replication),
  (SELECT coalesce(max(extract(epoch FROM replay_lag)), 0) FROM pg_stat_replication),
  (SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), 0) FROM pg_stat_replication)
"""


class TableStatistics(NamedTuple):
    """Those of one table."""

    name: str
    table_bytes: int
    index_bytes: int
    dead_rows: int
    rows_since_vacuum: int
    """Rows that were added or have died since autovacuum has passed."""


class Statistics(NamedTuple):
    """Those of the database."""

    tables: list[TableStatistics]
    connections: int
    """Of all programs, to all databases of this PostgreSQL."""
    max_connections: int
    sees_all_sessions: int
    """1 if the role sees how long transactions of others last, otherwise 0."""
    oldest_transaction_seconds: float
    oldest_prepared_seconds: float
    standbys: int
    replication_seconds: float
    replication_bytes: float


async def read_statistics(url: str) -> Statistics | None:
    """Return the statistics, on a connection that is closed afterwards. None if they cannot be had.

    Args:
        url: a libpq connection URI or string.
    """
    try:
        connection = await AsyncConnection.open(url, "analytics statistics", _SETTINGS)
    except (DatabaseUnavailable, psycopg2.Error):
        return None
    with contextlib.closing(connection):
        try:
            tables = await connection.execute(_TABLES, [list(TABLES)])
            ((connections, most, sees_all, *others),) = await connection.execute(_SESSIONS)
        except (DatabaseUnavailable, psycopg2.Error):
            return None
    numbers: list[Any] = [float(each) for each in others]
    return Statistics([TableStatistics(*each) for each in tables], int(connections), most, sees_all, *numbers)
