"""Events that come alone: an INSERT on the event loop, and what becomes of it when it goes wrong."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from server.ingest.group_commit import Writer
from storage import Availability, DatabaseUnavailable, EventRefused, KeyReused
from storage.async_connection import LoopConnection
from tests.support.writing import One, alone, event, query, stored_messages, with_writer


def test_an_event_that_comes_alone_is_stored_as_one_of_many_is(database_url: str, customer: str) -> None:
    both = event(customer, "a\tb\\c'd\r\nПривет", "k1"), event(customer, "a\tb\\c'd\r\nПривет", "k2")

    async def work(writer: Writer, _: Availability) -> None:
        assert await alone(writer, both[0]) == both[0]
        assert writer._copier._connection is None  # It was not asked.
        await asyncio.gather(writer.write(One(both[1])), writer.write(One(event(customer))))

    with_writer(database_url, work)
    columns = "to_jsonb(e) - 'id' - 'idempotency_key' - 'created_at' - 'updated_at'"
    rows = query(database_url, f"SELECT {columns} FROM analytics_event e WHERE customer_id = %s ORDER BY id", customer)
    assert rows[0] == rows[1] != rows[2]


def test_an_event_that_comes_alone_and_is_refused_or_known_is_told_so(database_url: str, customer: str) -> None:
    first, again = event(customer, "a", "key"), event(customer, "a", "key")

    async def work(writer: Writer, _: Availability) -> None:
        assert await alone(writer, first) == first
        assert await alone(writer, again) == first
        with pytest.raises(KeyReused):
            await alone(writer, event(customer, "another", "key"))
        with pytest.raises(EventRefused):
            await alone(writer, event(customer, "bad\0"))

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == ["a"]


def test_a_commit_of_a_single_event_that_was_not_heard_of_is_neither_lost_nor_doubled(
    database_url: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = LoopConnection.run

    async def run_and_break(self: LoopConnection, sql: str, values: Any = None) -> list[Any]:
        rows = await run(self, sql, values)
        if sql.startswith("EXECUTE insert_event"):
            self.close()
            raise DatabaseUnavailable
        return rows

    monkeypatch.setattr(LoopConnection, "run", run_and_break)
    unheard = event(customer, "unheard")

    async def work(writer: Writer, _: Availability) -> None:
        assert await alone(writer, unheard) == unheard

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == ["unheard"]


def test_a_connection_for_single_events_that_is_cut_costs_nobody_anything(database_url: str, customer: str) -> None:
    async def work(writer: Writer, _: Availability) -> None:
        await alone(writer, event(customer, "before"))
        query(
            database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'analytics inserter'",
        )
        await writer.write(One(event(customer, "after")))
        await alone(writer, event(customer, "later"))

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == ["before", "after", "later"]


@contextlib.contextmanager
def frozen(name: str, url: str) -> Iterator[int]:
    """Stops the database's process for the connection of that name; yields its number."""
    ((number,),) = query(url, "SELECT pid FROM pg_stat_activity WHERE application_name = %s", name)
    os.kill(number, signal.SIGSTOP)
    try:
        yield number
    finally:
        os.kill(number, signal.SIGCONT)


def test_a_connection_that_is_cut_before_its_statement_was_read_is_noticed_at_once(
    database_url: str, customer: str
) -> None:
    times = 20  # It depends on which of two processes is first.

    async def work(writer: Writer, _: Availability) -> None:
        for number in range(times):
            await alone(writer, event(customer, f"{number} before"))
            with frozen("analytics inserter", database_url) as process:
                meanwhile = asyncio.create_task(writer.write(One(event(customer, f"{number} then"))))
                await asyncio.sleep(0.01)
                query(database_url, "SELECT pg_terminate_backend(%s)", process)
            async with asyncio.timeout(2):
                await meanwhile

    with_writer(database_url, work)
    assert (
        len(stored_messages(database_url, customer)) == len(set(stored_messages(database_url, customer))) == 2 * times
    )


def test_a_database_process_that_hangs_with_a_single_event_holds_it_up_for_seconds_and_not_for_ever(
    database_url: str, customer: str
) -> None:
    async def work(writer: Writer, _: Availability) -> None:
        await alone(writer, event(customer, "before"))
        with frozen("analytics inserter", database_url):
            async with asyncio.timeout(6):
                await writer.write(One(event(customer, "meanwhile")))

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == ["before", "meanwhile"]
