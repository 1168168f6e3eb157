"""Summaries of events, by gRPC and as Envoy passes on those for JSON: what is counted, and what is refused."""

import json
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest
from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest
from server.access.caller import ERASE, READ, WRITE
from storage import Event
from storage.event import format_time
from tests.support.access import bearer, create, make_key
from tests.support.events import insert
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused

GROUPS = ("day", "hour", "event_type", "tool_signature", "recording_id", "user_id", "entity_id")
DAY = 24 * 3_600_000
START = 20_000 * DAY
"""2024-10-04, at midnight."""

# In the order of their code points, which is neither that of UTF-16 nor that of any language.
VALUES = ("", " ", "A", "Z", "a", "ab", "b", "\u00e9", "\ufffd", "\U0001f600")
FILTERS = {
    "user_id": ("A", "\u00e9", "nobody"),
    "entity_type": ("lead",),
    "entity_id": ("a",),
    "recording_id": ("b", "Z"),
    "event_type": ("view",),
    "tool_signature": ("ab",),
}
# Midnight, an hour, and the milliseconds around them.
TIMES = [START + at + around for at in (0, 3_600_000, DAY, 3 * DAY, 31 * DAY) for around in (-1, 0, 1)]
CUSTOMERS = ("summarized", "summarized ")


class Asked(NamedTuple):
    """A summary to ask for."""

    by: tuple[str, ...]
    since: int
    until: int
    top: int | None = None
    filters: tuple[tuple[str, str], ...] = ()

    def list_parameters(self) -> list[tuple[str, str]]:
        """Return the parameters of its URL."""
        parameters = [("customer_id", CUSTOMERS[0]), *(("by", name) for name in self.by), *self.filters]
        parameters += [("since", format_time(self.since)), ("until", format_time(self.until))]
        return parameters if self.top is None else [*parameters, ("top", str(self.top))]


ASKED = st.builds(
    Asked,
    st.lists(st.sampled_from(GROUPS), max_size=2, unique=True).map(tuple),
    st.sampled_from(TIMES),
    st.sampled_from(TIMES),
    st.sampled_from([None, 1, 2, 5, 10_000]),
    st.dictionaries(st.sampled_from(sorted(FILTERS)), st.integers(0, 2), max_size=2).map(
        lambda chosen: tuple((name, FILTERS[name][number % len(FILTERS[name])]) for name, number in chosen.items())
    ),
)


def make_event(customer: str, milliseconds: int, chance: random.Random) -> Event:
    """Return an event of that time whose other values are those that summaries group by."""
    texts = dict.fromkeys(Event._fields, "")
    texts |= {name: chance.choice(VALUES[1:]) for name in ("user_id", "recording_id", "entity_id")}
    texts |= {"event_type": chance.choice(("view", "share")), "tool_signature": chance.choice(VALUES)}
    texts |= {"customer_id": customer, "entity_type": chance.choice(("lead", "contact"))}
    if chance.random() < 0.1:  # As long as they may be.
        texts |= dict.fromkeys(("recording_id", "entity_id", "tool_signature"), "\U0001f600" * 255)
    noise = 0x7 << 76 | 0x2 << 62 | chance.getrandbits(60)
    times = dict.fromkeys(("created_at", "updated_at"), format_time(milliseconds))
    return Event(**{**texts, **times, "id": str(uuid.UUID(int=milliseconds << 80 | noise)), "version_info": None})  # type: ignore[arg-type]  # only that is None


@pytest.fixture(scope="session")
def events(database_url: str) -> list[Event]:
    """Store events of two customers, and return those of the first."""
    chance = random.Random(1)
    stored = [make_event(CUSTOMERS[0], chance.choice(TIMES), chance) for _ in range(300)]
    insert(database_url, *stored, *[make_event(CUSTOMERS[1], chance.choice(TIMES), chance) for _ in range(100)])
    return stored


def get_value(event: Event, name: str) -> str:
    """Return the value of an event by which it is grouped."""
    if name == "day":
        return event.created_at[:10]
    return f"{event.created_at[:13]}:00:00Z" if name == "hour" else str(getattr(event, name))


def summarize(events: Sequence[Event], asked: Asked) -> dict[str, Any]:
    """Return the summary of events as JSON has it, counted here."""
    since, until = format_time(asked.since), format_time(asked.until)
    counted = [
        event
        for event in events
        if since <= event.created_at < until and all(getattr(event, name) == text for name, text in asked.filters)
    ]
    groups = defaultdict(list)
    for event in counted:
        groups[tuple(get_value(event, name) for name in asked.by)].append(event)
    rows = [
        {
            "values": list(values),
            "events": len(group),
            "users": len({event.user_id for event in group}),
            "lastCreatedAt": max(event.created_at for event in group),
        }
        for values, group in sorted(groups.items(), key=_rank, reverse=True)
    ]
    top = 100 if asked.top is None else asked.top
    users = len({event.user_id for event in counted})
    totals = {"events": len(counted), "users": users, "more": len(rows) > top}
    return {"by": list(asked.by), "rows": rows[:top], **totals}


def _rank(group: tuple[tuple[str, ...], list[Event]]) -> tuple[int, str]:
    """Return what decides on the place of a group: its size, then its newest event."""
    _, events = group
    return len(events), max(event.id for event in events)


def ask_by_grpc(client: Client, asked: Asked) -> dict[str, Any]:
    """Return the response over gRPC as JSON has it."""
    fields: dict[str, Any] = dict(asked.list_parameters())
    request = SummarizeAnalyticsEventsRequest(**{**fields, "by": asked.by, "top": asked.top})
    answer = client.events.SummarizeAnalyticsEvents(request, timeout=20)
    return MessageToDict(answer, always_print_fields_with_no_presence=True)


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
    @example(Asked((), *whole))
    @example(Asked(("entity_id", "tool_signature"), *whole, top=10_000))
    @example(Asked(("hour", "user_id"), *whole))
    @example(Asked(("day", "hour"), *whole, top=3))
    def check(asked: Asked) -> None:
        assert ask(client, asked) == summarize(events, asked)

    check()


@pytest.mark.parametrize("pair", [(a, b) for a in GROUPS for b in GROUPS if a != b], ids="-".join)
def test_each_pair_of_groups_can_be_asked_for(client: Client, events: list[Event], pair: tuple[str, str]) -> None:
    asked = Asked(pair, TIMES[0], TIMES[-1] + 1, top=20)
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
