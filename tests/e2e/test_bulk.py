"""Batches by JSON, and the stream through Envoy."""

import pytest

from data_analytics.v1.analytics_event_service_pb2 import WriteAnalyticsEventsRequest
from tests.support import requests
from tests.support.http import Http, violations
from tests.support.in_process import Client

BATCH = "/api/v1/analytics_events:batch"


def batch_event(customer: str, **fields: object) -> dict[str, object]:
    required = {"user_id": "u", "recording_id": "r", "event_type": "view", "entity_type": "lead", "entity_id": "l"}
    return {"customer_id": customer, **required, **fields}


def test_a_json_batch_is_answered_with_an_outcome_for_each_event(http: Http, customer: str) -> None:
    events = [batch_event(customer), batch_event(customer, user_id=""), batch_event("another " + customer)]
    answer = http.post(BATCH, {"events": events})
    assert answer.status == 200
    assert set(answer.json) == {"stored_count", "refused_count", "outcomes"}
    assert (answer.json["stored_count"], answer.json["refused_count"]) == (2, 1)
    first, second, third = answer.json["outcomes"]
    assert (first["index"], set(first), set(first["stored"])) == (
        0,
        {"index", "stored"},
        {"id", "created_at", "replayed"},
    )
    assert second == {
        "index": 1,
        "refused": {"violations": [{"field": "user_id", "description": "value is required"}]},
    }
    assert third["stored"]["id"] > first["stored"]["id"]
    search = {"customer_id": customer, "user_id": "u", "lead_id": "l", "recording_id": "r"}
    assert http.search("/api/v1/lead_analytics/search", **search).json["meta"]["rowCount"] == 1


def test_a_json_batch_may_be_eight_mebibytes_and_no_more(http: Http, customer: str) -> None:
    large = {"events": [batch_event(customer, message="m" * 65_000)] * 125}
    assert http.post(BATCH, large).json["stored_count"] == 125
    too_large = http.post(BATCH, {"events": [batch_event(customer, message="m" * 65_000)] * 130})
    assert too_large.status == 413
    assert too_large.json["code"] == 8


def test_a_json_batch_of_no_or_too_many_events_is_refused(http: Http, customer: str) -> None:
    assert set(violations(http.post(BATCH, {}))) == {"events"}
    assert set(violations(http.post(BATCH, {"events": [batch_event(customer)] * 1_001}))) == {"events"}


ENCODED = ["/api/v1/analytics_events%3Abatch", "/api/v1/analytics_events%3abatch"]


@pytest.mark.parametrize("path", ENCODED)
def test_an_encoded_colon_is_that_of_the_batch_route(http: Http, customer: str, path: str) -> None:
    events = [batch_event(customer), batch_event(customer, colour="red")]
    answer = http.post(path, {"events": events})
    assert (answer.json["stored_count"], answer.json["refused_count"]) == (1, 1)
    # The limit is that of batches, as is everything else.
    assert http.post(path, {"events": [batch_event(customer, message="m" * 65_000)] * 125}).json["stored_count"] == 125
    assert violations(http.post(f"{path}?page=1", {"events": events})) == {"page": "is not a known parameter"}
    other = http("GET", path)
    assert (other.status, other.headers["allow"], other.json["code"]) == (405, "POST", 12)
    assert http.post(path + "/", {"events": events}).status == 404


def test_a_method_other_than_post_is_405(http: Http) -> None:
    answer = http("GET", BATCH)
    assert (answer.status, answer.headers["allow"], answer.json["code"]) == (405, "POST", 12)


def test_a_stream_passes_through_envoy(client: Client, customer: str) -> None:
    chunk = WriteAnalyticsEventsRequest(events=[requests.analytics_event(customer)] * 10)
    answers = list(client.events.WriteAnalyticsEvents(iter([chunk] * 5), timeout=10))
    assert [answer.committed.stored_count for answer in answers] == [10] * 5


def test_an_idempotency_key_for_a_whole_batch_is_refused(http: Http, customer: str) -> None:
    answer = http.post(BATCH, {"events": [batch_event(customer)]}, {"idempotency-key": "k"})
    assert set(violations(answer)) == {"idempotency-key"}
