"""The connections of the searches: what becomes of them, and of the searches that wait, when something fails."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from storage import DatabaseUnavailable, Query, SearchTimedOut, TooManySearches
from storage.search import Searches
from tests.support.database import backends, blocked_backends, frozen_backend, locked_table, terminate_backends
from tests.support.processes import free_port
from tests.support.reading import run_with
from tests.support.until import until

NAME = "analytics search"


def make_query(customer: str) -> Query:
    return Query(customer, "lead", "entity", "user", ["recording"], False, 1, 10)


def run(url: str, work: Callable[[Searches], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `work` with searches that have one connection."""
    run_with(lambda: Searches(url, connections=1, **options), work)


def test_a_search_that_is_given_up_ends_in_the_database(own_database_url: str, customer: str) -> None:
    url, query = own_database_url, make_query(customer)

    async def use(searches: Searches) -> None:
        await searches.find(query)
        (backend,) = backends(url, NAME)
        with locked_table(url):
            given_up = asyncio.create_task(searches.find(query))
            await asyncio.sleep(0)
            waiting = asyncio.create_task(searches.find(query))
            await asyncio.to_thread(until, lambda: blocked_backends(url) == {backend})
            waiting.cancel()
            given_up.cancel()
            await asyncio.wait([given_up, waiting])
            assert given_up.cancelled()
            assert waiting.cancelled()
            assert blocked_backends(url) == set()
            # The connection is as good as before.
            next_one = asyncio.create_task(searches.find(query))
            await asyncio.to_thread(until, lambda: blocked_backends(url) == {backend})
        assert (await next_one).total == 0
        assert backends(url, NAME) == {backend}

    run(url, use)


def test_searches_given_up_at_once_leave_the_connection_as_it_was(own_database_url: str, customer: str) -> None:
    url, query = own_database_url, make_query(customer)

    async def use(searches: Searches) -> None:
        for turns in range(50):
            given_up = asyncio.create_task(searches.find(query))
            for _ in range(turns % 5):
                await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.wait([given_up])
            assert (await searches.find(query)).total == 0
        assert len(backends(url, NAME)) == 1

    run(url, use)


def test_a_given_up_search_of_a_database_that_hangs_is_let_go(own_database_url: str, customer: str) -> None:
    url, query = own_database_url, make_query(customer)

    async def use(searches: Searches) -> None:
        await searches.find(query)
        with frozen_backend(url, NAME):
            given_up = asyncio.create_task(searches.find(query))
            await asyncio.sleep(0.05)
            given_up.cancel()
            await asyncio.wait([given_up])
            assert (await searches.find(query)).total == 0

    run(url, use, timeout=0.1)


def test_a_search_on_a_connection_that_was_cut_is_run_again(own_database_url: str, customer: str) -> None:
    url, query = own_database_url, make_query(customer)

    async def use(searches: Searches) -> None:
        for _ in range(3):
            assert (await searches.find(query)).total == 0
            (backend,) = backends(url, NAME)
            assert terminate_backends(url, NAME) == {backend}
        await searches.find(query)
        with locked_table(url):
            found = [asyncio.create_task(searches.find(query)) for _ in range(3)]
            (first,) = await asyncio.to_thread(until, lambda: blocked_backends(url))
            terminate_backends(url, NAME)
            await asyncio.to_thread(until, lambda: blocked_backends(url) - {first})
        assert [page.total for page in await asyncio.gather(*found)] == [0, 0, 0]

    run(url, use)


def test_a_connection_that_hangs_is_given_up_and_replaced(own_database_url: str, customer: str) -> None:
    url, query = own_database_url, make_query(customer)

    async def use(searches: Searches) -> None:
        await searches.find(query)
        with frozen_backend(url, NAME):
            with pytest.raises(SearchTimedOut):
                await searches.find(query)
            assert (await searches.find(query)).total == 0

    run(url, use, timeout=0.1)


def test_searches_beyond_the_queue_are_refused_and_the_others_run(own_database_url: str, customer: str) -> None:
    url, query = own_database_url, make_query(customer)

    async def use(searches: Searches) -> None:
        with locked_table(url):
            found = [asyncio.create_task(searches.find(query)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(TooManySearches):
                await searches.find(query)
        assert [page.total for page in await asyncio.gather(*found)] == [0, 0, 0]

    run(url, use, max_waiting=2)


def test_each_search_learns_that_no_connection_can_be_opened(customer: str) -> None:
    async def use(searches: Searches) -> None:
        found = [searches.find(make_query(customer)) for _ in range(5)]
        async with asyncio.timeout(30):  # They do not wait until the session gives up.
            outcomes = await asyncio.gather(*found, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}

    run(f"postgresql://u@127.0.0.1:{free_port()}/x", use, timeout=60.0)


def test_a_value_that_cannot_be_sent_fails_its_own_search_alone(own_database_url: str, customer: str) -> None:
    async def use(searches: Searches) -> None:
        found = [searches.find(make_query(value)) for value in (customer, "a\0b", customer)]
        good, bad, also_good = await asyncio.gather(*found, return_exceptions=True)
        assert isinstance(bad, ValueError)
        assert good == also_good == (await searches.find(make_query(customer)))

    run(own_database_url, use)
