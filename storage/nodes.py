"""The nodes of a cluster, as a writer has to know them: which one has a customer's events, and which has just failed.

A batch holds events of many customers. If one node of several is away, the batch is written again node by node, so that
customers whose events are on other nodes notice nothing.
"""

import time
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import psycopg2
import psycopg2.extensions

from storage.model import AnalyticsEvent
from storage.rows import Row

# Citus. It takes a shard from memory, and asks no other node.
_FIND = f"""
SELECT customer_id, groupid FROM (
  SELECT customer_id, get_shard_id_for_distribution_column('{AnalyticsEvent._meta.table_name}', customer_id) AS shardid
  FROM unnest(%s) AS customer (customer_id)
) AS shard JOIN pg_dist_placement USING (shardid)
"""  # noqa: S608 - made of constants

# How long a node that has failed is left alone: a part of the time that is then spent on it, within these limits.
_MIN_SECONDS = 0.5
_MAX_SECONDS = 60.0
_SHARE = 10


class Nodes:
    """The nodes as one writer has met them."""

    def __init__(self) -> None:
        self._resting: dict[Hashable, float] = {}
        """Until when each node that has failed is left alone."""

    def split(
        self, connection: psycopg2.extensions.connection | None, rows: Sequence[Row]
    ) -> Mapping[Hashable, list[Row]]:
        """Return the rows of each node. If it cannot be told which one that is, each customer counts as a node."""
        customers = {row.event.customer_id for row in rows}
        nodes: dict[str, Hashable] = {}
        # psycopg2 refuses to send U+0000, and so refuses the customer.
        known = [customer for customer in customers if "\0" not in customer]
        if connection is not None:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_FIND, (known,))
                    nodes = dict(cursor.fetchall())
            except psycopg2.Error:
                pass  # It is no Citus, or the table is not distributed, or the connection is lost.
        of_nodes: dict[Hashable, list[Row]] = defaultdict(list)
        for row in rows:
            of_nodes[nodes.get(row.event.customer_id, row.event.customer_id)].append(row)
        return of_nodes

    def rest(self, node: Hashable, spent: float) -> None:
        """Leave a node alone for a while, on which `spent` seconds have been spent in vain."""
        self._resting[node] = time.monotonic() + min(max(spent * _SHARE, _MIN_SECONDS), _MAX_SECONDS)

    def find_resting(self) -> set[Hashable]:
        """Return the nodes that are left alone now."""
        if self._resting:
            now = time.monotonic()
            self._resting = {node: until for node, until in self._resting.items() if until > now}
        return set(self._resting)
