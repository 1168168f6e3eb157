"""What Envoy does at the edge: ids of requests, its log, headers and paths that mislead."""

import contextlib
import json
import re
import time
import uuid

import psycopg2

from tests.support.http import Http
from tests.support.stack import EVENT, SEARCH, Stack, until

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_each_answer_has_an_id_that_is_ours(http: Http) -> None:
    first, second = (http("GET", SEARCH, headers={"x-request-id": "theirs"}) for _ in range(2))
    assert UUID.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_a_slow_request_is_logged_under_its_id_and_without_what_it_says(stack: Stack, http: Http) -> None:
    secret = f"secret-{uuid.uuid4()}"
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE analytics_event IN ACCESS EXCLUSIVE MODE")
        start = time.monotonic()
        answer = http("GET", SEARCH.replace("user_id=u", f"user_id={secret}"))
    assert time.monotonic() - start > 2
    assert answer.status == 504

    def logged() -> list[dict[str, object]]:
        lines = [line.partition("| ")[2] for line in stack.log.splitlines() if answer.headers["x-request-id"] in line]
        return [json.loads(line) for line in lines]

    (line,) = until(logged, 15)
    assert line["status"] == 504
    assert line["route"] == "search"
    assert secret not in stack.log


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_dash(http: Http, customer: str) -> None:
    event = {**json.loads(EVENT), "customer_id": customer}
    answers = [http.post("/api/v1/lead_analytics", event, {"idempotency_key": "k"}) for _ in range(2)]
    assert answers[0].json["partitionKey"] != answers[1].json["partitionKey"]


def test_a_path_with_an_escaped_slash_is_refused(http: Http) -> None:
    answer = http("GET", SEARCH.replace("/v1/", "%2fv1/"))
    assert answer.status == 422
    assert answer.json == {"code": 3, "message": "malformed HTTP request", "details": []}
