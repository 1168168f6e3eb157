"""The segments of the lists: lists are right with them, whatever is written, erased or merged meanwhile."""

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

import pytest

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest
from storage import Event, ListQuery, list_search, list_segments
from storage.ids import FIRST, LAST
from storage.list_segments import ListSegments
from storage.listing import Lists
from storage.selection import FILTERS
from storage.sessions import Sessions
from tests.integration.test_listing import list_events
from tests.support.database import as_server, count_events, execute, query
from tests.support.events import insert, uncommitted
from tests.support.in_process import Client, running_server
from tests.support.reading import run_with
from tests.support.summaries import DAY, START, make_event
from tests.support.until import until

SMALL = 300
"""As many events as a small segment has here."""


class Segment(NamedTuple):
    start_id: str
    end_id: str
    events: int | None


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few hundred events be many."""
    monkeypatch.setattr(list_search, "RECENT_EVENTS", 40)
    monkeypatch.setattr(list_search, "SCANNED_EVENTS", 100)
    monkeypatch.setattr(list_segments, "MIN_EVENTS", 100)
    monkeypatch.setattr(list_segments, "FULL_EVENTS", 4 * SMALL)


def find_segments(url: str, customer: str) -> list[Segment]:
    """Return the segments of a customer, the oldest first."""
    sql = "SELECT start_id::text, end_id::text, events FROM list_segment WHERE customer_id = %s ORDER BY end_id"
    return [Segment(*row) for row in query(url, sql, customer)]


def make_events(customer: str, number: int, day: int, seed: int = 1) -> list[Event]:
    """Return events of one day, some of the same millisecond, in the order of their ids."""
    chance = random.Random(seed)
    times = [START + day * DAY + chance.randrange(DAY) for _ in range(number // 2)]
    return sorted(
        (make_event(customer, chance.choice(times), chance) for _ in range(number)), key=lambda event: event.id
    )


def find_expected(events: Sequence[Event], asked: ListQuery) -> list[str]:
    """Return the ids of the events that a list should find, over all pages."""
    found = [
        event.id
        for event in events
        if asked.since_id <= event.id < asked.before_id
        and all(getattr(event, name) == value for name, value in asked.filters)
    ]
    return sorted(found, reverse=True)


async def read_pages(lists: Lists, asked: ListQuery) -> list[str]:
    """Return the ids that a list finds, over all pages."""
    ids: list[str] = []
    while True:
        listing = await lists.list_events(asked)
        ids += [event.id for event in listing.events]
        if not listing.next_id:
            return ids
        assert len(listing.events) == asked.page_size
        asked = asked._replace(before_id=listing.next_id)


def ask_something(customer: str, events: Sequence[Event], chance: random.Random) -> ListQuery:
    """Return a list of some values, which are those of an event more often than not."""
    event = chance.choice(events)
    names = chance.sample(FILTERS, chance.choice((1, 1, 1, 2, 2, 3)))
    filters = tuple((name, getattr(event, name) if chance.random() < 0.9 else "nothing") for name in names)
    ends = sorted(chance.choice(events).id for _ in range(2))
    since, before = (end if chance.random() < 0.3 else bound for end, bound in zip(ends, (FIRST, LAST), strict=True))
    return ListQuery(customer, filters, since, before, chance.choice((3, 20, 200)))


async def check_lists(url: str, customer: str, events: Sequence[Event], number: int = 40) -> None:
    """Compare many lists with what they should find."""
    chance = random.Random(number)
    lists = Lists(url, lambda _: None)
    try:
        for _ in range(number):
            asked = ask_something(customer, events, chance)
            assert await read_pages(lists, asked) == find_expected(events, asked), asked
    finally:
        await lists.close()


async def make_segments(url: str, *customers: str) -> None:
    """Make all segments that can be made."""
    segments = ListSegments(url)
    try:
        for customer in customers:
            segments.ask(customer)
        await segments.settle()
    finally:
        await segments.close()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def store_and_make(url: str, customer: str, days: Sequence[int]) -> list[Event]:
    """Store a small segment's events for each of these days, make the segments, and return the events."""
    stored = []
    for day in days:
        events = make_events(customer, SMALL, day, seed=day)
        insert(url, *events)
        run(lambda: make_segments(url, customer))
        stored += events
    return stored


