"""Traces through the real Envoy: its span, the server's within it, and the commit's."""

import uuid

from tests.support.access import bearer, make_key
from tests.support.http import Answer, Http
from tests.support.stack import Stack
from tests.support.traces import Receiver, read_attributes

ENVOY = "data-analytics-service-envoy"
SERVER = "data-analytics-service data_analytics.v1.LeadAnalyticsService"
CREATE = (f"{ENVOY} create", f"{SERVER}/CreateLeadAnalyticsEvent", "data-analytics-service commit")
SEARCH = (f"{ENVOY} search", f"{SERVER}/SearchLeadAnalyticsEvents")
PARENT_ID = "b7ad6b7169203331"
LEAD = "/api/v1/lead_analytics"


# One test, because Envoy exports its spans every 5 s.
def test_requests_are_traced_from_envoy_to_the_commit(guarded: Stack, receiver: Receiver, customer: str) -> None:
    http = Http(guarded.http_port)
    headers = {**bearer(make_key(guarded.database_url, "secret", customer)), "user-agent": f"agent of {customer}"}
    event = {"customer_id": customer, "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
    search = f"{LEAD}/search?customer_id={customer.replace(' ', '%20')}&user_id=u&lead_id=l&recording_id=r"
    small, large, searched, refused = (uuid.uuid4().hex for _ in range(4))
    answers = {
        small: (http.post(LEAD, event, {**headers, **within(small)}), CREATE),
        large: (http.post(LEAD, {**event, "message": "m" * 20_000}, {**headers, **within(large)}), CREATE),
        searched: (http("GET", search, headers={**headers, **within(searched)}), SEARCH),
    }
    assert http.post(LEAD, event, within(refused)).status == 401

    for trace, (answer, names) in answers.items():
        check_trace(receiver, trace, answer, names)
    # The server makes no span for a call that it does not admit.
    assert set(receiver.find(refused, 1)) == {f"{ENVOY} create"}
    exported = b"".join(request.SerializeToString() for request in receiver.requests)
    assert customer.partition(" ")[2].encode() not in exported
    assert b"127.0.0.1" not in exported


def within(trace: str) -> dict[str, str]:
    """Return the header of a request within a trace."""
    return {"traceparent": f"00-{trace}-{PARENT_ID}-01"}


def check_trace(receiver: Receiver, trace: str, answer: Answer, names: tuple[str, ...]) -> None:
    """Check that a trace has spans of these names, each within the one before."""
    spans = receiver.find(trace, len(names))
    assert set(spans) == set(names)
    parents = [PARENT_ID, *(spans[name].span_id.hex() for name in names)]
    assert [spans[name].parent_span_id.hex() for name in names] == parents[:-1]
    at_envoy, at_server = (read_attributes(spans[name]) for name in names[:2])
    assert answer.status in (200, 201)
    request_id = answer.headers["x-request-id"]
    assert at_envoy["guid:x-request-id"] == at_server["rpc.request.metadata.x-request-id"] == request_id
    assert at_server["analytics.door"] == "json"
