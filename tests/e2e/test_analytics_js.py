"""What `analytics.js` promises to a page: each event is stored once, or the page is told why not.

CHAOS_ROUNDS is how often a page is closed in mid-flight.
"""

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.chaos.faults import kill_all_workers, kill_envoy
from tests.support.browser import Chromium, Inbox, Pages, make_event, stored_messages, wait_for_messages
from tests.support.database import query
from tests.support.processes import ROOT
from tests.support.stack import Stack
from tests.support.until import until

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "12"))

HTML = """<!doctype html>
<title>a page</title>
<script type="module">
  import { createAnalytics } from "http://service.localhost:%d/analytics.js";
  window.refused = [];
  const options = JSON.parse(sessionStorage.options || "{}");
  if (options.token) options.key = () => `token-${options.token++}`;
  window.analytics = createAnalytics({ ...options, onRefused: (...why) => refused.push(why) });
</script>"""

TRACK = "(events) => Promise.all(events.map((event) => analytics.track(event)))"
# In a page that is about to go away nobody waits for the promise.
START_TRACKING = "(events) => { events.forEach((event) => analytics.track(event)); }"
# The clock of a page runs ten times as fast, so that a second of waiting takes a tenth.
FASTER = """{
  const { setTimeout: later, Date: { now } } = window, start = now();
  window.setTimeout = (work, delay) => later(work, delay / 10);
  Date.now = () => start + (now() - start) * 10;
}"""


@pytest.fixture
def context(browser: Browser, stack: Stack, pages: Pages) -> Iterator[BrowserContext]:
    """Yield a new profile, which has kept nothing."""
    pages.html = HTML % stack.http_port
    with contextlib.closing(browser.new_context()) as opened:
        opened.add_init_script(FASTER)
        yield opened


@pytest.fixture
def inbox(pages: Pages) -> Inbox:
    """Return a stand-in for the service."""
    return pages.make_inbox()


def open_page(context: BrowserContext, pages: Pages, **options: object) -> Page:
    """Return a page that has `analytics`. By default its events go to the service."""
    page = context.new_page()
    page.add_init_script(f"sessionStorage.options ??= {json.dumps(json.dumps(options))}")
    page.goto(pages.origin)
    page.wait_for_function("window.analytics")
    return page


def track(page: Page, customer: str, *messages: object, **more: object) -> None:
    """Track an event for each message, and wait until they are kept."""
    page.evaluate(TRACK, [{**make_event(customer, message), **more} for message in messages])


def refused(page: Page) -> list[tuple[Any, list[dict[str, str]]]]:
    """Return what a page has been told is refused: each event, and its violations."""
    return [(event, violations) for event, violations in page.evaluate("refused")]


def answer(*outcomes: dict[str, Any]) -> tuple[int, dict[str, str], object]:
    """Return the answer to a batch, as the service would give it to this page."""
    numbered = [{"index": index, **outcome} for index, outcome in enumerate(outcomes)]
    return 200, ALLOWED, {"outcomes": numbered}


ALLOWED = {"access-control-allow-origin": "*", "access-control-expose-headers": "retry-after"}
STORED: dict[str, Any] = {"stored": {}}


