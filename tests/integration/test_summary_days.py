"""The days that summaries keep: they are right, whatever is written or erased meanwhile."""

import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest
from storage import Event
from storage.summary_days import MIN_EVENTS
from tests.support.database import as_server, count_events, execute, query
from tests.support.events import insert, uncommitted
from tests.support.in_process import Client, running_server
from tests.support.summaries import DAY, GROUPS, START, TIMES, Asked, ask_by_grpc, ask_for, make_event, summarize
from tests.support.until import until

CUSTOMER = "kept"
ALL = TIMES[0], TIMES[-1] + 1


def find_kept(url: str, customer: str) -> dict[int, int | None]:
    """Return of each day that has a row, as days since the epoch, how many events are kept."""
    rows = query(url, "SELECT day - date 'epoch', events FROM summary_day WHERE customer_id = %s", customer)
    return dict(rows)


def make_events(customer: str, number: int, day: int, seed: int = 1) -> list[Event]:
    """Return events of one day, which are enough to be kept."""
    chance = random.Random(seed)
    return [make_event(customer, day * DAY + chance.randrange(DAY), chance) for _ in range(number)]


def ask_for_all(client: Client, customer: str, *by: str) -> dict[str, Any]:
    """Return a summary of all events."""
    return ask_by_grpc(client, Asked(customer, by, START, START + 60 * DAY, top=10_000))


def keep(client: Client, url: str, customer: str, *days: int) -> None:
    """Ask for a summary, and wait until it has had days kept."""
    ask_for_all(client, customer)
    until(lambda: set(days) <= {day for day, events in find_kept(url, customer).items() if events})


@pytest.fixture(scope="module")
def events(database_url: str) -> list[Event]:
    """Store events, of which most lie on days that are kept, and return them."""
    chance = random.Random(7)
    stored = [make_event(CUSTOMER, chance.choice(TIMES), chance) for _ in range(6_000)]
    stored += [make_event(CUSTOMER, START + chance.randrange(40 * DAY), chance) for _ in range(1_000)]
    insert(database_url, *stored)
    return stored


