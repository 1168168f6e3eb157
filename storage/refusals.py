"""The refusals in the database: what keeps them and lists them, on one connection."""

import time

from psycopg2.errors import QueryCanceled

from storage.errors import SearchTimedOut
from storage.ids import make_bound
from storage.refusal import KEPT_DAYS, Refusal, RefusalQuery, make_insert, make_list, make_trim
from storage.single_connection import SingleConnection

_STATEMENT_SECONDS = 5.0
# To keep a refusal is no promise that has to survive the loss of a machine.
_SETTINGS = {"enable_seqscan": "off", "jit": "off", "synchronous_commit": "local"}
_KEPT_MILLISECONDS = KEPT_DAYS * 24 * 3_600_000


class Refusals:
    """The refusals of all customers. Belongs to one event loop."""

    def __init__(self, url: str) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string.
        """
        self._connection = SingleConnection(url, "analytics refusals", _SETTINGS, _STATEMENT_SECONDS)

    async def keep(self, customer_id: str, refusals: list[Refusal]) -> None:
        """Keep refusals of a customer, and let go of those that are then too many.

        Raises:
            DatabaseUnavailable: the database cannot be reached. They may be kept, and may be given again.
            psycopg2.Error: it rejected a statement.
        """
        await self._connection.execute(*make_insert(customer_id, refusals))
        for of_replays in {bool(refusal.replayed_event_id) for refusal in refusals}:
            await self._connection.execute(*make_trim(customer_id, of_replays=of_replays))

    async def find(self, query: RefusalQuery) -> list[Refusal]:
        """Return the refusals of a page, newest first, and one more if there is a next page.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
            SearchTimedOut: it took too long.
        """
        oldest = make_bound(int(time.time() * 1000) - _KEPT_MILLISECONDS)
        query = query._replace(since_id=max(query.since_id, oldest))
        try:
            rows = await self._connection.execute(*make_list(query))
        except QueryCanceled:
            raise SearchTimedOut from None
        return list(map(Refusal._make, rows))

    def disconnect(self) -> None:
        """Close the connection. What is in flight raises DatabaseUnavailable."""
        self._connection.disconnect()
