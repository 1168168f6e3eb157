"""Summaries of events, by gRPC and as Envoy passes on those for JSON: what is counted, and what is refused."""

import json
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from hypothesis import HealthCheck, example, given, settings

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest
from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest
from server.access.caller import ERASE, READ, WRITE
from storage import Event
from storage.event import format_time
from tests.support.access import bearer, create, make_key
from tests.support.events import insert
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused
from tests.support.summaries import (
    GROUPS,
    START,
    TIMES,
    Asked,
    ask_by_grpc,
    ask_for,
    make_event,
    summarize,
)

CUSTOMERS = ("summarized", "summarized ")
ASKED = ask_for(CUSTOMERS[0])


@pytest.fixture(scope="session")
def events(database_url: str) -> list[Event]:
    """Store events of two customers, and return those of the first."""
    chance = random.Random(1)
    stored = [make_event(CUSTOMERS[0], chance.choice(TIMES), chance) for _ in range(300)]
    insert(database_url, *stored, *[make_event(CUSTOMERS[1], chance.choice(TIMES), chance) for _ in range(100)])
    return stored


def ask_as_json(client: Client, asked: Asked) -> Any:
    """Return the response to what Envoy passes on of a request for JSON."""
    url = f"/api/v1/analytics_events:summary?{urlencode(asked.list_parameters())}"
    call: Any = client.channel.unary_stream("/data_analytics.v1.http.AnalyticsEventService/SummarizeAnalyticsEvents")
    parts = call(HttpBody().SerializeToString(), metadata=[("x-envoy-original-path", url)], timeout=20)
    return json.loads(b"".join(HttpBody.FromString(part).data for part in parts))


@pytest.mark.parametrize("ask", [ask_by_grpc, ask_as_json])
def test_a_summary_is_what_its_events_add_up_to(
    client: Client, events: list[Event], ask: Callable[[Client, Asked], dict[str, Any]]
) -> None:
    whole = TIMES[0], TIMES[-1] + 1

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(ASKED)
    @example(Asked(CUSTOMERS[0], (), *whole))
    @example(Asked(CUSTOMERS[0], ("entity_id", "tool_signature"), *whole, top=10_000))
    @example(Asked(CUSTOMERS[0], ("hour", "user_id"), *whole))
    @example(Asked(CUSTOMERS[0], ("day", "hour"), *whole, top=3))
    def check(asked: Asked) -> None:
        assert ask(client, asked) == summarize(events, asked)

    check()


@pytest.mark.parametrize("pair", [(a, b) for a in GROUPS for b in GROUPS if a != b], ids="-".join)
def test_each_pair_of_groups_can_be_asked_for(client: Client, events: list[Event], pair: tuple[str, str]) -> None:
    asked = Asked(CUSTOMERS[0], pair, TIMES[0], TIMES[-1] + 1, top=20)
    assert ask_by_grpc(client, asked) == summarize(events, asked)


def count(client: Client, customer: str, **fields: Any) -> tuple[int, int]:
    """Return how many events a customer has, and how many users, in all."""
    request = SummarizeAnalyticsEventsRequest(customer_id=customer, **fields)
    answer = client.events.SummarizeAnalyticsEvents(request, timeout=20)
    return answer.events, answer.users


def test_thirty_days_are_counted_unless_a_time_is_sent(client: Client, database_url: str, customer: str) -> None:
    now, chance = datetime.now(UTC), random.Random(2)
    ages = [timedelta(minutes=-5), timedelta(), timedelta(days=29, hours=23), timedelta(days=30, hours=1)]
    times = [now - age for age in (*ages, timedelta(days=399))]
    insert(database_url, *[make_event(customer, int(time.timestamp() * 1_000), chance) for time in times])
    assert count(client, customer)[0] == 3
    assert count(client, customer, until=times[3].isoformat())[0] == 0
    assert count(client, customer, until=(times[3] + timedelta(seconds=1)).isoformat())[0] == 1
    assert count(client, customer, since=(now - timedelta(days=399, hours=23)).isoformat())[0] == 5


def test_an_event_counts_from_its_commit_until_it_is_erased(client: Client, database_url: str, customer: str) -> None:
    chance = random.Random(3)
    now = int(datetime.now(UTC).timestamp() * 1_000)
    stored = [make_event(customer, now - 60_000 + number, chance) for number in range(50)]
    # As what is committed late is: its id is among those of others.
    for event in (*stored[::2], *stored[1::2]):
        before = count(client, customer)[0]
        insert(database_url, event)
        assert count(client, customer)[0] == before + 1
    user = stored[0].user_id
    client.events.EraseAnalyticsEvents(EraseAnalyticsEventsRequest(customer_id=customer, user_id=user), timeout=20)
    left = [event for event in stored if event.user_id != user]
    assert count(client, customer) == (len(left), len({event.user_id for event in left}))
    assert count(client, customer, user_id=user) == (0, 0)