def test_days_that_are_kept_add_up_with_those_that_are_not(
    client: Client, database_url: str, events: list[Event]
) -> None:
    keep(client, database_url, CUSTOMER, *[START // DAY + number for number in (0, 1, 3, 31)])
    assert len(find_kept(database_url, CUSTOMER)) == 4

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(ask_for(CUSTOMER))
    @example(Asked(CUSTOMER, (), *ALL))
    @example(Asked(CUSTOMER, ("hour", "user_id"), *ALL))
    @example(Asked(CUSTOMER, ("entity_id", "tool_signature"), START - DAY, START + 50 * DAY, top=10_000))
    def check(asked: Asked) -> None:
        assert ask_by_grpc(client, asked) == summarize(events, asked)

    check()
    for pair in [(a, b) for a in GROUPS for b in GROUPS if a != b]:
        asked = Asked(CUSTOMER, pair, START + 1, START + 4 * DAY, top=20)
        assert ask_by_grpc(client, asked) == summarize(events, asked)


def test_an_erasure_takes_the_days_that_are_kept_along(client: Client, database_url: str, customer: str) -> None:
    days = [START // DAY + number for number in (0, 1, 2)]
    of_days = [make_events(customer, MIN_EVENTS, day, seed=day) for day in days]
    of_days[1] = [
        event._replace(user_id="erased") if number % 5 == 0 else event for number, event in enumerate(of_days[1])
    ]
    stored = [event for each in of_days for event in each]
    insert(database_url, *stored)
    keep(client, database_url, customer, *days)
    client.events.EraseAnalyticsEvents(EraseAnalyticsEventsRequest(customer_id=customer, user_id="erased"), timeout=20)
    left = [event for event in stored if event.user_id != "erased"]
    asked = Asked(customer, ("day", "user_id"), START, START + 60 * DAY, top=10_000)
    assert ask_by_grpc(client, asked) == summarize(left, asked)
    assert days[1] not in find_kept(database_url, customer)
    assert {days[0], days[2]} <= find_kept(database_url, customer).keys()


def test_events_that_vanish_in_sql_are_not_named(client: Client, database_url: str, customer: str) -> None:
    day = START // DAY
    stored = make_events(customer, MIN_EVENTS, day)
    insert(database_url, *stored)
    keep(client, database_url, customer, day)
    execute(database_url, f"DELETE FROM analytics_event WHERE customer_id = '{customer}' AND user_id = 'A'")
    left = [event for event in stored if event.user_id != "A"]
    asked = Asked(customer, ("user_id",), START, START + DAY)
    assert ask_by_grpc(client, asked) == summarize(left, asked)


def test_a_day_that_is_too_large_is_not_tried_again(client: Client, database_url: str, customer: str) -> None:
    day = START // DAY
    # With texts as long as they may be.
    events = make_events(customer, 12_000, day)
    longest = [event._replace(entity_id=f"{number:05}".ljust(255, "\U0001f600")) for number, event in enumerate(events)]
    longest = [event._replace(recording_id=event.entity_id, user_id=event.entity_id) for event in longest]
    insert(database_url, *[event._replace(tool_signature=event.entity_id[::-1]) for event in longest])
    asked = Asked(customer, ("user_id",), START, START + DAY, top=1)
    assert ask_by_grpc(client, asked)["events"] == len(events)
    given_up = "SELECT claimed_at > now() + interval '1 year' FROM summary_day WHERE customer_id = %s"
    until(lambda: query(database_url, given_up, customer) == [(True,)])
    assert ask_by_grpc(client, asked)["users"] == len(events)
    assert find_kept(database_url, customer) == {day: None}


def test_nothing_is_kept_while_an_erasure_is_not_finished(client: Client, database_url: str, customer: str) -> None:
    day = START // DAY
    insert(database_url, *make_events(customer, MIN_EVENTS, day))
    # As one that another server works on.
    execute(
        database_url,
        "INSERT INTO erasure (customer_id, id, all_events, user_id, entity_type, entity_id, block_later, requested_by,"
        f" created_at, until_id, leased_by, leased_until) SELECT '{customer}', id, false, 'somebody', '', '', false,"
        " 'test', now(), id, 'other', now() + interval '1 hour' FROM gen_random_uuid() AS id",
    )
    ask_for_all(client, customer)
    until(lambda: day in find_kept(database_url, customer))
    other = f"{customer} afterwards"
    insert(database_url, *make_events(other, MIN_EVENTS, day))
    keep(client, database_url, other, day)
    assert find_kept(database_url, customer) == {day: None}


def test_what_is_erased_while_it_is_read_is_not_kept(client: Client, database_url: str, customer: str) -> None:
    day = START // DAY
    insert(database_url, *make_events(customer, MIN_EVENTS, day))
    writing = make_event(f"{customer} writes", START, random.Random(1))
    with uncommitted(database_url, writing):  # For which the reading waits.
        ask_for_all(client, customer)
        until(lambda: day in find_kept(database_url, customer))
        client.events.EraseAnalyticsEvents(
            EraseAnalyticsEventsRequest(customer_id=customer, all_events=True), timeout=20
        )
        until(lambda: count_events(database_url, customer) == 0)
        assert day not in find_kept(database_url, customer)
    other = f"{customer} afterwards"
    insert(database_url, *make_events(other, MIN_EVENTS, day))
    keep(client, database_url, other, day)
    assert find_kept(database_url, customer) == {}


def test_a_day_is_kept_with_what_was_being_written(client: Client, database_url: str, customer: str) -> None:
    day = START // DAY
    stored = make_events(customer, MIN_EVENTS, day)
    late = make_event(customer, START + DAY - 1, random.Random(2))
    insert(database_url, *stored)
    with uncommitted(database_url, late) as connection:
        ask_for_all(client, customer)
        until(lambda: day in find_kept(database_url, customer))
        assert find_kept(database_url, customer) == {day: None}
        connection.commit()
        until(lambda: find_kept(database_url, customer) == {day: len(stored) + 1})
    asked = Asked(customer, ("hour", "entity_id"), START, START + DAY, top=10_000)
    assert ask_by_grpc(client, asked) == summarize([*stored, late], asked)


def test_a_day_that_is_small_or_not_over_is_not_kept(client: Client, database_url: str, customer: str) -> None:
    today = int(time.time() * 1_000) // DAY
    small, kept = START // DAY, START // DAY + 1
    insert(database_url, *make_events(customer, MIN_EVENTS - 1, small), *make_events(customer, MIN_EVENTS, kept))
    insert(database_url, *make_events(customer, MIN_EVENTS, today))
    until_tomorrow = (today + 1) * DAY
    for asked in (Asked(customer, (), START, START + 2 * DAY), Asked(customer, (), today * DAY, until_tomorrow)):
        assert ask_by_grpc(client, asked)["events"] >= MIN_EVENTS
    other = f"{customer} afterwards"
    insert(database_url, *make_events(other, MIN_EVENTS, kept))
    keep(client, database_url, other, kept)
    assert find_kept(database_url, customer) == {kept: MIN_EVENTS}


def test_a_summary_is_right_without_what_it_cannot_keep(own_database_url: str, customer: str) -> None:
    days = [START // DAY, START // DAY + 1]
    stored = [event for day in days for event in make_events(customer, MIN_EVENTS, day, seed=day)]
    insert(own_database_url, *stored)
    asked = Asked(customer, ("day", "user_id"), START, START + 2 * DAY, top=10_000)
    with running_server(as_server(own_database_url)) as server:
        execute(own_database_url, "REVOKE INSERT ON summary_day FROM analytics_server")
        for _ in range(3):
            assert ask_by_grpc(server.client, asked) == summarize(stored, asked)
    assert find_kept(own_database_url, customer) == {}
