"""Whether the database can be reached, asked twice a second on a connection of its own."""

import asyncio
import logging
import time

import psycopg2
import psycopg2.extensions

from storage.connection import connect
from storage.daemon_thread import run_in_daemon_thread
from storage.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

# Bounds that say how late an event may become visible allow for more than this.
_MAX_SKEW_SECONDS = 5.0


class Availability:
    """The state of the database, so that callers learn of an outage at once rather than at a timeout.

    Assumed to be up until `watch` finds otherwise. Belongs to one event loop.
    """

    def __init__(self, url: str, *, interval: float = 0.5, timeout: float = 3.0) -> None:
        """Prepare to watch the database.

        Args:
            url: a libpq connection URI or string.
            interval: seconds between two checks.
            timeout: seconds until a database that accepts connections but does not answer counts as unavailable. It is
                long because a machine under full load may take a second to answer.
        """
        self._url = url
        self._interval = interval
        self._timeout = timeout
        self._connection: psycopg2.extensions.connection | None = None
        self._reason = ""
        self._is_skewed = False
        self._became = {True: asyncio.Event(), False: asyncio.Event()}
        self._became[True].set()

    @property
    def up(self) -> bool:
        """Whether the database answered the last check."""
        return self._became[True].is_set()

    async def wait_until(self, *, up: bool) -> None:
        """Wait until `self.up` is `up`. Return at once if it is."""
        await self._became[up].wait()

    async def watch(self) -> None:
        """Check the database until cancelled."""
        while True:
            # Each check in a thread of its own, because it may hang.
            check = asyncio.ensure_future(run_in_daemon_thread(self._check, "availability"))
            await asyncio.wait({check}, timeout=self._timeout)
            if not check.done():
                self._reason = "it does not answer"
                self._set(False)
            self._set(await check)
            await asyncio.sleep(self._interval)

    def _set(self, up: bool) -> None:
        if up == self.up:
            return
        self._became[not up].clear()
        self._became[up].set()
        if up:
            log.info("database available again")
        else:
            log.error("database unavailable", extra={"reason": self._reason})

    def _compare_clocks(self, before: float, clock: float, after: float) -> None:
        """Log if the database's clock differs from this machine's, whose time events get."""
        seconds = max(before - clock, clock - after)
        is_off = seconds > _MAX_SKEW_SECONDS
        if is_off and not self._is_skewed:
            log.error("this machine's clock and the database's differ", extra={"seconds": round(seconds, 1)})
        elif self._is_skewed and not is_off:
            log.info("this machine's clock and the database's agree again")
        self._is_skewed = is_off

    def _check(self) -> bool:
        while True:
            is_new = self._connection is None
            try:
                if self._connection is None:
                    self._connection = connect(self._url, "analytics availability", {})
                with self._connection.cursor() as cursor:
                    asked_at = time.time()
                    cursor.execute("SELECT pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8")
                    ((is_standby, clock),) = cursor.fetchall()
                    self._compare_clocks(asked_at, clock, time.time())
                    self._reason = "it is a standby"
                    return not is_standby
            except Exception as error:
                # A check that raised would end `watch`, and an outage would then last for ever.
                if not isinstance(error, DatabaseUnavailable | psycopg2.Error):
                    log.exception("unexpected error while checking the database")
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                if is_new:
                    # A server that rejects a connection quotes nothing that a customer sent.
                    self._reason = str(error) if isinstance(error, DatabaseUnavailable) else type(error).__name__
                    return False
                # The loss of an old connection alone says nothing about the database: check on a new one.
