"""The group commit by itself: batches, bounds, bad rows, lost connections."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import psycopg2
import pytest

from server.loop import new_event_loop
from storage import (
    Availability,
    DatabaseUnavailable,
    Event,
    EventRefused,
    KeyReused,
    Outcome,
    QueueFull,
    Row,
    StorageError,
    Writer,
    new_id_and_time,
    row,
)
from storage.copier import Copier
from storage.loop_connection import LoopConnection


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


def test_what_waits_while_a_commit_is_in_flight_becomes_one_batch(database_url: str, customer: str) -> None:
    async def work(writer: Writer, _: Availability) -> None:
        await asyncio.gather(*[writer.write(One(event(customer))) for _ in range(500)])

    with_writer(database_url, work)
    # xmin names the transaction that wrote a row.
    ((transactions, rows),) = query(
        database_url,
        "SELECT count(DISTINCT xmin::text), count(*) FROM analytics_event WHERE customer_id = %s",
        customer,
    )
    assert (transactions, rows) == (1, 500)


def test_a_batch_holds_no_more_events_than_its_limit(database_url: str, customer: str) -> None:
    async def work(writer: Writer, _: Availability) -> None:
        await asyncio.gather(*[writer.write(One(event(customer))) for _ in range(100)])

    with_writer(database_url, work, max_batch_events=10)
    sizes = query(
        database_url, "SELECT count(*) FROM analytics_event WHERE customer_id = %s GROUP BY xmin::text", customer
    )
    assert sizes == [(10,)] * 10


def test_an_event_that_the_database_refuses_costs_no_other_its_place(database_url: str, customer: str) -> None:
    bad = {3, 4, 17, 49}

    async def work(writer: Writer, _: Availability) -> list[Any]:
        # U+0000 never gets past validation, so this is what a rule that was forgotten would look like.
        events = [event(customer, "bad\0" if number in bad else str(number)) for number in range(50)]
        return await asyncio.gather(*[writer.write(One(each)) for each in events], return_exceptions=True)

    outcomes = with_writer(database_url, work)
    assert {number for number, outcome in enumerate(outcomes) if isinstance(outcome, EventRefused)} == bad
    assert all(isinstance(outcome, Event) for number, outcome in enumerate(outcomes) if number not in bad)
    assert stored_messages(database_url, customer) == [str(number) for number in range(50) if number not in bad]


@pytest.mark.parametrize("limits", [{"max_events": 5}, {"max_bytes": 1_500}])
def test_a_full_queue_refuses_at_once_and_keeps_what_it_took(
    database_url: str, customer: str, limits: dict[str, int]
) -> None:
    async def work(writer: Writer, _: Availability) -> list[Any]:
        return await asyncio.gather(
            *[writer.write(One(event(customer, str(number)))) for number in range(20)], return_exceptions=True
        )

    outcomes = with_writer(database_url, work, **limits)
    stored = [str(number) for number, outcome in enumerate(outcomes) if isinstance(outcome, Event)]
    assert 0 < len(stored) < 20
    assert all(isinstance(outcome, Event | QueueFull) for outcome in outcomes)
    assert stored_messages(database_url, customer) == stored


def test_a_caller_that_goes_before_its_event_is_taken_takes_it_back(database_url: str, customer: str) -> None:
    async def work(writer: Writer, _: Availability) -> None:
        goes = asyncio.ensure_future(writer.write(One(event(customer, "gone"))))
        stays = asyncio.ensure_future(writer.write(One(event(customer, "stays"))))
        await asyncio.sleep(0)  # Both are in the queue, and the batch is sent in the next turn.
        goes.cancel()
        await stays

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == ["stays"]


def test_a_connection_that_is_cut_between_two_batches_costs_nobody_anything(database_url: str, customer: str) -> None:
    async def work(writer: Writer, _: Availability) -> None:
        await writer.write(One(event(customer, "before")))
        query(
            database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'analytics writer'",
        )
        await writer.write(One(event(customer, "after")))

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == ["before", "after"]


def test_a_batch_whose_commit_was_not_heard_of_is_neither_lost_nor_doubled(
    database_url: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_once = Copier._copy_once
    cuts = iter([True])

    def commit_and_break(self: Copier, connection: Any, rows: list[Any]) -> None:
        copy_once(self, connection, rows)
        if rows[0].event.message == "unheard" and next(cuts, False):
            raise DatabaseUnavailable

    monkeypatch.setattr(Copier, "_copy_once", commit_and_break)

    async def work(writer: Writer, _: Availability) -> None:
        await writer.write(One(event(customer, "before")))
        await asyncio.gather(*[writer.write(One(event(customer, "unheard"))) for _ in range(3)])

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == ["before", "unheard", "unheard", "unheard"]


async def alone(writer: Writer, event: Event) -> Event:
    """Writes an event by itself, as it is done once there is a connection for that."""
    if not writer._inserter.is_ready():
        assert writer._inserter._opening is not None
        await writer._inserter._opening
    assert writer._inserter.is_ready()
    return await writer.write(One(event))


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


def test_a_database_that_is_known_to_be_away_is_not_waited_for(database_url: str, customer: str) -> None:
    async def work(writer: Writer, availability: Availability) -> None:
        availability.up = False
        with pytest.raises(DatabaseUnavailable):
            await writer.write(One(event(customer)))

    with_writer(database_url, work)
    assert stored_messages(database_url, customer) == []


def test_commits_are_synchronous_whatever_the_default_of_the_database(database_url: str, customer: str) -> None:
    async def work(writer: Writer, _: Availability) -> list[str]:
        await asyncio.gather(*[writer.write(One(event(customer))) for _ in range(2)])
        await alone(writer, event(customer))
        assert writer._copier._connection is not None
        assert writer._inserter._connection is not None
        with writer._copier._connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            settings = [*cursor.fetchall(), *await writer._inserter._connection.run("SHOW synchronous_commit")]
        return [setting for (setting,) in settings]

    execute(database_url, "ALTER DATABASE analytics SET synchronous_commit = off")
    try:
        assert with_writer(database_url, work) == ["on", "on"]
    finally:
        execute(database_url, "ALTER DATABASE analytics RESET synchronous_commit")
