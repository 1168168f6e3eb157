"""Searches, of which customers take turns."""

from server.access.caller import NotPermitted, get_caller
from server.sharing.turns import Turns
from storage import EventStore, Page, Query

# As many as storage has connections for. With two, the searches of one customer cost the server a third more, because
# it sleeps and wakes more often; with more than four, nothing less.
_SEARCHES = 6
_SEARCHES_EACH = 4


class Searcher:
    """The searches of one server. Belongs to one event loop."""

    def __init__(self, store: EventStore) -> None:
        """Create it without a search in flight."""
        self._store = store
        self.turns = Turns(_SEARCHES, places_each=_SEARCHES_EACH)
        """Those of the customers."""

    async def find(self, query: Query) -> Page:
        """Return the page that `query` asks for, as `EventStore.find` does.

        Raises:
            NotPermitted: the caller may not see these events.
        """
        caller = get_caller()
        if not caller.may_read(query.customer_id, query.user_id):
            raise NotPermitted
        customer = caller.find_share(query.customer_id)
        await self.turns.enter(customer)
        try:
            return await self._store.find(query)
        finally:
            self.turns.leave(customer)
