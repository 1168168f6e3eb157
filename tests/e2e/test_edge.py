"""What Envoy does at the edge: request ids, its log, misleading headers and paths."""

import json
import re
import time
import uuid

from tests.support.database import locked_table
from tests.support.http import Http
from tests.support.stack import EVENT, SEARCH, Stack
from tests.support.until import until

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_each_answer_has_a_request_id_of_our_own(http: Http) -> None:
    first, second = (http("GET", SEARCH, headers={"x-request-id": "theirs"}) for _ in range(2))
    assert UUID.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_a_slow_request_is_logged_by_its_id_without_its_contents(stack: Stack, http: Http) -> None:
    secret = f"secret-{uuid.uuid4()}"
    with locked_table(stack.database_url):
        start = time.monotonic()
        answer = http("GET", SEARCH.replace("user_id=u", f"user_id={secret}"))
    assert time.monotonic() - start > 2
    assert answer.status == 504

    def logged() -> list[dict[str, object]]:
        lines = [line.partition("| ")[2] for line in stack.log.splitlines() if answer.headers["x-request-id"] in line]
        return [json.loads(line) for line in lines]

    (line,) = until(logged)
    assert line["status"] == 504
    assert line["route"] == "search"
    assert secret not in stack.log


def test_a_header_with_underscores_is_not_taken_for_one_with_dashes(http: Http, customer: str) -> None:
    event = {**json.loads(EVENT), "customer_id": customer}
    answers = [http.post("/api/v1/lead_analytics", event, {"idempotency_key": "k"}) for _ in range(2)]
    assert answers[0].json["partitionKey"] != answers[1].json["partitionKey"]


def test_a_path_with_an_escaped_slash_is_refused(http: Http) -> None:
    answer = http("GET", SEARCH.replace("/v1/", "%2fv1/"))
    assert answer.status == 422
    assert answer.json == {"code": 3, "message": "malformed HTTP request", "details": []}
