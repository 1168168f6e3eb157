"""The statements of the exports: what ends them, how much each reads, and which index."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from storage import DatabaseUnavailable, Export, ExportQuery, SearchTimedOut, Step
from storage.export import Exports
from storage.ids import FIRST, LAST
from tests.support.database import backends, blocked_backends, execute, locked_table, query
from tests.support.events import insert, make_event
from tests.support.reading import run_with
from tests.support.until import until


def make_export(customer: str, **filters: str) -> ExportQuery:
    return ExportQuery(customer, tuple(filters.items()), FIRST, LAST)


def use_exports(url: str, work: Callable[[Exports], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `work` with exports that have one connection."""
    run_with(lambda: Exports(url, connections=1, **options), work)


async def read_all(export: Export) -> list[Step]:
    steps = [await export.read()]
    while not steps[-1].is_last:
        steps.append(await export.read())
    return steps


def test_a_step_that_is_given_up_ends_in_the_database(own_database_url: str, customer: str) -> None:
    url = own_database_url
    insert(url, make_event(customer))

    async def use(exports: Exports) -> None:
        export = await exports.begin(make_export(customer))
        (backend,) = backends(url, "analytics export")
        with locked_table(url):
            given_up = asyncio.create_task(export.read())
            await asyncio.to_thread(until, lambda: backend in blocked_backends(url))
            given_up.cancel()
            await asyncio.wait([given_up])
            assert backend not in blocked_backends(url)
        assert len((await export.read()).events) == 1

    use_exports(url, use)


def test_a_step_that_takes_too_long_or_is_abandoned_fails(database_url: str, customer: str) -> None:
    insert(database_url, make_event(customer))

    async def use(exports: Exports) -> None:
        export = await exports.begin(make_export(customer))
        with locked_table(database_url):
            with pytest.raises(SearchTimedOut):
                await export.read()
            abandoned = asyncio.create_task(export.read())
            await asyncio.sleep(0)
            exports.abandon()
            with pytest.raises(DatabaseUnavailable):
                await abandoned

    use_exports(database_url, use, timeout=0.2)


@pytest.mark.parametrize("filters", [{}, {"user_id": "user"}], ids=str)
def test_a_step_is_bounded_in_rows_and_in_bytes(database_url: str, customer: str, filters: dict[str, str]) -> None:
    small = insert(database_url, *[make_event(customer) for _ in range(1_500)])
    large = insert(database_url, *[make_event(customer, message="m" * 65_536) for _ in range(40)])

    async def use(exports: Exports) -> None:
        steps = await read_all(await exports.begin(make_export(customer, **filters)))
        assert [event.id for step in steps for event in step.events] == small + large
        assert max(len(step.events) for step in steps) == 1_000
        assert max(sum(len(event.message) for event in step.events) for step in steps) <= (1 << 20) + 65_536

    use_exports(database_url, use)


def test_large_objects_are_not_printed_to_be_measured(own_database_url: str, customer: str) -> None:
    zeros = json.dumps({"a": [0] * 8_000})
    insert(own_database_url, *[make_event(customer, version_info=zeros) for _ in range(1_000)])

    async def use(exports: Exports) -> None:
        export = await exports.begin(make_export(customer))
        count = 0
        while True:
            # A step reads 1,000 rows, of which it returns a few. To print all of them would take over a second.
            step = await export.read()
            count += len(step.events)
            if step.is_last:
                break
        assert count == 1_000

    use_exports(own_database_url, use, timeout=0.8)


def test_an_export_with_a_rare_filter_reads_the_index_of_the_lists(own_database_url: str, customer: str) -> None:
    url = own_database_url
    users = ["rare" if number % 5_000 == 0 else "often" for number in range(24_000)]
    ids = insert(url, *[make_event(customer, user_id=user) for user in users])
    execute(url, "VACUUM ANALYZE analytics_event")

    async def use(exports: Exports) -> None:
        steps = await read_all(await exports.begin(make_export(customer, user_id="rare")))
        assert [event.id for step in steps for event in step.events] == ids[::5_000]
        assert len(steps) < len(ids) / 4_000  # Row after row, it would have taken as many.

    use_exports(url, use)
    scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'analytics_event_list'"
    until(lambda: query(url, scans)[0][0] > 0)
