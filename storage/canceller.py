"""Ends statements for which nobody waits any more, by a connection of its own that the event loop drives.

psycopg2's own `cancel` would hold up every thread of the process until the database has answered.
"""

import asyncio
import logging

import psycopg2

from storage.async_connection import AsyncConnection
from storage.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

# Only a backend of the given name: behind a pooler, the number that a connection is told may be that of another one.
_CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE pid = %s AND application_name = %s AND usename = current_user AND state = 'active'
"""


class Canceller:
    """The connection that ends statements of others. Opened at its first use. Belongs to one event loop."""

    def __init__(self, url: str, target: str) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string.
            target: the name of the connections whose statements are to be ended.
        """
        self._url = url
        self._target = target
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def cancel(self, backend: int) -> None:
        """Have the database end the statement that a backend executes, if it still does.

        Args:
            backend: the number of the backend's process.
        """
        async with self._turn:
            try:
                if self._connection is None:
                    settings = {"statement_timeout": "1000"}
                    self._connection = await AsyncConnection.open(self._url, "analytics cancel", settings)
                await self._connection.execute(_CANCEL, (backend, self._target))
            except (DatabaseUnavailable, psycopg2.Error) as error:
                # The statement then ends at its own timeout.
                log.warning("a statement could not be cancelled", extra={"reason": type(error).__name__})
                self.close()
            except asyncio.CancelledError:
                self.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
