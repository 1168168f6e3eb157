"""What was refused, as JSON through the real Envoy: the rule and the field, and nothing of what was sent."""

import gzip
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.support.database import query
from tests.support.http import Answer, Http, violations
from tests.support.in_process import Client
from tests.support.refusals import refused
from tests.support.refused import list_refusals as list_refusals_of
from tests.support.requests import analytics_event
from tests.support.stack import Stack
from tests.support.until import until

REFUSALS = "/api/v1/refusals"
EVENTS, LEAD, BATCH = "/api/v1/analytics_events", "/api/v1/lead_analytics", "/api/v1/analytics_events:batch"
REQUIRED = {"user_id": "u", "recording_id": "r", "event_type": "view", "entity_type": "lead", "entity_id": "l"}
FIELDS = ["id", "created_at", "rpc", "door", "code", "tool_signature", "violations", "requestId", "omitted"]
MARK = "~secret~"


def list_refusals(http: Http, customer: str, **parameters: object) -> Answer:
    return http.search(REFUSALS, customer_id=customer, **parameters)


def wait_for_refusals(http: Http, customer: str, count: int, **parameters: object) -> list[dict[str, Any]]:
    """Return the refusals of a customer, newest first, once there are so many."""

    def find() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = list_refusals(http, customer, pageSize=1_000, **parameters).json["refusals"]
        return found if len(found) >= count else []

    found = until(find)
    assert len(found) == count, found
    return found


def event(customer: str, **fields: object) -> dict[str, object]:
    return {"customer_id": customer, **REQUIRED, **fields}


def test_a_refused_create_is_listed_with_its_request_id(http: Http, customer: str) -> None:
    answers = [
        http.post(EVENTS, event(customer, recording_id=None, tool_signature="vfp")),
        http.post(LEAD, {"customer_id": customer, "user_id": "u", "recording_id": "r", "event_type": "view"}),
    ]
    assert [answer.status for answer in answers] == [422, 422]
    lead, first = wait_for_refusals(http, customer, 2)
    assert list(first) == FIELDS
    assert first["violations"] == [{"field": "recording_id", "description": "value is required"}]
    assert (first["rpc"], first["door"], first["code"]) == ("CreateAnalyticsEvent", "json", "INVALID_ARGUMENT")
    assert (first["tool_signature"], first["omitted"]) == ("vfp", 0)
    assert [lead["requestId"], first["requestId"]] == [answer.headers["x-request-id"] for answer in reversed(answers)]
    assert (lead["rpc"], lead["violations"][0]["field"]) == ("CreateLeadAnalyticsEvent", "lead_id")
    assert list_refusals(http, customer).json["nextPageToken"] == ""


def test_a_replay_names_the_event_that_was_stored_before(http: Http, customer: str) -> None:
    body = event(customer, idempotency_key="key")
    answers = [http.post(EVENTS, body) for _ in range(2)]
    assert http.post(BATCH, {"events": [body]}).json["outcomes"][0]["stored"]["replayed"] is True
    replays = wait_for_refusals(http, customer, 2, includeReplays="true")
    assert [replay["rpc"] for replay in replays] == ["BatchCreateAnalyticsEvents", "CreateAnalyticsEvent"]
    for replay in replays:
        assert set(replay) == {*FIELDS, "replayedEventId"}
        assert (replay["code"], replay["violations"]) == ("OK", [])
        assert replay["replayedEventId"] == answers[0].json["partitionKey"].partition("|")[2]
    assert list_refusals(http, customer).json == {"refusals": [], "nextPageToken": ""}


def print_marked(customer: str, **fields: object) -> bytes:
    """Return an event with a marker in every text but that of the customer."""
    return json.dumps({**event(customer, **dict.fromkeys(REQUIRED, MARK)), **fields}).encode()


ROWS: list[tuple[str, Callable[[str], bytes], dict[str, str], set[str]]] = [
    (EVENTS, print_marked, {}, {"entity_type"}),
    (EVENTS, lambda c: print_marked(c, **{MARK: MARK}), {}, {"entity_type", "?"}),
    (EVENTS, lambda c: print_marked(c, message={MARK: MARK}), {}, {"entity_type", "message"}),
    (EVENTS, lambda c: print_marked(c, message=f"{MARK}\0"), {}, {"entity_type", "message"}),
    (
        EVENTS,
        lambda c: print_marked(c, version_info={MARK: [{MARK: f"{MARK}\0"}]}),
        {},
        {"version_info", "entity_type"},
    ),
    (EVENTS, lambda c: print_marked(c, version_info={MARK: {f"{MARK}\0": 1}}), {}, {"version_info", "entity_type"}),
    (EVENTS, lambda c: print_marked(c).replace(b'"user_id": "', b'"user_id": "\\~'), {}, {"user_id", "entity_type"}),
    (EVENTS, lambda c: print_marked(c).replace(b'"entity_id": "', b'"entity_id": ~secret~"'), {}, {"entity_id", ""}),
    (EVENTS, lambda c: print_marked(c)[:-1] + b", ~secret~}", {}, {""}),
    (EVENTS, lambda c: print_marked(c) + b"~secret~", {}, {"entity_type", ""}),
    (EVENTS, lambda c: print_marked(c)[:-1] + b', "~secret~', {}, {""}),
    (f"{EVENTS}?{MARK}={MARK}", print_marked, {}, {"?"}),
    (EVENTS, lambda c: print_marked(c, entity_type="lead"), {"idempotency-key": MARK * 40}, {"idempotency-key"}),
    (
        EVENTS,
        lambda c: print_marked(c, entity_type="lead", idempotency_key="k"),
        {"idempotency-key": MARK},
        {"idempotency_key"},
    ),
    (EVENTS, print_marked, {"content-encoding": "br"}, set()),
    (EVENTS, print_marked, {"content-encoding": "gzip"}, set()),
    (EVENTS, lambda c: gzip.compress(print_marked(c))[:-1], {"content-encoding": "gzip"}, {""}),
    (EVENTS, lambda c: print_marked(c, message=MARK * 200_000), {}, {""}),
    (BATCH, lambda c: b'{"events":[%b]}' % print_marked(c), {}, {"entity_type"}),
    (BATCH, lambda c: b'{"events":[%b, ~secret~]}' % print_marked(c), {}, {"entity_type"}),
    (BATCH, lambda c: b'{"events":[%b], "~secret~":1}' % print_marked(c), {}, {"?"}),
    (BATCH, lambda c: b'{"events":[%b}' % print_marked(c), {}, {""}),
    (BATCH, lambda c: b'{"events":[%b]}' % print_marked(c), {"idempotency-key": MARK}, {"idempotency-key"}),
]


