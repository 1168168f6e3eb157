"""Batches of events into the table: one COPY and one commit, whatever stands in the way."""

import logging
import time
from collections.abc import Callable, Mapping

from psycopg2.errorcodes import INTERNAL_ERROR, LOCK_NOT_AVAILABLE, QUERY_CANCELED, UNIQUE_VIOLATION

from storage.copy_session import CopySession
from storage.erased_keys import KEY_ERASED
from storage.errors import DatabaseUnavailable, EventRefused, KeyInProgress, NodeUnavailable, StorageError, WriteFailed
from storage.event import Outcome
from storage.nodes import Nodes
from storage.rows import Row

log = logging.getLogger(__name__)

SESSION = {
    # The check for the key of an erased event needs a snapshot that is newer than the statement before it.
    "default_transaction_isolation": "read committed",
    # How long to wait for another worker that is writing the same idempotency key. When a batch has no key, the lock is
    # an operator's on the table, and the copier tries again for as long as it may.
    "lock_timeout": "3s",
}
"""The settings of a session that writes. It has no savepoints: see `storage.snapshot`."""

LATEST_SECONDS = 60
"""How long after an event was given its id the transaction may begin that stores it: see `storage.watching`.

Of a batch that is older than 20 s none is handed over: see `server.ingest.batch`. The copier then has 30 s until its
last attempt, which waits at most 3 s for a lock.
"""

# Between a batch is handed over and the last attempt to write it.
_ATTEMPT_SECONDS = 30.0


