"""Whether the database can be reached and takes events, asked twice a second on a connection of its own."""

import asyncio
import logging
import secrets
import time
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from storage.commit_waits import FIND_OLDEST_WAIT, CommitWaits
from storage.connection import connect
from storage.daemon_thread import run_in_daemon_thread
from storage.errors import CommitsWait, DatabaseUnavailable
from storage.ids import FIRST, to_time
from storage.positions import Positions
from storage.rows import COLUMNS, INTO

log = logging.getLogger(__name__)

_LOOK = f"""
SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean,
  coalesce(has_table_privilege(to_regclass('analytics_event'), 'INSERT'), false),
  extract(epoch FROM clock_timestamp())::float8, {FIND_OLDEST_WAIT},
  CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint END
"""  # noqa: S608 - made of constants

# Stores an event for which the table may have to grow, and takes it back.
_TRY = f"BEGIN; INSERT INTO {INTO} VALUES ({', '.join(['%s'] * len(COLUMNS))}); ROLLBACK"  # noqa: S608 - names of the model
_TRIED = {
    "id": FIRST,
    "search_key": FIRST,
    "created_at": to_time(FIRST),
    "updated_at": to_time(FIRST),
    "message": secrets.token_hex(3_000),  # So that it cannot be compressed into what space there is.
}

# Bounds that say how late an event may become visible allow for more than this.
MAX_SKEW_SECONDS = 5.0
"""By how much the clocks of this machine and of the database may differ."""


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
        self._is_full = False
        self.positions = Positions()
        """Those of its log."""
        self._waits = CommitWaits()
        self._is_waiting = False
        self._changed = asyncio.Event()
        self.write_fault: type[DatabaseUnavailable] | None = None
        """What a write raises now. If it is CommitsWait, the database can be read."""

    @property
    def up(self) -> bool:
        """Whether the database answered the last check, and can be read."""
        return self.write_fault in (None, CommitsWait)

    @property
    def reason(self) -> str:
        """Why no event can be stored, or "" if events can."""
        if self.write_fault is CommitsWait:
            return "commits wait for a synchronous standby"
        return self._reason if self.write_fault else ""

    async def changed(self) -> None:
        """Wait until `self.write_fault` has changed."""
        await self._changed.wait()

    def note_full_disk(self) -> None:
        """Note that the disk of the database is full. Until an event can be stored again, it is not up."""
        self._is_full = True
        self._reason = "its disk is full"
        self._set(DatabaseUnavailable)

    async def watch(self) -> None:
        """Check the database until cancelled."""
        while True:
            # Each check in a thread of its own, because it may hang.
            check = asyncio.ensure_future(run_in_daemon_thread(self._check, "availability"))
            try:
                await asyncio.wait({check}, timeout=self._timeout)
                if not check.done():
                    self._reason = "it does not answer"
                    self._set(DatabaseUnavailable)
                self._set(await check)
            finally:
                check.cancel()
            await asyncio.sleep(self._interval)

    def _set(self, fault: type[DatabaseUnavailable] | None) -> None:
        before, self.write_fault = self.write_fault, fault
        if fault is before:
            return
        self._changed.set()
        self._changed = asyncio.Event()
        if fault is CommitsWait:
            log.error("commits wait for a synchronous standby: events are refused, and searches go on")
        elif fault is not None:
            log.error("database unavailable", extra={"reason": self._reason})
        elif before is CommitsWait:
            log.info("commits no longer wait for a synchronous standby")
        else:
            log.info("database available again")

    def _find_fault(self, cursor: Any) -> str:
        """Return why the database cannot be used, or "" if it can. Note whether commits wait."""
        moment, asked_at = time.monotonic(), time.time()
        cursor.execute(_LOOK)
        ((is_standby, is_read_only, may_insert, clock, oldest_wait, position),) = cursor.fetchall()
        if position is not None:
            self.positions.note(moment, position)
        self._compare_clocks(asked_at, clock, time.time())
        self._is_waiting = self._waits.are_long(oldest_wait, clock)
        if is_standby:
            return "it is a standby"
        if is_read_only:
            return "it is read-only"
        if not may_insert:
            return "the role may not insert events, or their table is missing"
        if self._is_full:
            cursor.execute(_TRY, ["{}" if name == "version_info" else _TRIED.get(name, "") for name in COLUMNS])
            self._is_full = False
        return ""

    def _compare_clocks(self, before: float, clock: float, after: float) -> None:
        """Log if the database's clock differs from this machine's, whose time events get."""
        seconds = max(before - clock, clock - after)
        is_off = seconds > MAX_SKEW_SECONDS
        if is_off and not self._is_skewed:
            log.error("this machine's clock and the database's differ", extra={"seconds": round(seconds, 1)})
        elif self._is_skewed and not is_off:
            log.info("this machine's clock and the database's agree again")
        self._is_skewed = is_off

    def _check(self) -> type[DatabaseUnavailable] | None:
        """Return what a write raises now."""
        while True:
            is_new = self._connection is None
            try:
                if self._connection is None:
                    self._connection = connect(self._url, "analytics availability", {})
                with self._connection.cursor() as cursor:
                    self._reason = self._find_fault(cursor)
                if self._reason:
                    return DatabaseUnavailable
                return CommitsWait if self._is_waiting else None
            except psycopg2.errors.DiskFull:
                self._disconnect()
                self._reason = "its disk is full"
                return DatabaseUnavailable
            except Exception as error:
                # A check that raised would end `watch`, and an outage would then last for ever.
                if not isinstance(error, DatabaseUnavailable | psycopg2.Error):
                    log.exception("unexpected error while checking the database")
                self._disconnect()
                if is_new:
                    # A server that rejects a connection quotes nothing that a customer sent.
                    self._reason = str(error) if isinstance(error, DatabaseUnavailable) else type(error).__name__
                    return DatabaseUnavailable
                # The loss of an old connection alone says nothing about the database: check on a new one.

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
