"""What Envoy does at the edge: request ids, its log, misleading headers and paths."""

import json
import re
import time
import uuid
from typing import Any

import grpc
import pytest

from tests.support.database import locked_table
from tests.support.http import Http
from tests.support.in_process import connected
from tests.support.requests import contact_event
from tests.support.stack import EVENT, SEARCH, Stack
from tests.support.until import until

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_each_answer_has_a_request_id_of_our_own(http: Http) -> None:
    first, second = (http("GET", SEARCH, headers={"x-request-id": "theirs"}) for _ in range(2))
    assert UUID.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_a_grpc_call_has_a_request_id_in_its_metadata(stack: Stack, customer: str) -> None:
    with connected(stack.http_port) as client:
        metadata = (("x-request-id", "theirs"),)
        create: Any = client.contacts.CreateContactAnalyticsEvent
        _, call = create.with_call(contact_event(customer), timeout=10, metadata=metadata)
        assert UUID.fullmatch(dict(call.initial_metadata())["x-request-id"])
        with pytest.raises(grpc.RpcError) as caught:
            create(contact_event(""), timeout=10, metadata=metadata)
    failed: Any = caught.value
    request_id = dict(failed.trailing_metadata())["x-request-id"]  # As it has no response.
    (line,) = until(lambda: find_lines(stack, request_id))
    assert line["caller_request_id"] == "theirs"


def test_a_slow_request_is_logged_by_its_id_without_its_contents(stack: Stack, http: Http) -> None:
    secret = f"secret-{uuid.uuid4()}"
    with locked_table(stack.database_url):
        start = time.monotonic()
        headers = {"x-request-id": "their id", "x-caller-request-id": "another"}
        answer = http("GET", SEARCH.replace("user_id=u", f"user_id={secret}"), headers=headers)
    assert time.monotonic() - start > 2
    assert answer.status == 504

    def logged() -> list[dict[str, object]]:
        return find_lines(stack, answer.headers["x-request-id"])

    until(lambda: len(logged()) == 2)
    (of_server,) = [line for line in logged() if "rpc" in line]
    (of_envoy,) = [line for line in logged() if "rpc" not in line]
    assert (of_envoy["status"], of_envoy["route"]) == (504, "search")
    assert of_server["cause"] == "search_timed_out"
    assert of_server["caller_request_id"] == of_envoy["caller_request_id"] == "their id"
    assert secret not in stack.log


def find_lines(stack: Stack, text: str) -> list[dict[str, object]]:
    """Return the lines of both logs that have `text` in them."""
    return [json.loads(line.partition("| ")[2]) for line in stack.log.splitlines() if text in line]


def test_the_log_says_why_a_request_was_refused_by_both_ids(stack: Stack, http: Http, customer: str) -> None:
    event = {**json.loads(EVENT), "customer_id": customer, "user_id": 5, f"field-{customer}": 1}
    headers = {"x-request-id": f"mine-{uuid.uuid4()}"}
    answer = http.post("/api/v1/lead_analytics", event, headers)
    (line,) = until(lambda: [each for each in find_lines(stack, headers["x-request-id"]) if "rpc" in each])
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["event"], line["status"], line["code"]) == ("refused", 422, "INVALID_ARGUMENT")
    assert line["rpc"] == "data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
    assert line["faults"] == ["user_id: must be a string", "?: is not a known field"]
    assert customer not in stack.log


@pytest.mark.parametrize("size", [65, 5_000])
def test_of_a_long_id_the_beginning_is_logged(stack: Stack, http: Http, size: int) -> None:
    begin = uuid.uuid4().hex * 2
    answer = http.post("/api/v1/lead_analytics", {}, {"x-request-id": begin + "x" * (size - 64)})
    lines = until(lambda: find_lines(stack, answer.headers["x-request-id"]))
    assert {line["caller_request_id"] for line in lines} == {begin}
    assert begin + "x" not in stack.log


def test_a_flood_of_refusals_writes_few_lines_and_counts_the_rest(stack: Stack) -> None:
    calls = 200
    mine = uuid.uuid4().hex
    with connected(stack.http_port) as client:
        for number in range(calls):
            with pytest.raises(grpc.RpcError):
                client.contacts.CreateContactAnalyticsEvent(
                    contact_event(""), timeout=5, metadata=(("x-request-id", f"{mine}-{number}"),)
                )

    def told() -> tuple[int, int]:
        lines = [line for line in find_lines(stack, "invalid_request") if "rpc" in line or "calls" in line]
        own = [line for line in lines if mine in str(line.get("caller_request_id"))]
        begin = lines.index(own[0])
        omitted = [line["calls"] for line in lines[begin:] if "calls" in line]
        return len(own), sum(each["invalid_request"] for each in omitted if isinstance(each, dict))

    until(lambda: sum(told()) >= calls)
    assert told()[0] < calls / 2


def test_the_access_log_of_a_share_has_the_same_requests_in_both_logs(stack: Stack, http: Http) -> None:
    ids = [http("GET", SEARCH).headers["x-request-id"] for _ in range(60)]

    def logged(*, by_server: bool) -> set[object]:
        lines = [line for line in find_lines(stack, '"request_id"') if ("rpc" in line) == by_server]
        return {line["request_id"] for line in lines} & set(ids)

    until(lambda: logged(by_server=True) == logged(by_server=False))
    assert 0 < len(logged(by_server=True)) < len(ids)


def test_a_header_with_underscores_is_not_taken_for_one_with_dashes(http: Http, customer: str) -> None:
    event = {**json.loads(EVENT), "customer_id": customer}
    answers = [http.post("/api/v1/lead_analytics", event, {"idempotency_key": "k"}) for _ in range(2)]
    assert answers[0].json["partitionKey"] != answers[1].json["partitionKey"]


def test_a_path_with_an_escaped_slash_is_refused(http: Http) -> None:
    answer = http("GET", SEARCH.replace("/v1/", "%2fv1/"))
    assert answer.status == 422
    assert answer.json == {"code": 3, "message": "malformed HTTP request", "details": []}
