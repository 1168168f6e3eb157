"""Events into the table: one COPY and one commit, whatever is in the way."""

import io
import logging
from collections.abc import Callable

import psycopg2
import psycopg2.extensions
from psycopg2.errorcodes import LOCK_NOT_AVAILABLE, UNIQUE_VIOLATION

from storage.conflicts import already_stored
from storage.connection import connect, is_lost
from storage.errors import DatabaseUnavailable, EventRefused, KeyInProgress, StorageError, WriteFailed
from storage.event import Event
from storage.rows import COPY_STATEMENT, Row

log = logging.getLogger(__name__)

Outcome = Event | StorageError
"""What came of an event: as it is stored, or why it is not. Under an idempotency key that was known it is stored as the
event that was there before; that one has another id."""

SESSION = {
    # An acknowledged event is on disk, whatever the default of the database is.
    "synchronous_commit": "on",
    # How long to wait for another worker that is writing the same idempotency key. Without one, a lock is an
    # operator's on the table, and is waited for.
    "lock_timeout": "3s",
}
"""The settings of a session that writes."""

# What the database says of one row, not of the statement: data exception, integrity violation, limit exceeded.
_ROW_ERROR_CLASSES = ("22", "23", "54")

# What may well succeed when it is tried again: serialization failure, deadlock, query given up by an operator.
_RETRYABLE = ("40", "57014")


class Copier:
    """Commits events on a connection of its own, which it opens when it needs one. To be used from one thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg2.extensions.connection | None = None

    def write(self, given: list[Row]) -> list[Outcome]:
        """Commits the events of the rows and returns what came of each."""
        if not any(row.event.idempotency_key for row in given):
            return self._write(given)
        # In the order of the keys, so that two workers with the same ones wait for each other in one direction only.
        rows = sorted(given, key=_key)
        outcomes: dict[str, Outcome] = {}
        while rows:
            # Who brings a key for a second time finds the first in the table.
            now = [
                row for row, before in zip(rows, [None, *rows], strict=False) if before is None or _is_new(row, before)
            ]
            outcomes |= zip((row.event.id for row in now), self._write(now), strict=True)
            rows = [row for row in rows if row.event.id not in outcomes]
        return [outcomes[row.event.id] for row in given]

    def _write(self, rows: list[Row]) -> list[Outcome]:
        """Commits the rows and returns what came of each; never raises, since the callers are waiting."""
        try:
            return self._committed(rows)
        except DatabaseUnavailable as error:
            log.warning("a batch found no database", extra={"events": len(rows), "reason": str(error)})
            return _each(DatabaseUnavailable, rows)
        except Exception as error:
            self.close()  # Whatever state it is in, the next batch shall not meet it.
            state = getattr(error, "pgcode", None)
            log.exception("a batch could not be written", extra={"events": len(rows), "sqlstate": state})
            return _each(WriteFailed, rows)

    def _committed(self, rows: list[Row]) -> list[Outcome]:
        while True:
            try:
                self._copy(rows)
            except _RowRefused as error:
                sqlstate = error.sqlstate
                if sqlstate != LOCK_NOT_AVAILABLE or any(row.event.idempotency_key for row in rows):
                    break
            else:
                return [row.event for row in rows]
        if sqlstate == LOCK_NOT_AVAILABLE:
            log.warning("an idempotency key, or the table, is locked for long", extra={"events": len(rows)})
            return self._without(rows, {row.event.id: KeyInProgress() for row in rows if row.event.idempotency_key})
        if sqlstate == UNIQUE_VIOLATION:
            told = self._already_stored(rows)
            if told:
                return self._without(rows, told)
        if len(rows) > 1:
            half = len(rows) // 2
            return self._write(rows[:half]) + self._write(rows[half:])
        if sqlstate == UNIQUE_VIOLATION:
            raise DatabaseUnavailable("what was in the way of an event has gone")
        log.warning("the database refused an event", extra={"sqlstate": sqlstate})
        return [EventRefused()]

    def _without(self, rows: list[Row], told: "dict[str, Event | StorageError]") -> list[Outcome]:
        """What came of the rows when that of some, by id, is known: the others are written without them."""
        rest = [row for row in rows if row.event.id not in told]
        written = dict(zip((row.event.id for row in rest), self._write(rest) if rest else [], strict=True))
        return [told.get(row.event.id) or written[row.event.id] for row in rows]

    def _already_stored(self, rows: list[Row]) -> "dict[str, Event | StorageError]":
        assert self._connection is not None
        try:
            return {**already_stored(self._connection, [row.event for row in rows])}
        except psycopg2.Error as error:
            raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None

    def _copy(self, rows: list[Row]) -> None:
        """Commits the rows in one COPY; tries once more on a new connection if the old one turns out to be lost.

        The second time, what the first has committed is in the way: a unique violation, as of a known key.

        Raises:
            DatabaseUnavailable, _RowRefused
        """
        if self._connection is not None:
            try:
                self._copy_once(self._connection, rows)
                return
            except DatabaseUnavailable:
                self.close()
        self._connection = connect(self._url, "analytics writer", SESSION)
        self._copy_once(self._connection, rows)

    def _copy_once(self, connection: psycopg2.extensions.connection, rows: list[Row]) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(COPY_STATEMENT, io.BytesIO(b"".join([row.line for row in rows])), size=1 << 20)
        except psycopg2.Error as error:
            state = error.pgcode or ""
            if is_lost(connection, error) or state.startswith(_RETRYABLE):
                raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None
            if is_of_a_row(error):
                raise _RowRefused(state) from None
            raise

    def close(self) -> None:
        """Closes the connection. The next batch would open another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def is_of_a_row(error: Exception) -> bool:
    """Whether the database says of a row that it cannot be written, or not now, and not of anything else."""
    state = getattr(error, "pgcode", None) or ""
    return state.startswith(_ROW_ERROR_CLASSES) or state == LOCK_NOT_AVAILABLE


class _RowRefused(Exception):
    """At least one of the rows was not accepted. Carries no text of the database's, which may quote the row."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def _key(row: Row) -> tuple[str, str]:
    return row.event.customer_id, row.event.idempotency_key


def _is_new(row: Row, before: Row) -> bool:
    """Whether `row`, of rows in the order of their keys, does not bring the key of the row before it once more."""
    return not row.event.idempotency_key or _key(row) != _key(before)


def _each(error: Callable[[], StorageError], rows: list[Row]) -> list[Outcome]:
    """An error of its own for each row: raised in many callers, one shared error would collect all their frames."""
    return [error() for _ in rows]
