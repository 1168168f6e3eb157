"""The connection of a writer of batches: one COPY and one commit, and what the database says of it."""

import io
import time
from collections.abc import Callable, Mapping

import psycopg2
import psycopg2.extensions
from psycopg2.errorcodes import DISK_FULL, INTERNAL_ERROR, QUERY_CANCELED

from storage import sqlstates
from storage.conflicts import find_conflicts
from storage.connection import connect, has_ended_wait, is_lost, make_unavailable
from storage.erased_keys import PREPARE_CHECKS, make_check
from storage.errors import DatabaseFull, DatabaseUnavailable, NodeUnavailable
from storage.event import Outcome
from storage.model import make_search_key
from storage.rows import COLUMNS, COPY_STATEMENT, INTO, Row

# On the other nodes of a cluster, no limit of a session holds. What waits there for a lock, or does not answer, is
# given up from here.
_LIMIT = """
SELECT set_config('statement_timeout', '5s', false) WHERE current_setting('citus.version', true) IS NOT NULL
"""
_COPY = COPY_STATEMENT.encode()
_INSERT = f"INSERT INTO {INTO} VALUES ({', '.join(['%s'] * len(COLUMNS))})"  # noqa: S608 - the names are the model's


class CopySession:
    """A connection that is opened when it is needed. Belongs to one thread."""

    def __init__(self, url: str, settings: Mapping[str, str]) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string.
            settings: run-time parameters of the session.
        """
        self._url = url
        self._settings = settings
        self.connection: psycopg2.extensions.connection | None = None
        """None until the first batch, and after the connection was lost."""
        self._is_cluster = False

    def close(self) -> None:
        """Close the connection. The next batch would open another."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def find_conflicts(self, rows: list[Row]) -> dict[str, Outcome]:
        """Return what `storage.conflicts.find_conflicts` finds of the rows. Raises DatabaseUnavailable."""
        if self.connection is None:  # Another row of the batch has lost it.
            raise DatabaseUnavailable("the connection is lost")
        try:
            found = find_conflicts(self.connection, [row.event for row in rows])
        except psycopg2.Error as error:
            if self._is_cluster and error.pgcode == QUERY_CANCELED:
                raise NodeUnavailable(f"SQLSTATE {error.pgcode}") from None
            raise make_unavailable(self.connection, error) from None
        _check_wait(self.connection)
        return {**found}

    def write(self, rows: list[Row], until: float) -> str | None:
        """Commit the rows in one COPY. Return None, or the SQLSTATE if the database refuses one of the rows.

        If the connection turns out to be lost, try once more on a new one. If the first attempt was committed after
        all, the second meets its rows: a unique violation, which `find_conflicts` resolves.

        A cluster does not tell what a node says of a COPY: INTERNAL_ERROR stands for anything. A single row is then
        inserted, of which it does tell. QUERY_CANCELED is a lock, or a node that does not answer.

        Args:
            rows: the rows.
            until: when no further attempt is made, by time.monotonic().

        Raises:
            NodeUnavailable: a node of the database is away.
            DatabaseUnavailable: the database cannot be reached.
            psycopg2.Error: the statement failed for a reason other than one of its rows.
        """
        if self.connection is not None:
            try:
                return self._write_on(self.connection, rows, until)
            except NodeUnavailable:
                raise
            except DatabaseUnavailable:
                self.close()
        self.connection = self._connect()
        return self._write_on(self.connection, rows, until)

    def _connect(self) -> psycopg2.extensions.connection:
        connection = connect(self._url, "analytics writer", self._settings)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_LIMIT)
                self._is_cluster = bool(cursor.rowcount)
                cursor.execute(PREPARE_CHECKS)
        except psycopg2.Error as error:
            connection.close()
            raise DatabaseUnavailable(f"SQLSTATE {error.pgcode}") from None
        return connection

    def _write_on(self, connection: psycopg2.extensions.connection, rows: list[Row], until: float) -> str | None:
        sqlstate = self._try(connection, rows, until, _copy)
        if sqlstate == INTERNAL_ERROR and len(rows) == 1:
            sqlstate = self._try(connection, rows, until, _insert)
            if sqlstate == INTERNAL_ERROR:
                raise DatabaseUnavailable(f"SQLSTATE {sqlstate}")
        return sqlstate

    def _try(
        self,
        connection: psycopg2.extensions.connection,
        rows: list[Row],
        until: float,
        execute: Callable[[psycopg2.extensions.cursor, list[Row], bytes], None],
    ) -> str | None:
        if time.monotonic() > until:
            raise DatabaseUnavailable("too long ago")
        try:
            with connection.cursor() as cursor:
                check = b""
                if with_key := [row.event for row in rows if row.event.idempotency_key]:
                    check = b"; " + make_check(cursor, with_key)
                execute(cursor, rows, check)
        except psycopg2.Error as error:
            sqlstate = error.pgcode or ""
            if sqlstate == DISK_FULL:
                raise DatabaseFull(f"SQLSTATE {sqlstate}") from None
            if sqlstate == INTERNAL_ERROR and not connection.closed:
                return INTERNAL_ERROR
            if sqlstate == QUERY_CANCELED and self._is_cluster:
                return QUERY_CANCELED
            if is_lost(connection, error):
                raise make_unavailable(connection, error) from None
            if sqlstates.is_retryable(sqlstate):
                raise DatabaseUnavailable(f"SQLSTATE {sqlstate}") from None
            if sqlstates.is_row_error(sqlstate):
                return sqlstate
            raise
        _check_wait(connection)
        return None


def _check_wait(connection: psycopg2.extensions.connection) -> None:
    """Raise DatabaseUnavailable, and close the connection, if the last commit may be on this machine alone."""
    if has_ended_wait(connection):
        connection.close()
        raise DatabaseUnavailable("somebody has ended its wait for a standby")


def _copy(cursor: psycopg2.extensions.cursor, rows: list[Row], check: bytes) -> None:
    cursor.copy_expert(_COPY + check, io.BytesIO(b"".join([row.line for row in rows])), size=1 << 20)


def _insert(cursor: psycopg2.extensions.cursor, rows: list[Row], check: bytes) -> None:
    event = rows[0].event
    search_key = make_search_key(event.entity_type, event.entity_id, event.user_id, event.recording_id)
    cursor.execute(cursor.mogrify(_INSERT, (*event, search_key)) + check)
