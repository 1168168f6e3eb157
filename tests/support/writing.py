"""Group commit without a server, on an event loop like a server's."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from server.event_loop import make_event_loop
from server.ingest.group_commit import GroupCommit
from storage import Event, EventStore, Outcome, Row, StorageError, encode_row, make_id_and_time
from tests.support.database import query

COPIER, INSERTER = "analytics writer", "analytics inserter"
"""The application_name of the connection for batches, and of that for single events."""


def make_event(customer: str, message: str = "", key: str = "") -> Event:
    """Return a new event with these fields."""
    texts = (customer, "user", "recording", "view", "lead", "entity", "", "", message, "", "", "", "", "")
    event_id, now = make_id_and_time()
    return Event(*texts, key, None, event_id, now, now)


class One:
    """The work of a single event. Its response is the event that is stored."""

    event_count = 1

    def __init__(self, event: Event) -> None:
        self._event = event
        self.customer = event.customer_id
        self.byte_size = len(event.message) + 250

    def make_rows(self) -> list[Row]:
        """Return the event's row."""
        return [encode_row(self._event)]

    def make_response(self, outcomes: Sequence[Outcome]) -> Event:
        """Return the stored event, or raise why there is none."""
        (outcome,) = outcomes
        if isinstance(outcome, StorageError):
            raise outcome
        return outcome


def run_with_commits(url: str, test: Callable[[GroupCommit], Awaitable[Any]], **limits: Any) -> Any:
    """Run `test` with a group commit of these limits, on an event loop of its own, and return its result."""

    async def run() -> Any:
        store = EventStore(url)
        commits = GroupCommit(store, **limits)
        await store.start()
        try:
            async with asyncio.timeout(30):
                return await test(commits)
        finally:
            await commits.close()
            await store.close()

    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        return runner.run(run())


def read_messages(url: str, customer: str) -> list[str]:
    """Return the messages of the customer's events, oldest first."""
    rows = query(url, "SELECT message FROM analytics_event WHERE customer_id = %s ORDER BY id", customer)
    return [message for (message,) in rows]
