"""Searches, of which customers take turns."""

from server.sharing.turns import Turns
from storage import EventStore, Page, Query

# As many as storage has connections for, half of them for one customer. The rate is the same with 2 as with 16.
_SEARCHES = 4
_SEARCHES_EACH = 2


class Searcher:
    """The searches of one server. Belongs to one event loop."""

    def __init__(self, store: EventStore) -> None:
        """Create it without a search in flight."""
        self._store = store
        self._turns = Turns(_SEARCHES, places_each=_SEARCHES_EACH)

    async def find(self, query: Query) -> Page:
        """Return the page that `query` asks for, as `EventStore.find` does."""
        async with self._turns.wait(query.customer_id):
            return await self._store.find(query)
