"""What searches, lists and exports events in one PostgreSQL: the primary, or a replica of it."""

import time
from collections.abc import Callable

from storage.event import Query
from storage.export import ExportQuery, Exports
from storage.ids import LAST, get_milliseconds
from storage.listing import Lists
from storage.search import Searches
from storage.selection import ListQuery

# How long after its id was made an event may appear in a replica that is used: the writers take a minute at most, a
# replica is 10 s behind at most, and clocks differ by a few seconds.
_SETTLED_MILLISECONDS = 120_000


class Readers:
    """The connections for that. Belongs to one event loop."""

    def __init__(self, url: str, ask: Callable[[str], None]) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string.
            ask: what has segments kept of a customer's events.
        """
        self.searches = Searches(url)
        self.lists = Lists(url, ask)
        self.exports = Exports(url)

    def abandon(self) -> None:
        """Raise DatabaseUnavailable in every call in flight, without waiting for a statement that hangs."""
        self.searches.abandon()
        self.lists.abandon()
        self.exports.abandon()

    async def close(self) -> None:
        """Abandon all calls. The database ends their statements, at their timeout at the latest."""
        await self.searches.close()
        await self.lists.close()
        await self.exports.close()


def may_lag(query: Query | ListQuery | ExportQuery) -> bool:
    """Return whether a result may be some seconds old.

    What begins may be. What goes on may have begun at the primary, or at a replica that was less far behind, and must
    not miss what there was then. So it needs the primary, unless it is about events that are in each replica by now.
    """
    if isinstance(query, ExportQuery):
        return query.until_id == LAST or _is_settled(query.until_id)
    if isinstance(query, ListQuery):
        return query.before_id == LAST or _is_settled(query.before_id)
    if query.place is None:
        return query.page == 1
    return query.page == 1 or _is_settled(query.place.before_id)


def _is_settled(bound: str) -> bool:
    """Return whether all events that there will ever be with lower ids are in each replica that is used."""
    return get_milliseconds(bound) < time.time() * 1000 - _SETTLED_MILLISECONDS
