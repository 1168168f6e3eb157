"""Single events: an INSERT on the event loop, and what happens when it fails."""

import asyncio
import logging

import pytest

from server.ingest.group_commit import GroupCommit
from storage import EventRefused, KeyReused
from storage.async_connection import AsyncConnection
from tests.support.database import backends, frozen_backend, query, terminate_backends
from tests.support.proxy import proxied
from tests.support.writing import COPIER, INSERTER, One, make_event, read_messages, run_with_commits


def test_a_single_event_is_stored_as_one_of_many_is(database_url: str, customer: str) -> None:
    both = make_event(customer, "a\tb\\c'd\r\nПривет", "k1"), make_event(customer, "a\tb\\c'd\r\nПривет", "k2")
    copiers = backends(database_url, COPIER)  # Those of other tests' servers.

    async def write(commits: GroupCommit) -> None:
        assert await commits.write(One(both[0])) == both[0]
        assert backends(database_url, COPIER) <= copiers  # The copier was not used.
        await asyncio.gather(commits.write(One(both[1])), commits.write(One(make_event(customer))))

    run_with_commits(database_url, write)
    columns = "to_jsonb(e) - 'id' - 'idempotency_key' - 'created_at' - 'updated_at'"
    rows = query(database_url, f"SELECT {columns} FROM analytics_event e WHERE customer_id = %s ORDER BY id", customer)
    assert rows[0] == rows[1] != rows[2]


def test_a_single_event_that_is_refused_or_known_gets_that_outcome(database_url: str, customer: str) -> None:
    first, again = make_event(customer, "a", "key"), make_event(customer, "a", "key")

    async def write(commits: GroupCommit) -> None:
        assert await commits.write(One(first)) == first
        assert await commits.write(One(again)) == first
        with pytest.raises(KeyReused):
            await commits.write(One(make_event(customer, "another", "key")))
        with pytest.raises(EventRefused):
            await commits.write(One(make_event(customer, "bad\0")))

    run_with_commits(database_url, write)
    assert read_messages(database_url, customer) == ["a"]


def test_a_single_event_whose_reply_is_lost_is_not_lost_nor_doubled(database_url: str, customer: str) -> None:
    unheard = make_event(customer, "unheard")
    with proxied(database_url) as proxy:

        async def write(commits: GroupCommit) -> None:
            proxy.cut_reply_to(b"INSERT 0 1\0")
            assert await commits.write(One(unheard)) == unheard

        run_with_commits(proxy.url, write)
        assert proxy.cuts == 1
    assert read_messages(database_url, customer) == ["unheard"]


def test_a_connection_for_single_events_that_is_cut_costs_nothing(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        await commits.write(One(make_event(customer, "before")))
        assert terminate_backends(database_url, INSERTER)
        await commits.write(One(make_event(customer, "after")))
        await commits.write(One(make_event(customer, "later")))

    run_with_commits(database_url, write)
    assert read_messages(database_url, customer) == ["before", "after", "later"]


async def connect_again(commits: GroupCommit, url: str, customer: str) -> None:
    """Write single events until there is a connection for them."""
    async with asyncio.timeout(10):
        while not backends(url, INSERTER):
            await commits.write(One(make_event(customer, "to connect")))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)  # The backend is there before its statement is prepared.


def test_a_connection_cut_before_its_statement_is_read_is_noticed_at_once(database_url: str, customer: str) -> None:
    times = 20  # Which of two processes is first varies.

    async def write(commits: GroupCommit) -> None:
        for number in range(times):
            await connect_again(commits, database_url, customer)
            await commits.write(One(make_event(customer, f"{number} before")))
            with frozen_backend(database_url, INSERTER) as pid:
                meanwhile = asyncio.create_task(commits.write(One(make_event(customer, f"{number} then"))))
                await asyncio.sleep(0.01)
                query(database_url, "SELECT pg_terminate_backend(%s)", pid)
            # The inserter's own timeout is 3 s.
            async with asyncio.timeout(2):
                await meanwhile

    run_with_commits(database_url, write)
    stored = [message for message in read_messages(database_url, customer) if message != "to connect"]
    assert len(stored) == len(set(stored)) == 2 * times


def test_a_backend_that_hangs_delays_a_single_event_by_seconds_only(database_url: str, customer: str) -> None:
    async def write(commits: GroupCommit) -> None:
        await commits.write(One(make_event(customer, "before")))
        with frozen_backend(database_url, INSERTER):
            async with asyncio.timeout(6):
                await commits.write(One(make_event(customer, "meanwhile")))

    run_with_commits(database_url, write)
    assert read_messages(database_url, customer) == ["before", "meanwhile"]


def test_a_bug_in_the_inserter_is_logged_and_costs_no_event(
    database_url: str, customer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: AsyncConnection, sql: str, values: object = None) -> None:
        raise TypeError("a bug")

    async def write(commits: GroupCommit) -> None:
        await commits.write(One(make_event(customer, "before")))
        monkeypatch.setattr(AsyncConnection, "execute", fail)
        await commits.write(One(make_event(customer, "after")))

    run_with_commits(database_url, write)
    assert read_messages(database_url, customer) == ["before", "after"]
    # The other parts use such connections as well.
    records = [record for record in caplog.records if record.name == "storage.inserter"]
    (record,) = [record for record in records if record.levelno == logging.ERROR]
    assert record.getMessage() == "unexpected error in an INSERT; the copier writes the event instead"
    assert record.exc_info is not None
