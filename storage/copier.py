"""Rows into the table: one COPY and one commit, whatever is in the way."""

import io
import logging
from collections.abc import Callable

import psycopg2
import psycopg2.extensions
from psycopg2.errorcodes import UNIQUE_VIOLATION

from storage.connection import connect, is_lost
from storage.copy_row import COPY_STATEMENT
from storage.errors import DatabaseUnavailable, EventRefused, StorageError, WriteFailed

log = logging.getLogger(__name__)

# An acknowledged event is on disk, whatever the default of the database is.
_SESSION = {"synchronous_commit": "on"}

# What the database says of one row, not of the statement: data exception, integrity violation, limit exceeded.
_ROW_ERROR_CLASSES = ("22", "23", "54")

# What may well succeed when it is tried again: serialization failure, deadlock, lock or query given up by an operator.
_RETRYABLE = ("40", "55P03", "57014")


class Copier:
    """Commits rows on a connection of its own, which it opens when it needs one. To be used from one thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg2.extensions.connection | None = None

    def write(self, rows: list[bytes]) -> list[StorageError | None]:
        """Commits the rows and returns what came of each. If one is refused, halves them until it stands alone."""
        try:
            self._copy(rows)
        except _RowRefused as error:
            if len(rows) == 1:
                log.warning("the database refused an event", extra={"sqlstate": error.sqlstate})
                return [EventRefused()]
            half = len(rows) // 2
            return self.write(rows[:half]) + self.write(rows[half:])
        except DatabaseUnavailable as error:
            log.warning("a batch found no database", extra={"events": len(rows), "reason": str(error)})
            return _each(DatabaseUnavailable, rows)
        except Exception as error:
            # The callers are waiting: each must hear of it, whatever it is.
            state = getattr(error, "pgcode", None)
            log.exception("a batch could not be written", extra={"events": len(rows), "sqlstate": state})
            return _each(WriteFailed, rows)
        return [None] * len(rows)

    def _copy(self, rows: list[bytes]) -> None:
        """Commits the rows in one COPY; tries once more on a new connection if the old one turns out to be lost.

        Raises:
            DatabaseUnavailable, _RowRefused
        """
        lost = False
        if self._connection is not None:
            try:
                self._copy_once(self._connection, rows)
                return
            except DatabaseUnavailable:
                lost = True
                self._connection.close()
                self._connection = None
        self._connection = connect(self._url, "analytics writer", _SESSION)
        try:
            self._copy_once(self._connection, rows)
        except _RowRefused as error:
            if not (lost and error.sqlstate == UNIQUE_VIOLATION):
                raise
            # The ids are ours and new. A batch is one transaction, so all of it was committed the first time, and
            # only the answer was lost with the connection.
            log.info("a batch had been committed when its connection was lost", extra={"events": len(rows)})

    def _copy_once(self, connection: psycopg2.extensions.connection, rows: list[bytes]) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(COPY_STATEMENT, io.BytesIO(b"".join(rows)), size=1 << 20)
        except psycopg2.Error as error:
            if is_lost(connection, error) or (error.pgcode or "").startswith(_RETRYABLE):
                raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None
            if (error.pgcode or "").startswith(_ROW_ERROR_CLASSES):
                raise _RowRefused(error.pgcode or "") from None
            raise

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()


class _RowRefused(Exception):
    """At least one of the rows was not accepted. Carries no text of the database's, which may quote the row."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def _each(error: Callable[[], StorageError], rows: list[bytes]) -> list[StorageError | None]:
    """An error of its own for each row: raised in many callers, one shared error would collect all their frames."""
    return [error() for _ in rows]
