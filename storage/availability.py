"""Whether the database is there: asked twice a second on a connection of its own."""

import asyncio
import logging
from collections.abc import Callable

import psycopg2
import psycopg2.extensions

from storage.async_connection import in_thread
from storage.connection import connect
from storage.errors import DatabaseUnavailable

log = logging.getLogger(__name__)


class Availability:
    """Knows whether the database answers, so that callers hear of an outage at once and not after a time-out.

    To be used from one event loop.
    """

    def __init__(self, url: str, *, interval: float = 0.5, patience: float = 3.0) -> None:
        """Believes the database to be up until `watch` finds otherwise.

        Args:
            url: the database, as libpq takes it.
            interval: seconds between two questions.
            patience: seconds until a database that accepts connections but does not answer counts as away. It is
                long, because a machine under full load may take a second to answer and is not away.
        """
        self.up = True
        self._url = url
        self._interval = interval
        self._patience = patience
        self._listeners: list[Callable[[bool], None]] = []
        self._connection: psycopg2.extensions.connection | None = None
        self._reason = ""

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Has `listener` called with the new state, in the event loop, whenever it changes."""
        self._listeners.append(listener)

    async def watch(self) -> None:
        """Asks until it is cancelled."""
        while True:
            # In a thread of its own each time: it may hang.
            answer = asyncio.ensure_future(in_thread(self._answers, "availability"))
            await asyncio.wait({answer}, timeout=self._patience)
            if not answer.done():
                self._reason = "it does not answer"
                self._set(False)
            self._set(await answer)
            await asyncio.sleep(self._interval)

    def _set(self, up: bool) -> None:
        if up == self.up:
            return
        self.up = up
        if up:
            log.info("the database is back")
        else:
            log.error("the database is away", extra={"reason": self._reason})
        for listener in self._listeners:
            listener(up)

    def _answers(self) -> bool:
        while True:
            is_new = self._connection is None
            try:
                if self._connection is None:
                    self._connection = connect(self._url, "analytics availability", {})
                with self._connection.cursor() as cursor:
                    cursor.execute("SELECT pg_is_in_recovery()")
                    row = cursor.fetchone()
                    self._reason = "it is a standby"
                    return row is not None and not row[0]
            except Exception as error:
                # Whatever it is: an answer that never comes would make an outage last for ever.
                if not isinstance(error, DatabaseUnavailable | psycopg2.Error):
                    log.exception("the database could not be asked")
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                if is_new:
                    # What a server says when it lets nobody in quotes nothing that a customer sent.
                    self._reason = str(error) if isinstance(error, DatabaseUnavailable) else type(error).__name__
                    return False
                # That an old connection is gone may say nothing of the database.
