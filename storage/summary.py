"""Summaries: how many events of a customer there are, and of how many users, by up to two of their properties."""

from typing import NamedTuple

from storage.model import TIME_FORMAT, AnalyticsEvent
from storage.sessions import Sessions

NAME = "analytics summary"
"""The name by which the database lists the connections."""

SESSION = {
    # Of each step in memory, before it goes on in a file: 32 MiB for a sort, twice that for a hash table.
    "work_mem": "32MB",
    "jit": "off",
    # The whole table is never read. A page of it costs as much wherever it is: events lie in the order of time.
    "enable_seqscan": "off",
    "random_page_cost": "1.1",
    # A summary has one core, so that creates have the others.
    "max_parallel_workers_per_gather": "0",
}
"""The settings of a session that executes these statements."""


class SummaryQuery(NamedTuple):
    """A summary. Every condition must hold."""

    customer_id: str
    filters: tuple[tuple[str, str], ...]
    """Of `storage.listing.FILTERS`, the name and the value of each that is set."""
    since_id: str
    """Events are counted whose id is not less: see `storage.ids.make_bound`."""
    before_id: str
    """Events are counted whose id is less."""
    by: tuple[str, ...]
    """Of `GROUPS`, what the events are grouped by."""
    top: int
    """How many groups are wanted."""


class Group(NamedTuple):
    """The events that have some values in common."""

    values: tuple[str, ...]
    """One for each `SummaryQuery.by`."""
    events: int
    users: int
    last_created_at: str
    """That of the newest event, in the form of `Event.created_at`."""


class Summary(NamedTuple):
    """The result of a summary."""

    groups: list[Group]
    """Those with the most events first, then by their values."""
    events: int
    """Of all groups."""
    users: int
    """Of all groups."""
    more: bool
    """Whether there are more groups."""


_TEXTS = ("event_type", "tool_signature", "recording_id", "user_id", "entity_id")
# Arithmetic on the times alone, which takes a tenth of what date_trunc takes. Sessions are in UTC.
_TIMES = {"day": ("1 day", "YYYY-MM-DD"), "hour": ("1 hour", 'YYYY-MM-DD"T"HH24:MI:SS"Z"')}

GROUPS = (*_TIMES, *_TEXTS)
"""What events can be grouped by."""

# First by user too, so that users are counted without a sort.
_SUMMARIZE = """
WITH counted AS MATERIALIZED (
  SELECT {expressions}user_id, count(*)::int AS events, max(created_at) AS last_at FROM {table}
  WHERE customer_id = %s AND id >= %s AND id < %s{condition}
  GROUP BY {names}user_id
), listed AS (
  SELECT {names}sum(events) AS events, count(*) AS users, max(last_at) AS last_at FROM counted
  GROUP BY ({grouped}) ORDER BY events DESC{order} LIMIT %s
), total AS (
  SELECT coalesce(sum(events), 0)::bigint AS events, count(*) AS users
  FROM (SELECT sum(events) AS events FROM counted GROUP BY user_id) AS of_user
)
SELECT total.events, total.users, listed.events, listed.users, {last_at}{printed}
FROM total LEFT JOIN listed ON listed.users > 0 ORDER BY listed.events DESC{order}
"""


class Summaries:
    """The summaries of one event loop."""

    def __init__(self, url: str, *, connections: int = 2, max_waiting: int = 64, timeout: float = 10.0) -> None:
        """Prepare the sessions. Each connects at its first summary.

        Args:
            url: a libpq connection URI or string.
            connections: the number of summaries that are made at once.
            max_waiting: the number of further summaries that may wait.
            timeout: seconds until the database gives up a summary.
        """
        self._sessions = Sessions(url, NAME, SESSION, connections=connections, max_waiting=max_waiting, timeout=timeout)

    async def summarize(self, query: SummaryQuery) -> Summary:
        """Return the summary that `query` asks for. If the awaiting task is cancelled, end its statement.

        Raises:
            TooManySearches: the queue is full.
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: it took too long.
        """
        texts = [text for _, text in query.filters]
        values = (query.customer_id, query.since_id, query.before_id, *texts, query.top + 1)
        rows = await self._sessions.run(_make_sql(query), values)
        events, users = rows[0][:2]
        # The totals stand in a row of their own if there is no group.
        groups = [Group(row[5:], *row[2:5]) for row in rows if row[2] is not None]
        return Summary(groups[: query.top], events, users, len(groups) > query.top)

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self._sessions.abandon()

    async def close(self) -> None:
        """Abandon all calls. The database ends their statements, at their timeout at the latest."""
        await self._sessions.close()


def _make_sql(query: SummaryQuery) -> str:
    groups = {f"group_{number}": name for number, name in enumerate(query.by)}
    expressions = {group: _make_expression(name) for group, name in groups.items()}
    # By bytes, which for UTF-8 is by code points.
    order = [group if name in _TIMES else f'{group} COLLATE "C"' for group, name in groups.items()]
    printed = [
        _print_time(group, _TIMES[name][1]) if name in _TIMES else f"listed.{group}" for group, name in groups.items()
    ]
    return _SUMMARIZE.format(
        table=f'"{AnalyticsEvent._meta.table_name}"',
        condition="".join(f" AND {name} = %s" for name, _ in query.filters),
        expressions="".join(f"{expression} AS {group}, " for group, expression in expressions.items()),
        names="".join(f"{group}, " for group in groups),
        grouped=", ".join(groups),
        order="".join(f", {each}" for each in order),
        last_at=_print_time("last_at", TIME_FORMAT),
        printed="".join(f", {each}" for each in printed),
    )


def _make_expression(name: str) -> str:
    return f"date_bin('{_TIMES[name][0]}', created_at, timestamptz 'epoch')" if name in _TIMES else name


def _print_time(column: str, time_format: str) -> str:
    return f"to_char(listed.{column}, '{time_format}')"