@pytest.fixture(scope="module")
def marked(http: Http) -> dict[str, list[dict[str, Any]]]:
    """Have each of `ROWS` refused for a customer of its own, and return what is kept of them once it is."""
    customers = [f"marked {number}" for number in range(len(ROWS))]
    for customer, (path, make, headers, _) in zip(customers, ROWS, strict=True):
        assert http.post(path, make(customer), headers).status in (200, 413, 415, 422)
    kept = {
        customer: wait_for_refusals(http, customer, 1)
        for customer, (_, _, _, fields) in zip(customers, ROWS, strict=True)
        if fields
    }
    return {customer: kept.get(customer) or list_refusals(http, customer).json["refusals"] for customer in customers}


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_each_kind_of_refusal_is_listed_without_what_was_sent(
    marked: dict[str, list[dict[str, Any]]], number: int
) -> None:
    path, _, headers, fields = ROWS[number]
    refusals = marked[f"marked {number}"]
    if not fields:  # The body cannot be read, so nobody knows whose it is.
        assert refusals == []
        return
    (refusal,) = refusals
    assert {violation["field"] for violation in refusal["violations"]} == fields, (path, headers)
    assert all(violation["description"] for violation in refusal["violations"])
    assert "~" not in json.dumps(refusal)


def test_nothing_that_was_sent_is_in_the_table(marked: dict[str, Any], stack: Stack) -> None:
    assert len(marked) == len(ROWS)
    assert query(stack.database_url, "SELECT count(*) > 10 FROM refusal") == [(True,)]
    assert query(stack.database_url, "SELECT refusal::text FROM refusal WHERE refusal::text LIKE '%%~%%'") == []


def test_the_refusals_of_all_workers_are_in_one_list(stack: Stack, http: Http, customer: str) -> None:
    for port in stack.grpc_ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, refused(grpc.StatusCode.INVALID_ARGUMENT):
            bad = analytics_event(customer, user_id="", tool_signature=str(port))
            Client(channel).events.CreateAnalyticsEvent(bad, timeout=5)
    found = wait_for_refusals(http, customer, 2)
    assert {refusal["tool_signature"] for refusal in found} == {str(port) for port in stack.grpc_ports}
    assert {refusal["door"] for refusal in found} == {"grpc"}
    # Both workers list both.
    for port in stack.grpc_ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert len(list_refusals_of(Client(channel), customer)) == 2


def test_pages_follow_each_other_by_their_tokens(http: Http, customer: str) -> None:
    for number in range(5):
        http.post(EVENTS, event(customer, user_id="", tool_signature=str(number)))
    wait_for_refusals(http, customer, 5)
    tools, token = [], ""
    while True:
        page = list_refusals(http, customer, pageSize=2, pageToken=token).json
        tools += [refusal["tool_signature"] for refusal in page["refusals"]]
        if not (token := page["nextPageToken"]):
            break
        of_another = list_refusals(http, "other", pageToken=token)
        assert set(violations(of_another)) == {"pageToken"}
        assert set(violations(http.search(EVENTS, customer_id=customer, pageToken=token))) == {"pageToken"}
    assert sorted(tools) == ["0", "1", "2", "3", "4"]


def test_the_parameters_are_strict(http: Http, customer: str) -> None:
    at_fault = {"since": "now", "pageSize": "0", "includeReplays": "yes", "pageToken": "x", "page": "1"}
    found = violations(list_refusals(http, customer, **at_fault))
    assert set(found) == {*at_fault} - {"pageToken"}
    assert set(violations(http("GET", REFUSALS))) == {"customer_id"}
    assert set(violations(http("GET", f"{REFUSALS}?customer_id=a", {}))) == {""}
    assert set(violations(list_refusals(http, customer, since=["2026-01-31T00:00:00Z"] * 2))) == {"since"}
    assert list_refusals(http, customer, since="2999-01-31T00:00:00Z").json == {"refusals": [], "nextPageToken": ""}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_405_and_the_answer_names_get(http: Http, method: str) -> None:
    answer = http(method, f"{REFUSALS}?customer_id=c")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


def test_a_search_or_a_list_that_is_refused_leaves_nothing(http: Http, stack: Stack, customer: str) -> None:
    quoted = urllib.parse.quote(customer)
    assert http("GET", f"{EVENTS}?customer_id={quoted}&since=now").status == 422
    assert http("GET", f"/api/v1/lead_analytics/search?customer_id={quoted}").status == 422
    http.post(EVENTS, event(customer, user_id=""))
    assert len(wait_for_refusals(http, customer, 1)) == 1