def test_lists_are_right_with_segments_and_without(database_url: str, customer: str) -> None:
    stored = []
    for days in (range(1), range(1, 4), range(4, 10)):
        stored += store_and_make(database_url, customer, days)
        run(partial(check_lists, database_url, customer, stored))
    insert(database_url, *(newest := make_events(customer, SMALL, 10)))
    run(lambda: check_lists(database_url, customer, [*stored, *newest]))
    assert [segment.events for segment in find_segments(database_url, customer)] == [4 * SMALL, 4 * SMALL, SMALL, SMALL]


def test_a_value_that_most_events_have_is_found_too(database_url: str, customer: str) -> None:
    often = [event._replace(user_id="often") for event in make_events(customer, 2_000, 0)]
    rare = make_events(customer, SMALL, 1)
    insert(database_url, *often)
    run(lambda: make_segments(database_url, customer))
    insert(database_url, *rare)
    stored = [*often, *rare]

    async def check() -> None:
        lists = Lists(database_url, lambda _: None)
        for filters in ({"user_id": "often"}, {"user_id": "often", "entity_id": "a"}, {"user_id": "A"}):
            for page_size in (7, 900):
                asked = ListQuery(customer, tuple(filters.items()), FIRST, LAST, page_size)
                assert await read_pages(lists, asked) == find_expected(stored, asked)
        await lists.close()

    run(check)


