"""A connection for whatever need not be quick: it connects when it is needed, and its statements take turns."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from storage.async_connection import AsyncConnection
from storage.errors import DatabaseUnavailable, NodeUnavailable


class SingleConnection:
    """A connection that is opened again after it was lost. Belongs to one event loop."""

    def __init__(self, url: str, name: str, settings: Mapping[str, str], seconds: float) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string.
            name: the name by which the database lists the connection.
            settings: run-time parameters of the session.
            seconds: how long a statement may take.
        """
        self._url = url
        self._name = name
        self._settings = {**settings, "statement_timeout": str(int(seconds * 1000))}
        self._seconds = seconds
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def execute(self, sql: str, values: Sequence[Any] | None = None) -> list[Any]:
        """Execute a statement, after those that others wait for, and return its rows.

        Raises:
            DatabaseUnavailable: the database cannot be reached, or does not answer.
            psycopg2.Error: it rejected the statement.
        """
        async with self._turn:
            if self._connection is None:
                self._connection = await AsyncConnection.open(self._url, self._name, self._settings)
            try:
                async with asyncio.timeout(self._seconds + 1):
                    return await self._connection.execute(sql, values)
            except NodeUnavailable:
                raise
            except (DatabaseUnavailable, asyncio.CancelledError):
                self._connection = None
                raise
            except TimeoutError:
                self._connection = None
                raise DatabaseUnavailable("it does not answer") from None

    def disconnect(self) -> None:
        """Close the connection. What is in flight raises DatabaseUnavailable."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
