"""A writer by itself, on an event loop as a server has it, and a look at what it stored."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg2

from server.event_loop import new_event_loop
from server.ingest.group_commit import Writer
from storage import Availability, Event, Outcome, Row, StorageError, new_id_and_time, row


def event(customer: str, message: str = "", key: str = "") -> Event:
    texts = (customer, "user", "recording", "view", "lead", "entity", "", "", message, "", "", "", "", "")
    event_id, now = new_id_and_time()
    return Event(*texts, key, None, event_id, now, now)


class One:
    """One event, as the writer takes it; answered by the event that is stored."""

    count = 1

    def __init__(self, event: Event) -> None:
        self._event = event
        self.size = len(event.message) + 250

    def take(self) -> list[Row]:
        return [row(self._event)]

    def answer(self, outcomes: Sequence[Outcome]) -> Event:
        (outcome,) = outcomes
        if isinstance(outcome, StorageError):
            raise outcome
        return outcome


def with_writer(url: str, work: Callable[[Writer, Availability], Awaitable[Any]], **limits: int) -> Any:
    """Runs `work` with a writer on an event loop of its own."""

    async def run() -> Any:
        availability = Availability(url)
        writer = Writer(url, availability, **limits)
        try:
            async with asyncio.timeout(30):
                return await work(writer, availability)
        finally:
            await writer.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(run())


def query(url: str, sql: str, *values: object) -> list[Any]:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def execute(url: str, sql: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)


def stored_messages(url: str, customer: str) -> list[str]:
    rows = query(url, "SELECT message FROM analytics_event WHERE customer_id = %s ORDER BY id", customer)
    return [message for (message,) in rows]


async def alone(writer: Writer, event: Event) -> Event:
    """Writes an event by itself, as it is done once there is a connection for that."""
    if not writer._inserter.is_ready():
        assert writer._inserter._opening is not None
        await writer._inserter._opening
    assert writer._inserter.is_ready()
    return await writer.write(One(event))
