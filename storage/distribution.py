"""The tables distributed over the nodes of a Citus cluster, by customer, while others write to them.

It is done outside of a transaction, table by table. After a failure in the middle, it goes on where it was.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg2
from psycopg2.errorcodes import LOCK_NOT_AVAILABLE

from storage.cluster import COLUMN, check_cluster, find_slow_recovery
from storage.connection import connect
from storage.errors import UnfitDatabase
from storage.privileges import FUNCTIONS
from storage.schema import PAUSE_SECONDS, find_blockers, find_pending, wait_for_lock
from storage.tables import DISTRIBUTED, LOCAL, REFERENCE, TABLES

SHARDS = 32
"""How many shards the events are in, unless another number is asked for. So many nodes can share them at most."""

_EVENTS = DISTRIBUTED[0]

# Shards are copied on several connections.
_SESSION = {"citus.max_adaptive_executor_pool_size": "16", "client_min_messages": "warning"}

_FIND_TYPES = """
SELECT table_name::text, citus_table_type FROM citus_tables
WHERE table_name IN (SELECT to_regclass(name) FROM unnest(%s) AS name)
"""
_FIND_SHARES = """
SELECT nodename || ':' || nodeport, count(DISTINCT shardid), sum(shard_size)::bigint FROM citus_shards
WHERE table_name IN (SELECT to_regclass(name) FROM unnest(%s) AS name) GROUP BY 1 ORDER BY 1
"""


class Share(NamedTuple):
    """What a node has of the distributed tables."""

    node: str
    shards: int
    bytes: int


def distribute(url: str, shards: int, report: Callable[[str], None]) -> tuple[list[str], list[Share]]:
    """Distribute the tables that are not distributed yet. Return their names, and what each node then has.

    A table that is in use is copied while others write to it. For locks it waits a second at a time, as a migration
    does.

    Args:
        url: the database of the coordinator, as the owner of its tables.
        shards: how many shards the events are in, if they are not distributed yet.
        report: called with a line for people.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        UnfitDatabase: it cannot be distributed, and nothing was changed. The text says why.
        psycopg2.Error: it refuses a statement.
    """
    if pending := find_pending(url):
        raise UnfitDatabase(f"the schema lacks {', '.join(pending)}: run `python -m storage.migrate`")
    with (
        contextlib.closing(connect(url, "analytics distribute", _SESSION)) as connection,
        connection.cursor() as cursor,
    ):
        check_cluster(cursor)
        for line in find_slow_recovery(cursor):
            report(line)
        wait_for_lock(cursor)
        cursor.execute("SELECT set_config('citus.shard_count', %s, false)", (str(shards),))
        done = _distribute(cursor, report)
        cursor.execute(_FIND_SHARES, (list(DISTRIBUTED),))
        return done, [Share._make(row) for row in cursor.fetchall()]


def _distribute(cursor: Any, report: Callable[[str], None]) -> list[str]:
    cursor.execute(_FIND_TYPES, (list(TABLES),))
    types = dict(cursor.fetchall())
    # A server that starts on any node asks for the migrations, and for what users are blocked, before it stores events.
    statements = {
        **{table: _make_reference(table) for table in REFERENCE if types.get(table) != "reference"},
        **{table: [f"SELECT citus_add_local_table_to_metadata('{table}')"] for table in LOCAL if table not in types},
        **{table: _make_distributed(table) for table in DISTRIBUTED if types.get(table) != "distributed"},
    }
    for table, each in statements.items():
        report(f"{table} …")
        for statement in each:
            _execute(cursor, table, statement, report)
    for function in FUNCTIONS:
        # At once, because everybody may execute a function that is new on a node.
        create = f"SELECT create_distributed_function('{function}')"
        _execute(cursor, function, f"{create}; REVOKE ALL ON FUNCTION {function} FROM PUBLIC", report)
    return list(statements)


def _make_reference(table: str) -> list[str]:
    """Return what copies a table to every node, and then removes what is no longer read of it here."""
    return [
        f"SELECT create_reference_table('{table}')",
        f"SELECT truncate_local_data_after_distributing_table('{table}')",
    ]


def _make_distributed(table: str) -> list[str]:
    colocated = "default" if table == _EVENTS else _EVENTS
    return [f"SELECT create_distributed_table_concurrently('{table}', '{COLUMN}', colocate_with := '{colocated}')"]


def _execute(cursor: Any, name: str, statement: str, report: Callable[[str], None]) -> None:
    """Execute a statement, once it gets its locks."""
    while True:
        cursor.execute("SET lock_timeout = '1s'")
        try:
            cursor.execute(statement)
        except psycopg2.Error as error:
            if error.pgcode != LOCK_NOT_AVAILABLE:
                raise
            report(f"{name} waits for {find_blockers(cursor)}")
            time.sleep(PAUSE_SECONDS)
        else:
            return
        finally:
            cursor.execute("SET lock_timeout = 0")
