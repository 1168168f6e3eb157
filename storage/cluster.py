"""What a Citus cluster needs before the tables can be distributed over its nodes."""

from collections.abc import Iterator
from typing import Any

from storage.errors import UnfitDatabase
from storage.tables import DISTRIBUTED

COLUMN = "customer_id"
"""What the tables are distributed by."""

IS_CLUSTER = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
"""Whether the database is one of a Citus cluster."""

_SETTINGS = {
    "synchronous_commit": (("on", "remote_apply"), "an event that is acknowledged might be lost"),
    "fsync": (("on",), "a power failure might lose or damage everything"),
    "wal_level": (("logical",), "a table that is in use cannot be moved"),
    "server_encoding": (("UTF8",), "it cannot hold every text"),
}
"""What each node has to be set to, and what happens otherwise."""

# After a node has died in the middle of a commit, it takes so long until an acknowledged event can be found.
_MAX_RECOVERY_MILLISECONDS = 5_000

_EXTENSION = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus'),
  EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citus'), current_setting('citus.version', true) IS NOT NULL
"""
# The coordinator is group 0.
_FIND_GROUPS = """
SELECT groupid, ARRAY(SELECT groupid FROM pg_dist_node WHERE isactive AND noderole = 'primary')
FROM pg_dist_local_group
"""
_FIND_UNREACHABLE = """
SELECT from_nodename || ':' || from_nodeport, to_nodename || ':' || to_nodeport
FROM citus_check_cluster_node_health() WHERE result IS NOT TRUE
"""
_ASK_NODES = """
SELECT node.nodename || ':' || node.nodeport, answer.success, answer.result
FROM run_command_on_all_nodes(%s) AS answer JOIN pg_dist_node AS node USING (nodeid)
"""
_FIND_COLUMNS = """
SELECT table_name::text, distribution_column FROM citus_tables
WHERE citus_table_type = 'distributed' AND table_name IN (SELECT to_regclass(name) FROM unnest(%s) AS name)
"""


def check_cluster(cursor: Any) -> None:
    """Raise UnfitDatabase if the tables cannot be distributed, with the reason in one line.

    Args:
        cursor: of a connection to the coordinator.
    """
    _check_coordinator(cursor)
    check_nodes(cursor)
    cursor.execute(_FIND_COLUMNS, (list(DISTRIBUTED),))
    for table, column in cursor.fetchall():
        if column != COLUMN:
            raise UnfitDatabase(f"the table {table} is distributed by {column}, not by {COLUMN}")


def is_cluster(cursor: Any) -> bool:
    """Return whether the database is one of a Citus cluster."""
    cursor.execute(IS_CLUSTER)
    return bool(cursor.fetchone() == (True,))


def check_nodes(cursor: Any) -> None:
    """Raise UnfitDatabase if one of the nodes cannot be reached, or is not set as it has to be.

    Args:
        cursor: of a connection to any node.
    """
    cursor.execute(_FIND_UNREACHABLE)
    if unreachable := cursor.fetchall():
        raise UnfitDatabase("; ".join(f"the node {one} cannot reach {other}" for one, other in unreachable))
    for name, (good, otherwise) in _SETTINGS.items():
        for node, value in _ask_nodes(cursor, name):
            if value not in good:
                raise UnfitDatabase(f"{name} is {value} on the node {node}: {otherwise}")


def find_slow_recovery(cursor: Any) -> Iterator[str]:
    """Yield a warning for each node that is slow to end a commit that it was interrupted in."""
    for node, value in _ask_nodes(cursor, "citus.recover_2pc_interval"):
        milliseconds = int(value)
        if not 0 <= milliseconds <= _MAX_RECOVERY_MILLISECONDS:
            yield (
                f"citus.recover_2pc_interval is {milliseconds / 1000:g} s on the node {node}: if a node dies, an event"
                " that is acknowledged may not be found for so long. 2s is better"
            )


def _check_coordinator(cursor: Any) -> None:
    cursor.execute(_EXTENSION)
    ((is_created, is_available, is_loaded),) = cursor.fetchall()
    if not is_available:
        raise UnfitDatabase("this PostgreSQL has no Citus: its extension is to be installed on every node")
    if not is_loaded:
        raise UnfitDatabase("Citus is not loaded: begin shared_preload_libraries with citus, and restart every node")
    if not is_created:
        raise UnfitDatabase("the database has no Citus: execute CREATE EXTENSION citus in it, on every node")
    cursor.execute(_FIND_GROUPS)
    ((here, groups),) = cursor.fetchall()
    if here != 0:
        raise UnfitDatabase("this is not the coordinator: the tables are distributed from there")
    if 0 not in groups:
        raise UnfitDatabase("the nodes do not know the coordinator: SELECT citus_set_coordinator_host('HOST', PORT)")
    if groups == [0]:
        raise UnfitDatabase("the cluster has no other node: SELECT citus_add_node('HOST', PORT)")


def _ask_nodes(cursor: Any, setting: str) -> list[tuple[str, str]]:
    """Return each node, and what a setting is there by default."""
    cursor.execute(_ASK_NODES, (f"SELECT reset_val FROM pg_settings WHERE name = '{setting}'",))  # noqa: S608 - of this file
    answers = []
    for node, is_answered, value in cursor.fetchall():
        if not is_answered:
            raise UnfitDatabase(f"the node {node} does not answer: {value.strip().splitlines()[0]}")
        answers.append((node, value))
    return answers
