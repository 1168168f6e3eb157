"""The group commit by itself: batches, bounds, bad rows, lost connections."""

import asyncio
from typing import Any

import pytest

from server.ingest.group_commit import Writer
from storage import Availability, DatabaseUnavailable, Event, EventRefused, QueueFull
from storage.copier import Copier
from tests.support.writing import One, alone, event, execute, query, stored_messages, with_writer


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