def test_ten_thousand_groups_are_returned_and_no_more(client: Client, database_url: str, customer: str) -> None:
    chance = random.Random(4)
    event = make_event(customer, START, chance)
    many = [
        event._replace(id=str(uuid.UUID(int=START << 80 | number)), entity_id=f"{number:05}")
        for number in range(10_001)
    ]
    insert(database_url, *many)
    fields: dict[str, Any] = {"since": format_time(START), "until": format_time(START + 1), "by": ["entity_id"]}
    request = SummarizeAnalyticsEventsRequest(customer_id=customer, top=10_000, **fields)
    answer = client.events.SummarizeAnalyticsEvents(request, timeout=20)
    assert [row.values[0] for row in answer.rows] == [each.entity_id for each in many[:0:-1]]
    assert (answer.events, answer.users, answer.more) == (10_001, 1, True)


def test_a_summary_over_sixteen_mebibytes_is_refused(client: Client, database_url: str, customer: str) -> None:
    longest = "\U0001f600" * 250
    event = make_event(customer, START, random.Random(5))._replace(recording_id=f"{longest}00000")
    many = [
        event._replace(id=str(uuid.UUID(int=START << 80 | number)), entity_id=f"{longest}{number:05}")
        for number in range(9_000)
    ]
    insert(database_url, *many)
    fields: dict[str, Any] = {
        "since": format_time(START),
        "until": format_time(START + 1),
        "by": ["entity_id", "recording_id"],
    }
    request = SummarizeAnalyticsEventsRequest(customer_id=customer, top=1_000, **fields)
    assert len(client.events.SummarizeAnalyticsEvents(request, timeout=20).rows) == 1_000
    request.top = 10_000
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.SummarizeAnalyticsEvents(request, timeout=20)
    assert set(refusal.violations) == {"top"}


def refuse(client: Client, **fields: Any) -> set[str]:
    """Return the fields that the refusal of a summary names."""
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.SummarizeAnalyticsEvents(SummarizeAnalyticsEventsRequest(**fields), timeout=20)
    return set(refusal.violations)


def test_every_field_of_a_summary_at_fault_is_named_at_once(client: Client) -> None:
    names = ("user_id", "entity_id", "recording_id", "event_type", "tool_signature", "since", "until")
    fields = dict.fromkeys(names, "x" * 256)
    faulty = refuse(client, entity_type="account", by=["day", "week"], top=10_001, **fields)
    assert faulty == {"customer_id", "entity_type", "by[1]", "top", *names}
    assert refuse(client, customer_id="c", top=0) == {"top"}
    assert refuse(client, customer_id="c", by=["day", "day"]) == {"by"}
    assert refuse(client, customer_id="c", by=["day", "hour", "user_id"]) == {"by"}
    assert refuse(client, customer_id="c", by=[""] * 300_000) >= {"by", "by[0]"}


def test_a_summary_of_more_than_four_hundred_days_is_refused(client: Client) -> None:
    now = datetime.now(UTC)
    longest = {"since": "2020-01-01T00:00:00Z", "until": "2021-02-04T00:00:00Z"}
    assert count(client, "c", **longest) == (0, 0)
    assert refuse(client, customer_id="c", **{**longest, "until": "2021-02-04T00:00:00.001Z"}) == {"since"}
    assert refuse(client, customer_id="c", since=(now - timedelta(days=401)).isoformat()) == {"since"}
    assert count(client, "c", since="2021-02-04T00:00:00Z", until="2020-01-01T00:00:00Z") == (0, 0)
    assert count(client, "c", until="0001-01-01T00:00:00Z") == (0, 0)
    assert count(client, "c", since="9999-12-31T23:59:59Z") == (0, 0)


@pytest.fixture(scope="module")
def guarded(guarded_url: str) -> Iterator[RunningServer]:
    """Yield a server whose callers need credentials."""
    with running_server(guarded_url, auth=True) as running:
        yield running


def count_with_key(server: RunningServer, key: str, customer: str, **fields: Any) -> int:
    """Return how many events a caller with this key counts."""
    request = SummarizeAnalyticsEventsRequest(customer_id=customer, **fields)
    metadata = tuple(bearer(key).items())
    return int(server.client.events.SummarizeAnalyticsEvents(request, timeout=20, metadata=metadata).events)


def test_a_caller_counts_the_events_that_it_may_list(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    whole = make_key(guarded_url, "secret", customer)
    for user in ("user", "other", "other"):
        create(guarded, customer, whole, user_id=user)
    assert count_with_key(guarded, whole, customer) == 3
    of_user = make_key(guarded_url, "secret", customer, "--user", "user")
    assert count_with_key(guarded, of_user, customer, user_id="user") == 1
    denied: list[tuple[str, dict[str, Any]]] = [
        (of_user, fields) for fields in ({}, {"user_id": "other"}, {"by": ["user_id"]}, {"user_id": "user "})
    ]
    denied += [(make_key(guarded_url, "secret", customer, "--scope", scope), {}) for scope in (WRITE, ERASE)]
    denied += [(make_key(guarded_url, "secret", f"{customer} other"), {})]
    for key, fields in denied:
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            count_with_key(guarded, key, customer, **fields)
    assert count_with_key(guarded, make_key(guarded_url, "secret", customer, "--scope", READ), customer) == 3
