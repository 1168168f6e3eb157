"""The Idempotency-Key header, through Envoy."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.http import Http, violations

EVENT = {"user_id": "u", "recording_id": "r", "event_type": "view"}
ROUTES = {
    "/api/v1/lead_analytics": {"lead_id": "e"},
    "/api/v1/contact_analytics": {"contact_id": "e"},
    "/api/v1/analytics_events": {"entity_type": "lead", "entity_id": "e"},
}


@pytest.mark.parametrize("path", ROUTES)
def test_a_retried_event_gets_its_first_answer(http: Http, customer: str, path: str) -> None:
    event = {"customer_id": customer, **EVENT, **ROUTES[path]}
    first = http.post(path, event, {"Idempotency-Key": "k-1"})
    assert (first.status, first.headers.get("idempotency-replayed")) == (201, None)
    again = http.post(path, event, {"Idempotency-Key": "k-1"})
    assert (again.status, again.headers.get("idempotency-replayed")) == (201, "true")
    assert again.body == first.body
    assert http.post(path, event, {"Idempotency-Key": "k-2"}).body != first.body


def test_another_event_under_the_same_key_is_422(http: Http, customer: str) -> None:
    event = {"customer_id": customer, **EVENT, "lead_id": "e"}
    http.post("/api/v1/lead_analytics", event, {"Idempotency-Key": "k"})
    answer = http.post("/api/v1/lead_analytics", {**event, "message": "another"}, {"Idempotency-Key": "k"})
    assert answer.status == 422
    assert set(violations(answer)) == {"idempotency-key"}


@pytest.mark.parametrize("key", ["k" * 256, "h\u00e9", "a\tb"])
def test_an_invalid_key_is_422_and_other_faults_are_named_too(http: Http, customer: str, key: str) -> None:
    answer = http.post("/api/v1/lead_analytics", {"customer_id": customer}, {"Idempotency-Key": key})
    assert answer.status == 422
    assert {"idempotency-key", "user_id"} <= set(violations(answer))


def test_one_key_from_many_callers_at_once_stores_one_event(http: Http, customer: str) -> None:
    event = {"customer_id": customer, **EVENT, "lead_id": "e"}
    start = threading.Barrier(16)

    def post(_: int) -> bytes:
        start.wait()
        answer = http.post("/api/v1/lead_analytics", event, {"Idempotency-Key": "k"})
        assert answer.status == 201
        return answer.body

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(post, range(16)))) == 1
    search = {"customer_id": customer, "user_id": "u", "lead_id": "e", "recording_id": "r"}
    assert http.search("/api/v1/lead_analytics/search", **search).json["meta"]["rowCount"] == 1
