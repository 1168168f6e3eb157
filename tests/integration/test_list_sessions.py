"""The statements of the lists: what ends them, and which index they read."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from storage import DatabaseUnavailable, ListQuery, SearchTimedOut, TooManySearches
from storage.ids import FIRST, LAST
from storage.list_search import RECENT_EVENTS, SCANNED_EVENTS
from storage.listing import Lists
from tests.support.database import backends, blocked_backends, execute, locked_table, query
from tests.support.events import insert, make_event
from tests.support.reading import run_with
from tests.support.until import until

NAME = "analytics list"


def make_list(customer: str, **filters: str) -> ListQuery:
    return ListQuery(customer, tuple(filters.items()), FIRST, LAST, 10)


def use_lists(url: str, work: Callable[[Lists], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `work` with lists that have one connection."""
    run_with(lambda: Lists(url, lambda _: None, connections=1, **options), work)


def test_a_list_that_is_given_up_ends_in_the_database(own_database_url: str, customer: str) -> None:
    url = own_database_url

    async def use(lists: Lists) -> None:
        await lists.list_events(make_list(customer))
        (backend,) = backends(url, NAME)
        with locked_table(url):
            given_up = asyncio.create_task(lists.list_events(make_list(customer)))
            await asyncio.to_thread(until, lambda: blocked_backends(url) == {backend})
            given_up.cancel()
            await asyncio.wait([given_up])
            assert blocked_backends(url) == set()
        assert not (await lists.list_events(make_list(customer))).events
        assert backends(url, NAME) == {backend}

    use_lists(url, use)


def test_a_list_that_takes_too_long_is_given_up(own_database_url: str, customer: str) -> None:
    async def use(lists: Lists) -> None:
        await lists.list_events(make_list(customer))
        with locked_table(own_database_url), pytest.raises(SearchTimedOut):
            await lists.list_events(make_list(customer))

    use_lists(own_database_url, use, timeout=0.2)


def test_lists_beyond_those_that_may_wait_are_refused(own_database_url: str, customer: str) -> None:
    async def use(lists: Lists) -> None:
        await lists.list_events(make_list(customer))
        with locked_table(own_database_url):
            waiting = [asyncio.create_task(lists.list_events(make_list(customer))) for _ in range(3)]
            _, pending = await asyncio.wait(waiting, timeout=0.1)
            assert len(pending) == 2
            lists.abandon()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [DatabaseUnavailable, DatabaseUnavailable, TooManySearches]

    use_lists(own_database_url, use, max_waiting=1)


def test_a_list_without_segments_reads_the_index_of_the_lists(own_database_url: str, customer: str) -> None:
    url = own_database_url
    rare = make_event(customer, user_id="rare")
    insert(url, rare, *[make_event(customer) for _ in range(3 * (RECENT_EVENTS + SCANNED_EVENTS))])
    execute(url, "VACUUM ANALYZE analytics_event")

    async def use(lists: Lists) -> None:
        listing = await lists.list_events(make_list(customer, user_id="rare"))
        assert [event.id for event in listing.events] == [rare.id]
        assert not listing.next_id

    use_lists(url, use)
    scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'analytics_event_list'"
    until(lambda: query(url, scans)[0][0] > 0)
