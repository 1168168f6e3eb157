"""What a page of another origin, and an extension, can do at the service itself, in a real Chromium."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from playwright.sync_api import Page

from tests.support.browser import Chromium, Pages, make_event, wait_for_messages
from tests.support.http import Http
from tests.support.in_process import Client
from tests.support.refusals import refused
from tests.support.stack import Stack

PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}

# Returns what a page can see of an answer.
FETCH = """async ([url, options]) => {
  const response = await fetch(url, options);
  const names = ["x-request-id", "retry-after", "idempotency-replayed", "set-cookie"];
  return {
    status: response.status,
    headers: Object.fromEntries(names.map((name) => [name, response.headers.get(name)])),
    body: await response.text(),
  };
}"""

XHR = """([url, body]) => new Promise((resolve) => {
  const request = new XMLHttpRequest();
  request.open("POST", url);
  request.setRequestHeader("content-type", "application/json");
  request.onloadend = () => resolve([request.status, request.responseText]);
  request.send(body);
})"""


@pytest.fixture(scope="module")
def page(chromium: Chromium, pages: Pages) -> Iterator[Page]:
    """Yield a page of another origin."""
    pages.html = "<title>a page</title>"
    with chromium.launched() as browser:
        opened = browser.new_page()
        opened.goto(pages.origin)
        yield opened


def service(stack: Stack, path: str) -> str:
    """Return a URL of the service, at a name of its own."""
    return f"http://service.localhost:{stack.http_port}{path}"


def post(page: Page, url: str, body: object, **options: Any) -> dict[str, Any]:
    """Return what a page sees of the response to a POST of JSON."""
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    data = body if isinstance(body, str) else json.dumps(body)
    answer: dict[str, Any] = page.evaluate(
        FETCH, [url, {"method": "POST", "body": data, "headers": headers, **options}]
    )
    return answer


def test_a_page_stores_an_event_and_reads_the_answer(stack: Stack, page: Page, customer: str) -> None:
    url = service(stack, "/api/v1/events")
    headers = {"idempotency-key": "key", "authorization": "Bearer pk_a_b"}
    first, second = (post(page, url, make_event(customer), headers=headers) for _ in range(2))
    assert (first["status"], second["status"]) == (201, 201)
    assert json.loads(first["body"])["customer_id"] == customer
    assert first["headers"]["x-request-id"]
    assert second["headers"]["idempotency-replayed"] == "true"
    wait_for_messages(stack, customer, [""])


def test_a_page_stores_a_batch_by_xmlhttprequest(stack: Stack, page: Page, customer: str) -> None:
    batch = json.dumps({"events": [make_event(customer)]})
    status, body = page.evaluate(XHR, [service(stack, "/api/v1/events:batch"), batch])
    assert (status, json.loads(body)["stored_count"]) == (200, 1)


def test_a_page_stores_an_event_as_it_goes_away(stack: Stack, page: Page, customer: str) -> None:
    answer = post(page, service(stack, "/api/v1/lead_analytics"), make_lead(customer), keepalive=True)
    assert answer["status"] == 201
    wait_for_messages(stack, customer, [""])


@pytest.mark.parametrize("body", ["body", 'new Blob([body], { type: "application/json" })'], ids=["string", "JSON"])
@pytest.mark.parametrize("key", ["", "?key=pk_a_b"])
def test_a_beacon_is_stored(stack: Stack, page: Page, customer: str, body: str, key: str) -> None:
    urls = [service(stack, f"/api/v1/{path}{key}") for path in ("events", "events:batch")]
    bodies = [json.dumps(make_event(customer, 1)), json.dumps({"events": [make_event(customer, 2)]})]
    for url, data in zip(urls, bodies, strict=True):
        assert page.evaluate(f"([url, body]) => navigator.sendBeacon(url, {body})", [url, data])
    wait_for_messages(stack, customer, ["1", "2"])


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/api/v1/events", {"method": "POST", "body": "{}"}, 422),
        ("/api/v1/events?sort=up", {"method": "POST", "body": "{}"}, 422),
        ("/api/v1/events", {"method": "POST", "body": "{}", "headers": {"content-encoding": "br"}}, 415),
        ("/api/v1/lead_analytics/search", {}, 422),
        ("/api/v1/events", {}, 405),
        ("/api/v1/lead_analytics/search", {"method": "POST", "body": ""}, 405),
        ("/api/v1/no_such_route", {"method": "POST", "body": "{}"}, 404),
    ],
)
def test_a_page_reads_why_it_is_refused(
    stack: Stack, page: Page, path: str, options: dict[str, Any], status: int
) -> None:
    answer = page.evaluate(FETCH, [service(stack, path), options])
    assert answer["status"] == status
    assert json.loads(answer["body"])["message"]


def test_a_page_reads_that_its_body_is_too_large(stack: Stack, page: Page) -> None:
    script = f"async ([url, options]) => ({FETCH})([url, {{ ...options, body: ' '.repeat(1100000) }}])"
    answer = page.evaluate(script, [service(stack, "/api/v1/events"), {"method": "POST"}])
    assert answer["status"] == 413


def test_no_page_reads_a_response_that_it_asked_for_with_cookies(stack: Stack, page: Page, customer: str) -> None:
    attempt = f"(given) => ({FETCH})(given).catch((error) => error.name)"
    options = {"method": "POST", "body": json.dumps(make_event(customer)), "credentials": "include"}
    assert page.evaluate(attempt, [service(stack, "/api/v1/events"), options]) == "TypeError"
    query = f"customer_id={customer}&user_id=user&lead_id=lead&recording_id=recording"
    search = service(stack, f"/api/v1/lead_analytics/search?{query}")
    assert page.evaluate(attempt, [search, {"credentials": "include"}]) == "TypeError"


def test_a_refusal_of_envoys_own_is_readable(http: Http, pages: Pages) -> None:
    path, headers = "/api/v1/lead_analytics/search", {"origin": pages.origin}
    answer = http("GET", path, b" " * 20_000, headers)
    assert answer.status == 413
    assert answer.headers["access-control-allow-origin"] == pages.origin


def test_a_page_searches(stack: Stack, page: Page, customer: str) -> None:
    post(page, service(stack, "/api/v1/events"), make_event(customer))
    query = f"customer_id={customer}&user_id=user&lead_id=lead&recording_id=recording"
    answer = page.evaluate(FETCH, [service(stack, f"/api/v1/lead_analytics/search?{query}"), {}])
    assert json.loads(answer["body"])["meta"]["rowCount"] == 1


def test_a_page_of_an_origin_that_is_not_listed_reads_nothing(
    stack: Stack, pages: Pages, page: Page, customer: str
) -> None:
    browser = page.context.browser
    assert browser
    with browser.new_context() as context:
        stranger = context.new_page()
        stranger.goto(f"http://stranger.localhost:{pages.port}")
        attempt = f"(given) => ({FETCH})(given).catch((error) => error.name)"
        for path, options in (
            ("/api/v1/events", {"method": "POST", "body": json.dumps(make_event(customer))}),
            ("/api/v1/events", {"method": "POST", "body": "{}", "headers": {"content-type": "application/json"}}),
            (f"/api/v1/lead_analytics/search?customer_id={customer}", {}),
            ("/data_analytics.v1.AnalyticsEventService/CreateAnalyticsEvent", {"method": "POST", "body": ""}),
        ):
            given = [service(stack, path), {"mode": "cors", **options}]
            assert stranger.evaluate(attempt, given) == "TypeError" or "data_analytics" in path


def test_a_preflight_is_answered_for_two_hours(http: Http, pages: Pages) -> None:
    answer = http("OPTIONS", "/api/v1/events", headers={"origin": pages.origin, **PREFLIGHT})
    assert answer.headers["access-control-allow-origin"] == pages.origin
    assert answer.headers["access-control-max-age"] == "7200"
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
    ids = {"x-request-id", "traceparent", "tracestate"}
    assert allowed == {"authorization", "content-type", "content-encoding", "idempotency-key"} | ids


@pytest.mark.parametrize(
    "origin", ["null", "http://page.localhost", "{origin}.evil.example", "{origin}0", "https://evil.example/{origin}"]
)
def test_the_preflight_of_an_origin_that_is_not_listed_allows_nothing(http: Http, pages: Pages, origin: str) -> None:
    headers = {"origin": origin.format(origin=pages.origin), **PREFLIGHT}
    for path in ("/api/v1/events", "/api/v1/lead_analytics/search"):
        assert "access-control-allow-origin" not in http("OPTIONS", path, headers=headers).headers
        assert "access-control-allow-origin" not in http.post(path.removesuffix("/search"), {}, headers).headers


@pytest.mark.parametrize(
    "name", ["evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.1.evil.example"]
)
def test_a_name_that_somebody_else_has_given_this_machine_is_refused(http: Http, name: str) -> None:
    for path in ("/api/v1/lead_analytics/search", "/analytics.js", "/"):
        answer = http("GET", path, headers={"host": name})
        assert (answer.status, answer.json["code"]) == (421, 3)
    assert http.post("/api/v1/events", {}, {"host": name}).status == 421
    with (
        grpc.insecure_channel(f"127.0.0.1:{http.port}", [("grpc.default_authority", name)]) as channel,
        refused(grpc.StatusCode.UNIMPLEMENTED),
    ):
        Client(channel).is_serving()


@pytest.mark.parametrize(
    "name", ["localhost", "LOCALHOST:80", "any.localhost:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"]
)
def test_this_machine_is_called_by_its_own_names(http: Http, name: str) -> None:
    assert http("GET", "/analytics.js", headers={"host": name}).status == 200
    with grpc.insecure_channel(f"127.0.0.1:{http.port}", [("grpc.default_authority", name)]) as channel:
        assert Client(channel).is_serving()


def test_a_stack_whose_callers_need_keys_is_called_by_any_name(guarded: Stack) -> None:
    answer = Http(guarded.http_port)("GET", "/api/v1/lead_analytics/search", headers={"host": "service.example"})
    assert answer.status == 401


def test_no_page_may_call_grpc(http: Http, pages: Pages) -> None:
    path = "/data_analytics.v1.AnalyticsEventService/CreateAnalyticsEvent"
    answer = http("OPTIONS", path, headers={"origin": pages.origin, **PREFLIGHT})
    assert answer.status == 404
    assert "access-control-allow-headers" not in answer.headers


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/analytics.js", "text/javascript; charset=utf-8"), ("/analytics.d.ts", "text/plain")],
)
def test_the_script_and_its_types_are_served_to_every_page(http: Http, path: str, content_type: str) -> None:
    answer = http("GET", path, headers={"origin": "https://any.example", "accept-encoding": "gzip"})
    assert answer.status == 200
    assert answer.headers["content-type"] == content_type
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert b"createAnalytics" in gzip.decompress(answer.body)
    assert http("HEAD", path).status == 200
    assert http("POST", path).headers["allow"] == "GET, HEAD"


def test_the_worker_of_an_extension_stores_and_reads(
    stack: Stack, chromium: Chromium, customer: str, tmp_path: Path
) -> None:
    url = service(stack, "/api/v1/events")
    with chromium.with_extension(tmp_path, service(stack, "")) as context:
        worker = context.service_workers[0] if context.service_workers else context.wait_for_event("serviceworker")
        options = {"method": "POST", "body": json.dumps(make_event(customer, 1))}
        answer = worker.evaluate(FETCH, [url, {**options, "headers": {"content-type": "application/json"}}])
        assert answer["status"] == 201
        assert worker.evaluate(FETCH, [url, {"method": "POST", "body": "{}"}])["status"] == 422
        worker.evaluate("(event) => analytics.track(event)", make_event(customer, 2))
        wait_for_messages(stack, customer, ["1", "2"])


def make_lead(customer: str) -> dict[str, Any]:
    """Return an event for the lead route."""
    event = make_event(customer)
    return {name: value for name, value in event.items() if name != "entity_type"}