def test_a_page_far_back_takes_few_statements(
    database_url: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store_and_make(database_url, customer, range(4))
    asked = ListQuery(customer, (("entity_type", "lead"),), FIRST, stored[len(stored) // 8].id, 30)
    statements = []
    execute_statement = Sessions.run

    async def run_statement(self: Sessions, sql: str, values: Sequence[Any]) -> list[Any]:
        statements.append(sql)
        return await execute_statement(self, sql, values)

    async def list_once(lists: Lists) -> None:
        found = (await lists.list_events(asked)).events
        assert [event.id for event in found] == find_expected(stored, asked)[:30]

    monkeypatch.setattr(Sessions, "run", run_statement)
    run_with(lambda: Lists(database_url, lambda _: None), list_once)
    assert len(statements) <= 10


def test_a_list_that_is_long_has_segments_made(client: Client, database_url: str, customer: str) -> None:
    stored = make_events(customer, 200, 0)
    insert(database_url, *stored)
    for _ in range(2):
        page = list_events(client, customer, user_id="A", page_size=1_000)
        asked = ListQuery(customer, (("user_id", "A"),), FIRST, LAST, 1_000)
        assert [record.id for record in page.events] == find_expected(stored, asked)
        until(lambda: [segment.events for segment in find_segments(database_url, customer)] == [200])


def test_an_erasure_takes_the_segments_of_its_events_along(client: Client, database_url: str, customer: str) -> None:
    stored = store_and_make(database_url, customer, (0, 1, 2))
    gone = [event for event in stored if SMALL <= stored.index(event) < 2 * SMALL and event.user_id == "A"]
    execute(
        database_url,
        f"UPDATE analytics_event SET user_id = 'erased' WHERE customer_id = '{customer}' AND id BETWEEN"
        f" '{gone[0].id}' AND '{gone[-1].id}' AND user_id = 'A'",
    )
    before = find_segments(database_url, customer)
    client.events.EraseAnalyticsEvents(EraseAnalyticsEventsRequest(customer_id=customer, user_id="erased"), timeout=20)
    until(lambda: count_events(database_url, customer) == len(stored) - len(gone))
    assert find_segments(database_url, customer) == [before[0], before[2]]
    left = [event for event in stored if event not in gone]
    run(lambda: check_lists(database_url, customer, left))
    run(lambda: make_segments(database_url, customer))
    made = find_segments(database_url, customer)
    assert [segment.events for segment in made] == [SMALL, SMALL - len(gone), SMALL]
    assert [each.end_id for each in made[:-1]] == [each.start_id for each in made[1:]]
    run(lambda: check_lists(database_url, customer, left))


def test_no_segment_is_made_while_an_erasure_is_not_finished(database_url: str, customer: str) -> None:
    insert(database_url, *make_events(customer, SMALL, 0))
    # As one that another server works on.
    execute(
        database_url,
        "INSERT INTO erasure (customer_id, id, all_events, user_id, entity_type, entity_id, block_later, requested_by,"
        f" created_at, until_id, leased_by, leased_until) SELECT '{customer}', id, false, 'somebody', '', '', false,"
        " 'test', now(), id, 'other', now() + interval '1 hour' FROM gen_random_uuid() AS id",
    )
    other = f"{customer} beside"
    insert(database_url, *make_events(other, SMALL, 0))
    run(lambda: make_segments(database_url, customer, other))
    assert [segment.events for segment in find_segments(database_url, customer)] in ([], [None])
    assert [segment.events for segment in find_segments(database_url, other)] == [SMALL]


def test_what_is_erased_while_a_segment_is_made_is_not_in_it(client: Client, database_url: str, customer: str) -> None:
    insert(database_url, *make_events(customer, SMALL, 0))
    writing = make_event(f"{customer} writes", START, random.Random(1))

    async def work(segments: ListSegments) -> None:
        with uncommitted(database_url, writing):  # For which the reading waits.
            segments.ask(customer)
            await asyncio.to_thread(until, lambda: find_segments(database_url, customer))
            erase = EraseAnalyticsEventsRequest(customer_id=customer, all_events=True)
            await asyncio.to_thread(client.events.EraseAnalyticsEvents, erase, timeout=20)
            await asyncio.to_thread(until, lambda: count_events(database_url, customer) == 0)
        await segments.settle()
        assert find_segments(database_url, customer) == []

    run_with(lambda: ListSegments(database_url), work)


def test_a_segment_has_what_was_being_written(database_url: str, customer: str) -> None:
    stored = make_events(customer, SMALL, 0)
    late = make_event(customer, START + 1, random.Random(2))
    insert(database_url, *stored)

    async def work(segments: ListSegments) -> None:
        with uncommitted(database_url, late) as connection:
            segments.ask(customer)
            await asyncio.to_thread(until, lambda: find_segments(database_url, customer))
            assert [segment.events for segment in find_segments(database_url, customer)] == [None]
            connection.commit()
        await segments.settle()
        assert [segment.events for segment in find_segments(database_url, customer)] == [SMALL + 1]

    run_with(lambda: ListSegments(database_url), work)
    run(lambda: check_lists(database_url, customer, [*stored, late]))


def test_a_server_leaves_a_segment_to_who_has_claimed_it(database_url: str, customer: str) -> None:
    stored = make_events(customer, SMALL, 0)
    writing = make_event(f"{customer} writes", START, random.Random(1))
    insert(database_url, *stored)

    async def work(segments: ListSegments) -> None:
        with uncommitted(database_url, writing):  # For which the reading waits.
            segments.ask(customer)
            await asyncio.to_thread(until, lambda: find_segments(database_url, customer))
            claim = f"UPDATE list_segment SET token = '{uuid.uuid4()}' WHERE customer_id = '{customer}'"
            await asyncio.to_thread(execute, database_url, claim)
        await segments.settle()
        assert [segment.events for segment in find_segments(database_url, customer)] == [None]

    run_with(lambda: ListSegments(database_url), work)


def test_many_servers_make_each_segment_once(database_url: str, customer: str) -> None:
    stored = [event for day in range(3) for event in make_events(customer, SMALL, day, seed=day)]
    insert(database_url, *stored)

    async def work() -> None:
        await asyncio.gather(*[make_segments(database_url, customer) for _ in range(5)])

    run(work)
    assert [segment.events for segment in find_segments(database_url, customer)] == [len(stored)]
    run(lambda: check_lists(database_url, customer, stored))


def test_what_a_server_left_behind_is_in_nobodys_way(database_url: str, customer: str) -> None:
    stored = store_and_make(database_url, customer, range(3))
    execute(database_url, f"CREATE TABLE behind AS SELECT * FROM list_segment WHERE customer_id = '{customer}'")
    stored += store_and_make(database_url, customer, [3])
    merged = find_segments(database_url, customer)
    assert [segment.events for segment in merged] == [4 * SMALL]
    # Small segments that have just been merged, and a claim.
    execute(database_url, "INSERT INTO list_segment SELECT * FROM behind; DROP TABLE behind")
    claim = f"'{customer}', '{merged[0].end_id}', '{LAST}', gen_random_uuid()"
    execute(database_url, f"INSERT INTO list_segment (customer_id, start_id, end_id, token) VALUES ({claim})")
    run(lambda: check_lists(database_url, customer, stored))
    run(lambda: make_segments(database_url, customer))
    assert find_segments(database_url, customer) == merged
    run(lambda: check_lists(database_url, customer, stored))


def test_segments_are_not_merged_without_one_that_vanishes(
    database_url: str, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store_and_make(database_url, customer, range(3))
    second = find_segments(database_url, customer)[1]
    insert(database_url, *(newer := make_events(customer, SMALL, 3, seed=3)))
    gone = f"DELETE FROM list_segment WHERE customer_id = '{customer}' AND start_id = '{second.start_id}'"

    is_gone = False

    class Interrupted(ListSegments):
        async def execute(self, sql: str, values: Sequence[Any]) -> list[Any]:
            nonlocal is_gone
            # When it is about to claim what four segments are merged into.
            if "INSERT" in sql and not is_gone and len(find_segments(database_url, customer)) == 4:
                is_gone = True
                execute(database_url, gone)
            return await super().execute(sql, values)

    monkeypatch.setattr(f"{__name__}.ListSegments", Interrupted)
    run(lambda: make_segments(database_url, customer))
    assert is_gone
    assert sum(segment.events or 0 for segment in find_segments(database_url, customer)) == 4 * SMALL
    run(lambda: check_lists(database_url, customer, [*stored, *newer]))


def test_a_list_whose_segments_change_meanwhile_begins_again(database_url: str, customer: str) -> None:
    stored = store_and_make(database_url, customer, range(6))
    asked = ListQuery(customer, (("user_id", "Z"), ("entity_id", "b")), FIRST, LAST, 3)
    stop = asyncio.Event()

    async def list_again_and_again() -> None:
        lists = Lists(database_url, lambda _: None)
        while not stop.is_set():
            assert await read_pages(lists, asked) == find_expected(stored, asked)
        await lists.close()

    async def work() -> None:
        listing = [asyncio.create_task(list_again_and_again()) for _ in range(3)]
        for _ in range(10):
            await asyncio.to_thread(execute, database_url, f"DELETE FROM list_segment WHERE customer_id = '{customer}'")
            await make_segments(database_url, customer)
        stop.set()
        await asyncio.gather(*listing)

    run(work)


def test_a_list_is_right_without_segments_that_it_cannot_keep(own_database_url: str, customer: str) -> None:
    stored = make_events(customer, SMALL, 0)
    insert(own_database_url, *stored)
    asked = ListQuery(customer, (("user_id", "A"),), FIRST, LAST, 1_000)
    with running_server(as_server(own_database_url)) as server:
        execute(own_database_url, "REVOKE INSERT ON list_segment FROM analytics_server")
        for _ in range(3):
            page = list_events(server.client, customer, user_id="A", page_size=1_000)
            assert [record.id for record in page.events] == find_expected(stored, asked)
    assert find_segments(own_database_url, customer) == []
