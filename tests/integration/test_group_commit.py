"""Group commit: its groups, its bounds, rows that the database refuses, and connections that are lost."""

import asyncio
from typing import Any

import psycopg2.extensions
import pytest

from server.ingest.group_commit import GroupCommit
from server.messages.refusals import TooManyWaiting
from storage import DatabaseUnavailable, Event, EventRefused
from tests.support.database import execute, locked_table, query, refusing_connections, terminate_backends
from tests.support.proxy import proxied
from tests.support.writing import COPIER, One, make_event, read_messages, run_with_commits


def test_what_waits_while_a_commit_is_in_flight_becomes_one_group(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        await asyncio.gather(*[commits.write(One(make_event(customer))) for _ in range(500)])

    run_with_commits(database_url, write)
    # xmin names the transaction that wrote a row.
    ((transactions, rows),) = query(
        database_url,
        "SELECT count(DISTINCT xmin::text), count(*) FROM analytics_event WHERE customer_id = %s",
        customer,
    )
    assert (transactions, rows) == (1, 500)


def test_a_group_holds_no_more_events_than_its_limit(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        await asyncio.gather(*[commits.write(One(make_event(customer))) for _ in range(100)])

    run_with_commits(database_url, write, max_group_events=10)
    sizes = query(
        database_url, "SELECT count(*) FROM analytics_event WHERE customer_id = %s GROUP BY xmin::text", customer
    )
    assert sizes == [(10,)] * 10


def test_an_event_that_the_database_refuses_costs_no_other(database_url: str, customer: str) -> None:
    bad = {3, 4, 17, 49}

    async def write(commits: GroupCommit) -> list[Any]:
        # Validation refuses U+0000 before this, so it stands for a rule that was forgotten.
        events = [make_event(customer, "bad\0" if number in bad else str(number)) for number in range(50)]
        return await asyncio.gather(*[commits.write(One(event)) for event in events], return_exceptions=True)

    outcomes = run_with_commits(database_url, write)
    assert {number for number, outcome in enumerate(outcomes) if isinstance(outcome, EventRefused)} == bad
    assert all(isinstance(outcome, Event) for number, outcome in enumerate(outcomes) if number not in bad)
    assert read_messages(database_url, customer) == [str(number) for number in range(50) if number not in bad]


def test_an_event_that_is_refused_costs_no_replay_beside_it(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> list[Any]:
        first = await commits.write(One(make_event(customer, "first", "k")))
        events = [("first", "k"), ("first", "k"), ("bad\0", "k"), ("bad\0", "other"), ("good", "other"), ("new", "")]
        work = [One(make_event(customer, message, key)) for message, key in events]
        return [first, *await asyncio.gather(*map(commits.write, work), return_exceptions=True)]

    first, *outcomes = run_with_commits(database_url, write)
    assert [outcome.id == first.id for outcome in outcomes[:2]] == [True, True]
    assert all(isinstance(outcome, EventRefused) for outcome in outcomes[2:4])
    assert [outcome.message for outcome in outcomes[4:]] == ["good", "new"]
    assert read_messages(database_url, customer) == ["first", "good", "new"]


@pytest.mark.parametrize("limits", [{"max_events": 5}, {"max_bytes": 1_500}])
def test_a_full_queue_refuses_at_once_and_keeps_what_it_has(
    database_url: str, customer: str, limits: dict[str, int]
) -> None:
    async def write(commits: GroupCommit) -> list[Any]:
        events = [make_event(customer, str(number)) for number in range(20)]
        return await asyncio.gather(*[commits.write(One(event)) for event in events], return_exceptions=True)

    outcomes = run_with_commits(database_url, write, **limits)
    stored = [str(number) for number, outcome in enumerate(outcomes) if isinstance(outcome, Event)]
    assert 0 < len(stored) < 20
    assert all(isinstance(outcome, Event | TooManyWaiting) for outcome in outcomes)
    assert read_messages(database_url, customer) == stored


def test_a_caller_that_goes_before_its_event_is_taken_stores_nothing(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        goes = asyncio.ensure_future(commits.write(One(make_event(customer, "gone"))))
        stays = asyncio.ensure_future(commits.write(One(make_event(customer, "stays"))))
        await asyncio.sleep(0)  # Both are in the queue, and the commit starts in the next turn of the event loop.
        goes.cancel()
        await stays

    run_with_commits(database_url, write)
    assert read_messages(database_url, customer) == ["stays"]


def test_a_connection_cut_between_two_groups_costs_nobody_anything(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        await asyncio.gather(*[commits.write(One(make_event(customer, "before"))) for _ in range(2)])
        assert terminate_backends(database_url, COPIER)
        await asyncio.gather(*[commits.write(One(make_event(customer, "after"))) for _ in range(2)])

    run_with_commits(database_url, write)
    assert read_messages(database_url, customer) == ["before", "before", "after", "after"]


def test_a_group_whose_reply_is_lost_is_neither_lost_nor_doubled(database_url: str, customer: str) -> None:
    with proxied(database_url) as proxy:

        async def write(commits: GroupCommit) -> None:
            await asyncio.gather(*[commits.write(One(make_event(customer, "before"))) for _ in range(2)])
            proxy.cut_reply_to(b"COPY 3\0")
            await asyncio.gather(*[commits.write(One(make_event(customer, "unheard"))) for _ in range(3)])

        run_with_commits(proxy.url, write)
        assert proxy.cuts == 1
    assert read_messages(database_url, customer) == ["before", "before", "unheard", "unheard", "unheard"]


def test_a_database_that_is_known_to_be_unavailable_is_not_waited_for(own_database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        with refusing_connections(own_database_url):
            async with asyncio.timeout(10):
                while True:
                    try:
                        await commits.write(One(make_event(customer, "before")))
                        await asyncio.sleep(0.02)
                    except DatabaseUnavailable:
                        break
            # The connections of both writers are still good, but nothing is written.
            with pytest.raises(DatabaseUnavailable):
                await commits.write(One(make_event(customer, "meanwhile")))

    run_with_commits(own_database_url, write)
    assert set(read_messages(own_database_url, customer)) == {"before"}


def test_a_commit_that_hangs_fails_when_the_database_becomes_unavailable(own_database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> list[Any]:
        with locked_table(own_database_url), refusing_connections(own_database_url):
            # The first three become one group; the others wait behind it.
            calls = [asyncio.create_task(commits.write(One(make_event(customer)))) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            calls += [asyncio.create_task(commits.write(One(make_event(customer)))) for _ in range(3)]
            async with asyncio.timeout(10):
                return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = run_with_commits(own_database_url, write)
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 6


def test_commits_are_synchronous_whatever_the_databases_default_is(own_database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        await asyncio.gather(*[commits.write(One(make_event(customer))) for _ in range(2)])
        await commits.write(One(make_event(customer)))

    # A trigger runs in the session that writes, so it sees that session's setting.
    execute(
        own_database_url,
        """
        CREATE FUNCTION note_setting() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.message := current_setting('synchronous_commit'); RETURN NEW; END $$;
        CREATE TRIGGER note_setting BEFORE INSERT ON analytics_event
            FOR EACH ROW EXECUTE FUNCTION note_setting()
        """,
    )
    name = psycopg2.extensions.parse_dsn(own_database_url)["dbname"]
    for default in ("off", "remote_apply"):  # The second waits for even more.
        execute(own_database_url, f"ALTER DATABASE {name} SET synchronous_commit = {default}")
        run_with_commits(own_database_url, write)
    assert read_messages(own_database_url, customer) == ["on"] * 3 + ["remote_apply"] * 3
