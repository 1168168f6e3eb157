"""The statements of the lists: what ends them, and which index they read."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from storage import DatabaseUnavailable, ListQuery, SearchTimedOut, TooManySearches
from storage.connection import connect
from storage.ids import FIRST, LAST
from storage.listing import Lists
from tests.bench.seed import seed
from tests.support.database import backends, blocked_backends, locked_table, query
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


def test_a_list_that_goes_back_in_time_reads_the_index_of_the_lists(own_database_url: str) -> None:
    url = own_database_url
    with contextlib.closing(connect(url, "seed", {})) as connection:
        seed(connection, 60_000)
    ((busiest,),) = query(url, "SELECT customer_id FROM analytics_event GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
    ((user, count),) = query(
        url,
        "SELECT user_id, count(*) FROM analytics_event WHERE customer_id = %s GROUP BY 1 ORDER BY 2, 1 LIMIT 1",
        busiest,
    )

    async def use(lists: Lists) -> None:
        listing = await lists.list_events(make_list(busiest, user_id=user)._replace(page_size=count + 1))
        assert ({event.user_id for event in listing.events}, len(listing.events)) == ({user}, count)
        assert not listing.next_id

    use_lists(url, use)
    scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'analytics_event_list'"
    until(lambda: query(url, scans)[0][0] > 0)
