"""A standby that searches, lists and exports are sent to, as long as it is not far behind the primary."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import TransactionRollbackError

from storage.availability import Availability
from storage.connection import connect
from storage.daemon_thread import run_in_daemon_thread
from storage.errors import DatabaseUnavailable
from storage.export import Export, ExportQuery, Exports, Step
from storage.readers import Readers

log = logging.getLogger(__name__)

LOST = (DatabaseUnavailable, TransactionRollbackError)
"""What a statement raises that can be repeated at the primary. The second is a replica's that replays a conflict."""

MAX_AGE_SECONDS = 5.0
"""How old what a replica has may be. It is asked twice a second."""

SETTLE_SECONDS = 10.0
"""After so long, each replica that is used has what the primary had: also if its last answer was slow."""

_INTERVAL_SECONDS = 0.5
_TIMEOUT_SECONDS = 3.0

# One that receives nothing may have what the primary lost when it was a standby of another one.
_LOOK = """
SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_stat_wal_receiver),
  (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint
"""
_IDENTIFY = "SELECT system_identifier FROM pg_control_system()"


class Replica:
    """The replica. Belongs to one event loop."""

    def __init__(self, url: str, primary_url: str, availability: Availability, ask: Callable[[str], None]) -> None:
        """Prepare to connect.

        Args:
            url: that of the replica, a libpq connection URI or string of a single host: others may be less far.
            primary_url: that of the primary.
            availability: the state of the primary.
            ask: what has segments kept of a customer's events.
        """
        self.readers = Readers(url, ask)
        self.is_used = False
        """Whether it can be reached, and is not too far behind."""
        self.age = float("inf")
        """How old what it has is at most, in seconds."""
        self._url = url
        self._primary_url = primary_url
        self._availability = availability
        self._connection: psycopg2.extensions.connection | None = None
        self._reason = ""

    async def watch(self) -> None:
        """Look at it until cancelled."""
        while True:
            # Each look in a thread of its own, because it may hang.
            look = asyncio.ensure_future(run_in_daemon_thread(self._look, "replica"))
            await asyncio.wait({look}, timeout=_TIMEOUT_SECONDS)
            if not look.done():
                self._leave_out("it does not answer")
            replayed = await look
            if isinstance(replayed, str):
                self._leave_out(replayed)
            else:
                self._compare(replayed)
            await asyncio.sleep(_INTERVAL_SECONDS)

    def _compare(self, replayed: int) -> None:
        if not self._availability.positions:
            return  # The primary has not been asked yet.
        self.age = self._availability.positions.find_age(replayed, time.monotonic())
        # It is used again only once it is clearly within the limit.
        if self.age > (MAX_AGE_SECONDS if self.is_used else MAX_AGE_SECONDS / 2):
            self._leave_out("it is too far behind")
        elif not self.is_used:
            self.is_used = True
            log.info("the read replica is used")

    def _leave_out(self, reason: str) -> None:
        if self.is_used or self._reason != reason:
            log.warning("the read replica is left out", extra={"reason": reason})
        self._reason = reason
        if self.is_used:
            self.is_used = False
            self.readers.abandon()  # They go on at the primary.

    def _look(self) -> int | str:
        """Return up to where it has replayed the log, or why it cannot be used."""
        try:
            if self._connection is None:
                self._connection = _connect(self._url, self._primary_url)
            return _find_replayed(self._connection)
        except DatabaseUnavailable as error:
            reason = str(error) or "it is unavailable"
        except psycopg2.Error as error:
            reason = f"SQLSTATE {error.pgcode}" if error.pgcode else "its connection is lost"
        except Exception:
            log.exception("unexpected error while looking at the read replica")  # Without an end to `watch`.
            reason = "unexpected error"
        self._disconnect()
        return reason

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ReplicaExport:
    """An export from a replica. It goes on at the primary, for good, when the replica is left out."""

    def __init__(self, replica: Replica, primary: Exports, export: Export, query: ExportQuery) -> None:
        """Go on with `export`, which is that of `query` at the replica."""
        self.until_id = export.until_id
        self._replica: Replica | None = replica
        self._primary = primary
        self._export = export
        self._rest = query._replace(until_id=export.until_id)

    async def read(self) -> Step:
        """Return the next step. Raises what `Export.read` does."""
        if self._replica is not None:
            try:
                if self._replica.is_used:
                    return self._note(await self._export.read())
            except LOST:
                log.info("an export goes on at the primary")
            self._replica = None
            self._export = self._primary.resume(self._rest)
        return await self._export.read()

    def _note(self, step: Step) -> Step:
        self._rest = self._rest._replace(after_id=step.last_id)
        return step


def measure_age(url: str, primary_url: str) -> float | None:
    """Return how old what a replica has is at most, in seconds, or None if it is too old.

    Args:
        url: that of the replica.
        primary_url: that of the primary.

    Raises:
        DatabaseUnavailable: one of them cannot be reached, or the replica is none of the primary. The text says which.
    """
    with contextlib.closing(_connect(url, primary_url)) as replica:
        with contextlib.closing(connect(primary_url, "analytics replica", {})) as primary, primary.cursor() as cursor:
            cursor.execute("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")
            ((position,),) = cursor.fetchall()
        start = time.monotonic()
        while _find_replayed(replica) < position:
            if time.monotonic() > start + MAX_AGE_SECONDS:
                return None
            time.sleep(_INTERVAL_SECONDS / 10)
        return time.monotonic() - start


def _connect(url: str, primary_url: str) -> psycopg2.extensions.connection:
    """Return a connection to the replica, once it is known to be one of the primary."""
    connection = connect(url, "analytics replica", {})
    try:
        with contextlib.closing(connect(primary_url, "analytics replica", {})) as primary:
            if _identify(connection) != _identify(primary):
                raise DatabaseUnavailable("it is a copy of another database")
    except BaseException:
        connection.close()
        raise
    return connection


def _find_replayed(connection: psycopg2.extensions.connection) -> int:
    """Return up to where a replica has replayed the log. Raise DatabaseUnavailable if it is none, or follows nobody."""
    with connection.cursor() as cursor:
        cursor.execute(_LOOK)
        ((is_standby, is_receiving, replayed),) = cursor.fetchall()
    if not is_standby:
        raise DatabaseUnavailable("it is no standby")
    if not is_receiving:
        raise DatabaseUnavailable("it receives nothing from a primary")
    return int(replayed)


def _identify(connection: psycopg2.extensions.connection) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(_IDENTIFY)
        return cursor.fetchone()
