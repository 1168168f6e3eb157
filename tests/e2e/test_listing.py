"""Lists of events and single events as JSON, through the real Envoy."""

import json
import urllib.parse
import uuid

import pytest

from tests.support.http import Answer, Http, violations
from tests.support.requests import EVERY_OPTIONAL_FIELD

EVENTS = "/api/v1/analytics_events"
REQUIRED = {"user_id": "u", "recording_id": "r", "event_type": "view", "entity_type": "lead", "entity_id": "l"}
SEARCH = "/api/v1/lead_analytics/search"
FIELDS = [
    *("id", "customer_id", "entity_type", "entity_id", "user_id", "recording_id", "event_type", "tool_signature"),
    *("event_id", "message", "javascript_local_time", "apex_local_time", "event_environment_path"),
    *("name_parser_event_id", "recommendation_model_event_id", "version_info", "idempotency_key"),
    *("created_at", "updated_at"),
]


def store(http: Http, customer: str, **fields: object) -> str:
    """Store an event and return its id."""
    answer = http.post(EVENTS, {"customer_id": customer, **REQUIRED, **fields})
    assert answer.status == 201, answer
    return str(answer.json["partitionKey"]).partition("|")[2]


def list_events(http: Http, customer: str, **parameters: object) -> Answer:
    return http.search(EVENTS, customer_id=customer, **parameters)


def test_a_list_has_whole_events_and_a_token(http: Http, customer: str) -> None:
    sent = {**EVERY_OPTIONAL_FIELD, "idempotency_key": "key"}
    event_id = store(http, customer, **sent)
    answer = list_events(http, customer)
    assert (answer.status, list(answer.json)) == (200, ["events", "nextPageToken"])
    (event,) = answer.json["events"]
    assert list(event) == FIELDS
    assert {name: event[name] for name in sent} == sent
    assert (event["id"], event["created_at"], answer.json["nextPageToken"]) == (event_id, event["updated_at"], "")
    one = http("GET", f"{EVENTS}/{event_id}?customer_id={urllib.parse.quote(customer)}")
    assert (one.status, one.json) == (200, event)


def test_version_info_is_null_or_has_the_digits_that_were_sent(http: Http, customer: str) -> None:
    body = json.dumps({"customer_id": customer, **REQUIRED, "version_info": {}})
    exact = body.replace("{}", '{"a":12345678901234567890.000000000012345678}')
    assert [http.post(EVENTS, text.encode()).status for text in (body, exact)] == [201, 201]
    store(http, customer)
    answer = list_events(http, customer)
    assert [event["version_info"] for event in answer.json["events"]][::2] == [None, {}]
    assert b"12345678901234567890.000000000012345678" in answer.body


def test_pages_follow_each_other_by_their_tokens(http: Http, customer: str) -> None:
    ids = [store(http, customer, tool_signature="t") for _ in range(5)]
    found, token = [], ""
    while True:
        answer = list_events(http, customer, pageSize=2, pageToken=token, tool_signature="t")
        found += [event["id"] for event in answer.json["events"]]
        store(http, customer, tool_signature="t")
        if not (token := answer.json["nextPageToken"]):
            break
    assert found == ids[::-1]


def test_the_parameters_of_a_list_are_strict(http: Http, customer: str) -> None:
    at_fault = {
        "since": "now",
        "until": "2026-01-31",
        "pageSize": "0",
        "entity_type": "account",
        "user_id": "u" * 256,
        "page": "1",
    }
    assert set(violations(list_events(http, customer, **at_fault))) == set(at_fault)
    assert set(violations(http("GET", EVENTS))) == {"customer_id"}
    assert set(violations(list_events(http, customer, user_id=["a", "b"]))) == {"user_id"}
    assert set(violations(http("GET", f"{EVENTS}?customer_id=a", {}))) == {""}
    assert set(violations(http("GET", f"{EVENTS}?customer_id=a&user_id=%00%FF"))) == {"user_id"}


def test_a_token_of_another_list_or_customer_is_422(http: Http, customer: str) -> None:
    for _ in range(2):
        store(http, customer)
    token = list_events(http, customer, pageSize=1).json["nextPageToken"]
    assert list_events(http, customer, pageToken=token).json["nextPageToken"] == ""
    assert set(violations(list_events(http, "other", pageToken=token))) == {"pageToken"}
    assert set(violations(list_events(http, customer, pageToken=token, user_id="u"))) == {"pageToken"}
    search = {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r"}
    assert set(violations(http.search(SEARCH, **search, pageToken=token))) == {"pageToken"}


@pytest.mark.parametrize("path", ["", "/", "/01a2090f-a603-711c-ab95-cbdcb72bc3b8/x"])
def test_a_single_event_needs_an_id_and_its_customer(http: Http, path: str, customer: str) -> None:
    event_id = store(http, customer)
    query = f"customer_id={urllib.parse.quote(customer)}"
    assert set(violations(http("GET", f"{EVENTS}/{event_id}"))) == {"customer_id"}
    assert set(violations(http("GET", f"{EVENTS}/nothing?{query}"))) == {"id"}
    assert set(violations(http("GET", f"{EVENTS}/{event_id}?{query}&id={event_id}"))) == {"id"}
    missing = http("GET", f"{EVENTS}/{uuid.uuid4()}?{query}")
    assert (missing.status, missing.json["code"], missing.json["details"]) == (404, 5, [])
    assert http("GET", f"{EVENTS}/{event_id}?customer_id=other").body == missing.body
    assert http("GET", f"{EVENTS}{path}?{query}").status == (404 if path else 200)


@pytest.mark.parametrize("path", ["analytics_events/x:watch", "analytics_events/x:export", "erasures/x:erase"])
def test_an_id_with_the_name_of_another_route_is_no_route(http: Http, path: str) -> None:
    for method in ("GET", "POST"):
        assert http(method, f"/api/v1/{path}?customer_id=c").status == 404


def test_other_methods_are_405_and_the_answer_names_the_allowed_ones(http: Http) -> None:
    for path, allowed in ((EVENTS, "GET, POST"), (f"{EVENTS}/{uuid.uuid4()}", "GET")):
        for method in ("PUT", "DELETE", "PATCH", "HEAD"):
            answer = http(method, path)
            assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_a_search_has_the_shape_it_had_unless_it_asks_for_a_token(http: Http, customer: str) -> None:
    for number in range(3):
        store(http, customer, event_id=str(number))
    asked = {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r", "pageSize": 2}
    plain = http.search(SEARCH, **asked)
    assert plain.body.endswith(b'],"meta":{"page":1,"pageSize":2,"rowCount":3}}')
    first = http.search(SEARCH, **asked, pageToken="")
    token = first.json["meta"]["nextPageToken"]
    assert first.body.replace(f',"nextPageToken":"{token}"'.encode(), b"") == plain.body
    second = http.search(SEARCH, **asked, pageToken=token)
    assert second.json["meta"] == {"page": 2, "pageSize": 2, "rowCount": 3, "nextPageToken": ""}
    assert [event["event_id"] for event in second.json["recordings"]] == ["0"]
    as_of = http.search(SEARCH, **asked, page=2, asOf=first.json["recordings"][0]["created_at"])
    assert as_of.json == second.json