class Copier:
    """A writer of batches, with one connection that it opens when it needs it. Belongs to one thread."""

    def __init__(self, url: str) -> None:
        self._session = CopySession(url, SESSION)
        self._nodes = Nodes()
        self._last_attempt = 0.0

    def write(self, rows: list[Row], handed_over: float) -> list[Outcome]:
        """Commit the rows and return the outcome of each, in order. Never raises, because callers are waiting.

        Args:
            rows: the rows.
            handed_over: when that was, by time.monotonic().
        """
        self._last_attempt = handed_over + _ATTEMPT_SECONDS
        if not _have_keys(rows):
            return self._write(rows)
        # In key order, so that two workers that write the same keys wait for each other in one direction only.
        remaining = sorted(rows, key=_get_key)
        outcomes: dict[str, Outcome] = {}
        while remaining:
            first_of_each_key = [
                row
                for row, previous in zip(remaining, [None, *remaining], strict=False)
                if previous is None or not row.event.idempotency_key or _get_key(row) != _get_key(previous)
            ]
            written = self._write(first_of_each_key)
            outcomes |= zip((row.event.id for row in first_of_each_key), written, strict=True)
            # When a key occurs twice, the others with it find the first in the table.
            if others := [row for row in remaining if row.event.id not in outcomes]:
                outcomes |= self._find_firsts(others, dict(zip(map(_get_key, first_of_each_key), written, strict=True)))
            remaining = [row for row in others if row.event.id not in outcomes]
        return [outcomes[row.event.id] for row in rows]

    def close(self) -> None:
        """Close the connection. The next batch would open another."""
        self._session.close()

    def _write(self, rows: list[Row]) -> list[Outcome]:
        """Commit rows whose idempotency keys are distinct, and return their outcomes. Never raises.

        Of a node that has just failed, the rows fail at once.
        """
        resting = self._nodes.find_resting()
        if not resting:
            return self._write_together(rows)
        of_nodes = self._nodes.split(self._session.connection, rows)
        failed = [row for node in resting for row in of_nodes.get(node, [])]
        return self._write_rest(rows, {row.event.id: NodeUnavailable() for row in failed})

    def _write_together(self, rows: list[Row]) -> list[Outcome]:
        """Commit rows, those of each node by themselves if one node fails, and return their outcomes. Never raises."""
        began = time.monotonic()
        try:
            return self._resolve(rows)
        except NodeUnavailable as error:
            of_nodes = self._nodes.split(self._session.connection, rows)
            if len(of_nodes) > 1:
                return self._write_parts(rows, list(of_nodes.values()))
            self._nodes.rest(next(iter(of_nodes)), time.monotonic() - began)
            return self._fail(error, rows)
        except Exception as error:  # noqa: BLE001 - logged, and reported for each row
            return self._fail(error, rows)

    def _write_parts(self, rows: list[Row], parts: list[list[Row]]) -> list[Outcome]:
        """Write each part of the rows by itself, and return the outcomes of all."""
        written = {
            row.event.id: outcome
            for part in parts
            for row, outcome in zip(part, self._write_together(part), strict=True)
        }
        return [written[row.event.id] for row in rows]

    def _fail(self, error: Exception, rows: list[Row]) -> list[Outcome]:
        """Log why rows could not be written or looked up, and return the outcomes that say so."""
        if isinstance(error, DatabaseUnavailable):
            log.warning("database unavailable for a batch", extra={"events": len(rows), "reason": str(error)})
            return _fail_all(type(error), rows)
        self.close()  # The connection may be in any state, and the next batch must not inherit it.
        sqlstate = getattr(error, "pgcode", None)
        log.error("a batch could not be written", exc_info=error, extra={"events": len(rows), "sqlstate": sqlstate})
        return _fail_all(WriteFailed, rows)

    def _resolve(self, rows: list[Row]) -> list[Outcome]:
        """Commit the rows; if one is in the way, find out which, and write the others without it."""
        while (sqlstate := self._session.write(rows, self._last_attempt)) == LOCK_NOT_AVAILABLE and not _have_keys(
            rows
        ):
            pass
        if sqlstate is None:
            return [row.event for row in rows]
        if sqlstate == QUERY_CANCELED:
            self._session.find_conflicts(rows)  # Which raises NodeUnavailable if it is no lock.
        if sqlstate in (LOCK_NOT_AVAILABLE, QUERY_CANCELED):
            log.warning("an idempotency key, or the table, stays locked", extra={"events": len(rows)})
            return self._write_rest(rows, {row.event.id: KeyInProgress() for row in rows if row.event.idempotency_key})
        is_conflict = sqlstate in (UNIQUE_VIOLATION, KEY_ERASED)
        if (is_conflict or sqlstate == INTERNAL_ERROR) and (known := self._session.find_conflicts(rows)):
            return self._write_rest(rows, known)
        if len(rows) > 1:
            half = len(rows) // 2
            return self._write(rows[:half]) + self._write(rows[half:])
        if is_conflict:
            raise DatabaseUnavailable("the conflicting event has disappeared")
        log.warning("the database refused an event", extra={"sqlstate": sqlstate})
        return [EventRefused()]

    def _write_rest(self, rows: list[Row], known: Mapping[str, Outcome]) -> list[Outcome]:
        """Write the rows whose outcome is not `known` by id, and return the outcomes of all."""
        rest = [row for row in rows if row.event.id not in known]
        written = dict(zip((row.event.id for row in rest), self._write_together(rest) if rest else [], strict=True))
        return [known.get(row.event.id) or written[row.event.id] for row in rows]

    def _find_firsts(self, rows: list[Row], written: Mapping[tuple[str, str], Outcome]) -> Mapping[str, Outcome]:
        """Return the outcomes, by event id, of rows whose keys have just been `written`. Never raises.

        A row has none if the first with its key was refused: then it is not known yet what becomes of this one.
        """
        outcomes: dict[str, Outcome] = {}
        stored = []
        for row in rows:
            outcome = written[_get_key(row)]
            if isinstance(outcome, KeyInProgress | DatabaseUnavailable | WriteFailed):
                outcomes[row.event.id] = type(outcome)()
            elif not isinstance(outcome, EventRefused):
                stored.append(row)
        if stored:
            try:
                outcomes |= self._session.find_conflicts(stored)
            except Exception as error:  # noqa: BLE001 - logged, and reported for each row
                outcomes |= zip((row.event.id for row in stored), self._fail(error, stored), strict=True)
        return outcomes


def _have_keys(rows: list[Row]) -> bool:
    return any(row.event.idempotency_key for row in rows)


def _get_key(row: Row) -> tuple[str, str]:
    return row.event.customer_id, row.event.idempotency_key


def _fail_all(error: Callable[[], StorageError], rows: list[Row]) -> list[Outcome]:
    """Return one error per row. A shared one, raised in many callers, would collect all their frames."""
    return [error() for _ in rows]
