"""Summaries as JSON, through the real Envoy, and the same over gRPC."""

import urllib.parse

import pytest
from google.protobuf.json_format import MessageToDict

from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest
from tests.support.http import Answer, Http, violations
from tests.support.in_process import Client

EVENTS = "/api/v1/analytics_events"
SUMMARY = f"{EVENTS}:summary"


def store(http: Http, customer: str, *events: tuple[str, str, str]) -> list[str]:
    """Store events of these users, recordings and types, and return their times."""
    times = []
    for user, recording, event_type in events:
        names = {"user_id": user, "recording_id": recording, "event_type": event_type}
        answer = http.post(EVENTS, {"customer_id": customer, "entity_type": "lead", "entity_id": "l", **names})
        assert answer.status == 201, answer
        times.append(answer.json["created_at"])
    return times


def summarize(http: Http, customer: str, **parameters: object) -> Answer:
    return http.search(SUMMARY, customer_id=customer, **parameters)


@pytest.mark.parametrize("path", [SUMMARY, SUMMARY.replace(":", "%3A"), SUMMARY.replace(":", "%3a")])
def test_a_summary_has_its_groups_and_the_totals(http: Http, customer: str, path: str) -> None:
    times = store(http, customer, ("u", "r", "view"), ("v", "r", "view"), ("u", "s", "view"), ("v", "r", "share"))
    store(http, f"{customer} ", ("u", "r", "view"))
    answer = http.search(path, customer_id=customer, by=["recording_id", "event_type"])
    assert answer.status == 200, answer
    groups = [(["r", "view"], 2, 2, times[1]), (["r", "share"], 1, 1, times[3]), (["s", "view"], 1, 1, times[2])]
    rows = [dict(zip(("values", "events", "users", "lastCreatedAt"), group, strict=True)) for group in groups]
    expected = {"by": ["recording_id", "event_type"], "rows": rows, "events": 4, "users": 2, "more": False}
    assert answer.json == expected
    assert list(answer.json) == list(expected)
    assert [list(row) for row in answer.json["rows"]] == [list(rows[0])] * 3
    cut = http.search(path, customer_id=customer, by=["recording_id", "event_type"], top=1)
    assert cut.json == {**expected, "rows": rows[:1], "more": True}


def test_grpc_returns_the_same_summary(http: Http, client: Client, customer: str) -> None:
    store(http, customer, ("u", "r", "view"), ("v", "r", "view"))
    request = SummarizeAnalyticsEventsRequest(customer_id=customer, by=["day", "hour"], event_type="view")
    answer = client.events.SummarizeAnalyticsEvents(request, timeout=10)
    printed = MessageToDict(answer, always_print_fields_with_no_presence=True)
    assert printed == summarize(http, customer, by=["day", "hour"], event_type="view").json
    assert printed["events"] == 2


def test_without_groups_all_events_are_one(http: Http, customer: str) -> None:
    assert summarize(http, customer).body == b'{"by":[],"rows":[],"events":0,"users":0,"more":false}'
    (time,) = store(http, customer, ("u", "r", "view"))
    row = {"values": [], "events": 1, "users": 1, "lastCreatedAt": time}
    assert summarize(http, customer).json == {"by": [], "rows": [row], "events": 1, "users": 1, "more": False}
    assert summarize(http, customer, until=time).json["events"] == 0


def test_an_erasure_lowers_the_counts_at_once(http: Http, customer: str) -> None:
    store(http, customer, ("u", "r", "view"), ("v", "r", "view"), ("v", "s", "view"))
    assert http.post(f"{EVENTS}:erase", {"customer_id": customer, "user_id": "v"}).json["erased_count"] == 2
    answer = summarize(http, customer, by="recording_id")
    assert [(row["values"], row["events"], row["users"]) for row in answer.json["rows"]] == [(["r"], 1, 1)]
    assert (answer.json["events"], answer.json["users"]) == (1, 1)


def test_the_parameters_of_a_summary_are_strict(http: Http, customer: str) -> None:
    at_fault = {
        "since": "now",
        "until": "2026-01-31",
        "top": "10001",
        "by": "week",
        "entity_type": "account",
        "user_id": "u" * 256,
        "pageSize": "1",
        "timeZone": "UTC",
    }
    assert set(violations(summarize(http, customer, **at_fault))) == {*at_fault, "by[0]"} - {"by"}
    assert set(violations(http("GET", SUMMARY))) == {"customer_id"}
    assert set(violations(summarize(http, customer, by=["day", "hour", "user_id"]))) == {"by"}
    assert set(violations(summarize(http, customer, by=["day", "day"]))) == {"by"}
    assert set(violations(summarize(http, customer, top=["1", "2"]))) == {"top"}
    for top in ("0", "1.5", ""):
        assert set(violations(summarize(http, customer, top=top))) == {"top"}
    assert set(violations(summarize(http, customer, since="2020-01-01T00:00:00Z"))) == {"since"}
    assert set(violations(http("GET", f"{SUMMARY}?customer_id=a", {}))) == {""}


def test_a_summary_can_only_be_got(http: Http, customer: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD"):
        answer = http(method, f"{SUMMARY}?customer_id={urllib.parse.quote(customer)}")
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
