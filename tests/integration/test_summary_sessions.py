"""The statements of the summaries: what ends them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from storage import DatabaseUnavailable, SearchTimedOut, SummaryQuery, TooManySearches
from storage.ids import FIRST, LAST
from storage.summarizing import Summaries
from tests.support.database import backends, blocked_backends, locked_table
from tests.support.reading import run_with
from tests.support.until import until

NAME = "analytics summary"
SUMMARY = SummaryQuery("customer", (), FIRST, LAST, ("day", "user_id"), 10)


def use_summaries(url: str, work: Callable[[Summaries], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `work` with summaries that have one connection."""
    run_with(lambda: Summaries(url, connections=1, **options), work)


def test_a_summary_that_is_given_up_ends_in_the_database(own_database_url: str) -> None:
    url = own_database_url

    async def use(summaries: Summaries) -> None:
        await summaries.summarize(SUMMARY)
        (backend,) = backends(url, NAME)
        with locked_table(url):
            given_up = asyncio.create_task(summaries.summarize(SUMMARY))
            await asyncio.to_thread(until, lambda: blocked_backends(url) == {backend})
            given_up.cancel()
            await asyncio.wait([given_up])
            assert blocked_backends(url) == set()
        assert (await summaries.summarize(SUMMARY)).events == 0
        assert backends(url, NAME) == {backend}

    use_summaries(url, use)


def test_a_summary_that_takes_too_long_is_given_up(own_database_url: str) -> None:
    async def use(summaries: Summaries) -> None:
        await summaries.summarize(SUMMARY)
        with locked_table(own_database_url), pytest.raises(SearchTimedOut):
            await summaries.summarize(SUMMARY)

    use_summaries(own_database_url, use, timeout=0.2)


def test_summaries_beyond_those_that_may_wait_are_refused(own_database_url: str) -> None:
    async def use(summaries: Summaries) -> None:
        await summaries.summarize(SUMMARY)
        with locked_table(own_database_url):
            waiting = [asyncio.create_task(summaries.summarize(SUMMARY)) for _ in range(3)]
            _, pending = await asyncio.wait(waiting, timeout=0.1)
            assert len(pending) == 2
            summaries.abandon()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds == [DatabaseUnavailable, DatabaseUnavailable, TooManySearches]

    use_summaries(own_database_url, use, max_waiting=1)