def test_an_event_is_stored_with_its_time_and_a_key(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    track(open_page(context, pages), customer, "seen")
    wait_for_messages(stack, customer, ["seen"])
    sql = "SELECT javascript_local_time, idempotency_key FROM analytics_event WHERE customer_id = %s"
    ((local_time, key),) = query(stack.database_url, sql, customer)
    assert local_time.endswith("Z")
    assert len(key) == 32


def test_the_example_of_the_documentation_stores_an_event(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    example = (ROOT / "docs/browsers.md").read_text().partition("```html\n")[2].partition("```")[0]
    pages.html = example.replace("localhost:8080", f"localhost:{stack.http_port}").replace('"acme"', f'"{customer}"')
    context.new_page().goto(pages.origin)
    wait_for_messages(stack, customer, [""])


def test_many_events_make_few_requests(stack: Stack, context: BrowserContext, pages: Pages, customer: str) -> None:
    page = open_page(context, pages)
    sent: list[int] = []
    page.on("request", lambda request: sent.append(len(request.post_data or "")))
    track(page, customer, *range(500))
    wait_for_messages(stack, customer, [str(number) for number in range(500)])
    page.wait_for_timeout(0)  # Playwright calls back only while it is called.
    assert len(sent) <= 6
    assert max(sent) <= 60_000


def test_a_page_is_told_what_was_refused_and_why(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    page = open_page(context, pages)
    page.evaluate(
        "([one, two]) => { analytics.track(one); analytics.track(two); analytics.track(null); }",
        [make_event(customer, "good"), {**make_event(customer, "bad"), "entity_type": "ship", "sail": 1}],
    )
    wait_for_messages(stack, customer, ["good"])
    until(lambda: len(refused(page)) == 2)
    (nothing, reasons), (bad, violations) = refused(page)
    assert (nothing, reasons[0]["field"]) == (None, "")
    assert bad["message"] == "bad"
    assert {each["field"] for each in violations} == {"entity_type", "sail"}


def test_an_event_of_over_60_kb_is_refused_at_once(context: BrowserContext, pages: Pages, customer: str) -> None:
    page = open_page(context, pages)
    track(page, customer, "ä" * 30_000)
    ((_, violations),) = refused(page)
    assert violations == [{"field": "", "description": "is over 60000 bytes"}]


def test_what_was_tracked_offline_is_sent_after_a_reload(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    page = open_page(context, pages, url=f"http://service.localhost:{stack.http_port}")
    context.set_offline(True)
    track(page, customer, *range(200))
    page.wait_for_event("requestfailed")
    page.close()
    context.set_offline(False)
    assert stored_messages(stack, customer) == []
    open_page(context, pages, url=f"http://service.localhost:{stack.http_port}")
    wait_for_messages(stack, customer, [str(number) for number in range(200)])


def test_a_page_that_comes_online_sends_at_once(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    page = open_page(context, pages)
    context.set_offline(True)
    track(page, customer, "offline")
    page.wait_for_event("requestfailed")
    context.set_offline(False)
    wait_for_messages(stack, customer, ["offline"])


def test_two_tabs_at_once_neither_lose_nor_double(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    tabs = [open_page(context, pages) for _ in range(2)]
    sent: list[str] = []
    for tab in tabs:
        tab.on("request", lambda request: sent.append(request.post_data or ""))
    for first in range(0, 200, 20):
        track(tabs[first // 20 % 2], customer, *range(first, first + 20))
    wait_for_messages(stack, customer, [str(number) for number in range(200)])
    tabs[0].wait_for_timeout(0)
    keys = [event["idempotency_key"] for body in sent for event in json.loads(body)["events"]]
    assert len(keys) == len(set(keys)) == 200  # Neither has sent what the other had sent.


@pytest.mark.timeout(60 + 3 * ROUNDS)
def test_a_page_closed_in_mid_flight_loses_and_doubles_nothing(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    expected = []
    chance = random.Random(1)
    for number in range(ROUNDS):
        page = open_page(context, pages)  # It sends what the last one has left.
        messages = [f"{number}-{each}" for each in range(3)]
        expected += messages
        if number % 4 == 3:
            track(page, customer, *messages)
            crash(page)
        else:
            page.evaluate(START_TRACKING, [make_event(customer, message) for message in messages])
            time.sleep(chance.choice([0, 0.005, 0.02, 0.1 + chance.random() / 50]))
            page.close()
    open_page(context, pages)
    wait_for_messages(stack, customer, expected)


def crash(page: Page) -> None:
    """End the process of a page, which gets no chance to say goodbye."""
    with page.expect_event("crash"), contextlib.suppress(Exception):
        page.goto("chrome://crash", timeout=2_000)
    page.close()


def test_nothing_is_lost_or_doubled_while_the_service_is_killed(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    page = open_page(context, pages)
    for number in range(60):
        track(page, customer, number)
        if number in (10, 40):
            (kill_all_workers if number == 10 else kill_envoy)(stack)
        time.sleep(0.03)
    wait_for_messages(stack, customer, [str(number) for number in range(60)], 50)
    assert refused(page) == []
    until(stack.is_whole)
    until(stack.serves)


def test_beacons_have_at_most_60_kb_and_carry_the_key(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    page = open_page(context, pages, url=inbox.url, key="pk_a/b")
    page.evaluate(START_TRACKING, [make_event(customer, "x" * 5_000) for _ in range(20)])
    page.goto("about:blank")
    until(lambda: inbox.received)
    beacons = [each for each in inbox.received if "key=" in each.path]
    assert {each.path for each in beacons} == {"/api/v1/events:batch?key=pk_a%2Fb"}
    assert all(len(each.body) <= 60_000 for each in beacons)
    assert len(beacons[0].events) == 11
    assert beacons[0].headers["content-type"].startswith("text/plain")


def test_a_page_that_is_hidden_sends_what_it_has(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    inbox.answers = [answer(STORED)] * 3
    page = open_page(context, pages, url=inbox.url)
    page.evaluate(
        """(event) => {
          analytics.track(event);
          Object.defineProperty(document, "visibilityState", { value: "hidden" });
          document.dispatchEvent(new Event("visibilitychange"));
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        make_event(customer, 1),
    )
    until(lambda: len(inbox.received) >= 2)
    beacon, batch = inbox.received[:2]  # The page cannot know whether the beacon has arrived.
    assert beacon.headers["content-type"].startswith("text/plain")
    assert beacon.events == batch.events


def test_a_key_is_sent_as_a_bearer_token(context: BrowserContext, pages: Pages, inbox: Inbox, customer: str) -> None:
    inbox.answers = [answer(STORED)]
    page = open_page(context, pages, url=inbox.url, key="pk_a_b")
    track(page, customer, 1)
    until(lambda: inbox.received)
    assert inbox.received[0].headers["authorization"] == "Bearer pk_a_b"
    assert inbox.received[0].path == "/api/v1/events:batch"
    assert "cookie" not in inbox.received[0].headers


def test_a_token_is_asked_for_again_when_it_has_expired(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    inbox.answers = [(401, ALLOWED, {"code": 16, "message": "expired", "details": []}), answer(STORED)]
    page = open_page(context, pages, url=inbox.url, token=1)
    track(page, customer, 1)
    until(lambda: len(inbox.received) >= 2)
    assert [each.headers["authorization"] for each in inbox.received] == ["Bearer token-1", "Bearer token-2"]
    assert refused(page) == []


def test_a_token_never_stands_in_a_url(context: BrowserContext, pages: Pages, inbox: Inbox, customer: str) -> None:
    inbox.answers = [answer(STORED)]
    page = open_page(context, pages, url=inbox.url, token=1)
    track(page, customer, 1)
    until(lambda: inbox.received)
    page.evaluate(START_TRACKING, [make_event(customer, 2)])
    page.goto("about:blank")
    until(lambda: len(inbox.received) >= 2)
    assert {each.path for each in inbox.received} == {"/api/v1/events:batch"}
    assert all(each.headers["authorization"].startswith("Bearer token-") for each in inbox.received)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_what_passes_is_retried_with_the_same_keys(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str, status: int
) -> None:
    inbox.answers = [(status, ALLOWED, {"code": 14, "message": "later", "details": []}), answer(STORED)]
    page = open_page(context, pages, url=inbox.url)
    track(page, customer, 1)
    until(lambda: len(inbox.received) >= 2)
    assert inbox.received[0].events == inbox.received[1].events
    assert refused(page) == []


def test_no_request_is_sent_before_retry_after(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    busy = (429, {**ALLOWED, "retry-after": "3"}, {"code": 8, "message": "busy", "details": []})
    inbox.answers = [busy, answer(STORED)]
    page = open_page(context, pages, url=inbox.url)
    track(page, customer, 1)
    until(lambda: inbox.received)
    start = time.monotonic()
    until(lambda: len(inbox.received) >= 2)
    assert time.monotonic() - start > 0.29


def test_a_retry_after_that_is_a_date_is_taken_for_none(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    headers = {**ALLOWED, "retry-after": "Wed, 25 Nov 2099 21:44:25 GMT"}
    inbox.answers = [(503, headers, {"code": 14, "message": "later", "details": []}), answer(STORED)]
    track(open_page(context, pages, url=inbox.url), customer, 1)
    until(lambda: len(inbox.received) >= 2)


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_what_does_not_pass_is_told_and_not_retried(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str, status: int
) -> None:
    inbox.answers = [(status, ALLOWED, {"code": 7, "message": "never", "details": []}), answer(STORED)]
    page = open_page(context, pages, url=inbox.url, key="pk_a_b")
    track(page, customer, 1)
    until(lambda: refused(page))
    ((event, violations),) = refused(page)
    assert (event["message"], violations) == ("1", [{"field": "", "description": "never"}])
    track(page, customer, 2)
    until(lambda: len(inbox.received) >= 2)
    assert [event["message"] for event in inbox.received[1].events] == ["2"]


def test_an_answer_of_something_else_is_no_refusal(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    inbox.answers = [(403, ALLOWED, "log in to this network"), (200, ALLOWED, "welcome"), answer(STORED)]
    page = open_page(context, pages, url=inbox.url)
    track(page, customer, 1)
    until(lambda: len(inbox.received) >= 3)
    assert refused(page) == []


def test_an_event_that_another_call_writes_is_sent_again(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    busy = {"field": "idempotency_key", "description": "is being written by another call: retry this event"}
    inbox.answers = [answer(STORED, {"refused": {"violations": [busy]}}), answer(STORED)]
    page = open_page(context, pages, url=inbox.url)
    track(page, customer, 1, 2)
    until(lambda: len(inbox.received) >= 2)
    assert [event["message"] for event in inbox.received[1].events] == ["2"]
    assert refused(page) == []


def test_a_full_queue_refuses_further_events_and_says_so(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    page = open_page(context, pages, url=inbox.url)
    track(page, customer, *range(1_003))
    assert {violations[0]["description"] for _, violations in refused(page)} == {"1000 events wait already"}
    assert [event["message"] for event, _ in refused(page)] == ["1000", "1001", "1002"]


def test_an_event_that_is_28_days_old_is_given_up(
    context: BrowserContext, pages: Pages, inbox: Inbox, customer: str
) -> None:
    page = open_page(context, pages, url=inbox.url)
    track(page, customer, 1)
    until(lambda: inbox.received)
    page.add_init_script("const now = Date.now; Date.now = () => now() + 29 * 86400000")
    page.reload()
    until(lambda: refused(page))
    ((_, violations),) = refused(page)
    assert violations == [{"field": "", "description": "could not be sent for 28 days"}]


@pytest.mark.parametrize("missing", ["indexedDB", "navigator.locks", "crypto.randomUUID"])
def test_an_event_is_stored_where_the_browser_lacks_something(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str, missing: str
) -> None:
    owner, _, name = missing.rpartition(".")
    context.add_init_script(f"Object.defineProperty({owner or 'window'}, '{name}', {{ value: undefined }})")
    page = open_page(context, pages)
    assert page.evaluate(f"typeof {missing}") == "undefined"
    track(page, customer, *range(200))
    wait_for_messages(stack, customer, [str(number) for number in range(200)])


def test_an_event_is_sent_though_what_was_kept_is_gone(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    context.add_init_script(
        """const { transaction } = IDBDatabase.prototype;
        IDBDatabase.prototype.transaction = function (...given) {
          if (window.isGone) throw new Error("gone");
          return transaction.apply(this, given);
        }"""
    )
    page = open_page(context, pages)
    page.evaluate("(event) => analytics.track(event).then(() => { isGone = true; })", make_event(customer, 1))
    wait_for_messages(stack, customer, ["1"])


def test_an_event_kept_in_memory_is_sent_as_the_page_goes_away(
    stack: Stack, context: BrowserContext, pages: Pages, customer: str
) -> None:
    context.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
    page = open_page(context, pages)
    page.evaluate(START_TRACKING, [make_event(customer, 1)])
    page.goto("about:blank")
    wait_for_messages(stack, customer, ["1"])


def test_an_extensions_worker_loses_nothing_when_it_is_stopped(
    stack: Stack, chromium: Chromium, customer: str, tmp_path: Path
) -> None:
    url = f"http://service.localhost:{stack.http_port}"
    with chromium.with_extension(tmp_path, url) as context:
        worker = context.service_workers[0] if context.service_workers else context.wait_for_event("serviceworker")
        worker.evaluate("(event) => analytics.track(event)", make_event(customer, 1))
        origin = worker.url.removesuffix("worker.js")
    # The browser has ended, and with it the worker, before the second has passed that it waits for more events.
    with chromium.with_extension(tmp_path, url) as context:
        context.new_page().goto(f"{origin}page.html")
        wait_for_messages(stack, customer, ["1"])
