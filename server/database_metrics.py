"""PostgreSQL's side of the metrics, read at most every 15 s, by whichever worker is asked."""

import asyncio
from functools import partial

from server.metrics import catalog
from server.metrics.exposition import Exposition
from storage.statistics import Statistics, read_statistics

_SECONDS = 15.0

# How long a scrape waits for the database. It then goes without.
_WAIT_SECONDS = 2.0


class DatabaseMetrics:
    """The metrics of the database. Belongs to one event loop."""

    def __init__(self, url: str) -> None:
        """Prepare to connect when somebody asks.

        Args:
            url: a libpq connection URI or string.
        """
        self._url = url
        self._text = ""
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def render(self) -> str:
        """Return them as text."""
        if self._loop.time() - self._read_at > _SECONDS:
            if self._reading is None or self._reading.done():
                self._reading = self._loop.create_task(self._read())
            await asyncio.wait([self._reading], timeout=_WAIT_SECONDS)
            if not self._reading.done():
                return _describe(None)
        return self._text

    async def _read(self) -> None:
        self._text = _describe(await read_statistics(self._url))
        self._read_at = self._loop.time()

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()


def _describe(statistics: Statistics | None) -> str:
    exposition = Exposition()
    exposition.add(catalog.SAMPLED, lambda: statistics is not None)
    if statistics is None:
        return exposition.render()
    for table in statistics.tables:
        for reading, number in (
            (catalog.TABLE_BYTES, table.table_bytes),
            (catalog.INDEX_BYTES, table.index_bytes),
            (catalog.DEAD_ROWS, table.dead_rows),
            (catalog.VACUUM_ROWS, table.rows_since_vacuum),
        ):
            exposition.add(reading, partial(float, number), table.name)
    readings = (
        catalog.CONNECTIONS,
        catalog.MAX_CONNECTIONS,
        catalog.SEES_ALL,
        catalog.OLDEST_TRANSACTION,
        catalog.OLDEST_PREPARED,
        catalog.STANDBYS,
        catalog.REPLICATION_SECONDS,
        catalog.REPLICATION_BYTES,
    )
    for reading, value in zip(readings, statistics[1:], strict=True):
        exposition.add(reading, partial(float, value))
    return exposition.render()
