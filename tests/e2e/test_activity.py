"""The page /activity, in a real Chromium on the real stack: what developers, support and product managers see there."""

import json
import os
import re
import signal
import subprocess
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.access import make_key
from tests.support.http import Http
from tests.support.opened_pages import check_access, opened
from tests.support.stack import Stack
from tests.support.until import until

EVENTS = "/api/v1/analytics_events"
REQUIRED = {
    "user_id": "user-1",
    "recording_id": "rec-1",
    "event_type": "view",
    "entity_type": "lead",
    "entity_id": "lead-1",
}
LOOKS = [
    pytest.param(scheme, width, id=f"{scheme}, {width} wide") for scheme, width in (("light", 1280), ("dark", 360))
]
HOSTILE = '<img src=x onerror="document.title=1">\u202e'


def make_url(customer: str, view: str = "arriving", **filters: str) -> str:
    return "/activity#" + urllib.parse.urlencode({"view": view, "customer_id": customer, **filters})


def store(http: Http, customer: str, headers: dict[str, str] | None = None, **fields: object) -> str:
    """Store an event, and return its id."""
    answer = http.post(EVENTS, {"customer_id": customer, **REQUIRED, **fields}, headers)
    assert answer.status == 201, answer
    return str(answer.json["partitionKey"]).partition("|")[2]


def store_many(http: Http, customer: str, *events: Mapping[str, object]) -> None:
    """Store events in one batch."""
    answer = http.post(
        f"{EVENTS}:batch", {"events": [{"customer_id": customer, **REQUIRED, **each} for each in events]}
    )
    assert answer.json["stored_count"] == len(events), answer


def wait_until_live(page: Page) -> None:
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()


def get_rows(page: Page) -> Locator:
    return page.locator(".feed .event")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_every_view_is_for_everyone(
    browser: Browser, stack: Stack, http: Http, customer: str, tmp_path: Path, scheme: str, width: int
) -> None:
    store_many(
        http, customer, *({"event_type": kind, "tool_signature": "x" * 255} for kind in ("view", "share", "é" * 255))
    )
    http.post(EVENTS, {"customer_id": customer})
    with opened(browser, stack, scheme, width) as page:
        page.goto("/activity")
        check_access(page, tmp_path)
        page.goto(make_url(customer))
        page.locator(".feed .refusal summary").click()
        page.locator(".feed .event summary").first.click()
        page.get_by_text("Filters", exact=True).click()
        expect(page.get_by_text("when it was received")).to_be_visible()
        check_access(page, tmp_path)
        page.goto(make_url(customer, "amounts"))
        page.get_by_text("As a table").click()
        check_access(page, tmp_path)
        page.goto(make_url(customer, "recordings", user_id="user-1"))
        expect(page.get_by_role("link", name="rec-1")).to_be_visible()
        check_access(page, tmp_path)
        page.goto(make_url(customer, user_id="nobody"))
        expect(page.get_by_text("No event matches.")).to_be_visible()
        check_access(page, tmp_path)


def test_an_event_arrives_without_a_reload(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    with opened(browser, stack) as page:
        page.goto("/activity")
        page.get_by_label("Customer").fill(customer)
        page.get_by_role("button", name="Show").click()
        command = page.get_by_role("region", name="A command that sends an event").inner_text()
        wait_until_live(page)
        subprocess.run(["bash", "-c", command], check=True, capture_output=True)
        expect(get_rows(page)).to_have_count(1)
        exact = json.dumps({"customer_id": customer, **REQUIRED, "version_info": 0, "event_type": HOSTILE})
        assert http.post(EVENTS, exact.replace(": 0", ': {"n": 12345678901234567890.10}').encode()).status == 201
        expect(get_rows(page)).to_have_count(2)
        get_rows(page).first.locator("summary").click()
        shown = page.get_by_role("region", name="The event as JSON")
        expect(shown).to_contain_text('"n": 12345678901234567890.10')
        expect(get_rows(page).first.locator("summary")).to_contain_text(HOSTILE)
        assert page.locator("main img").count() == 0


def test_the_clocks_are_compared_in_words(browser: Browser, stack: Stack) -> None:
    created = "2026-11-26T10:00:00.000Z"
    said = {
        "Thu Nov 26 2026 10:59:57 GMT+0100 (CET)": "3.0 s before the server's",
        "2026-11-26T10:00:00.400Z": "the same as the server's",
        "2026-11-26 05:03:00": "3 min after the server's, if it is in UTC−05:00; it names no time zone",
        "11/26/2026, 10:00": "the same as the server's, if it is in UTC; it names no time zone",
        "1795687202": "2.0 s after the server's",
        "2018-11-02 13:12": "2,946 days before the server's; it names no time zone",
        "": "was not sent",
        "this morning": "is no time that this page can read",
    }
    script = """async ([texts, created]) => {
        const { describeSkew } = await import("/pages/activity/clocks.js");
        return texts.map((text) => describeSkew(text, Date.parse(created)));
    }"""
    with opened(browser, stack) as page:
        page.goto("/activity")
        assert page.evaluate(script, [list(said), created]) == list(said.values())


def test_refusals_and_replays_are_in_their_place(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    store(http, customer, recording_id="before")
    refused = http.post(EVENTS, {"customer_id": customer, **REQUIRED, "recording_id": "", "tool_signature": "vfp"})
    for _ in range(2):
        store(http, customer, {"idempotency-key": f"{customer} key"}, recording_id="again")
    with opened(browser, stack) as page:
        page.goto(make_url(customer))
        rows = page.locator(".feed > li:not(.day)")
        expect(rows).to_have_count(3, timeout=15_000)
        expect(rows.nth(0)).to_contain_text("again")
        expect(rows.nth(0)).to_contain_text("replayed", timeout=15_000)
        expect(rows.nth(1)).to_have_text(re.compile("refused *because recording_id: value is required *with tool vfp"))
        expect(rows.nth(2)).to_contain_text("before")
        rows.nth(1).locator("summary").click()
        expect(rows.nth(1)).to_contain_text(refused.headers["x-request-id"])
        page.get_by_role("button", name="Resume").click()
        http.post(EVENTS, {"customer_id": customer, **REQUIRED, "event_type": ""})
        expect(rows.nth(0)).to_contain_text("event_type: value is required", timeout=15_000)


def test_a_link_has_the_view_with_its_filters(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    store_many(http, customer, *({"user_id": user, "recording_id": f"of {user}"} for user in ("user-1", "user-2")))
    with opened(browser, stack) as page:
        page.goto(make_url(customer))
        expect(get_rows(page)).to_have_count(2)
        row = get_rows(page).filter(has_text="of user-2")
        row.locator("summary").click()
        row.get_by_role("link", name="Only this user").click()
        expect(get_rows(page)).to_have_count(1)
        link = page.url
        wait_until_live(page)
        store_many(http, customer, {"user_id": "user-1"}, {"user_id": "user-2"})
        expect(get_rows(page)).to_have_count(2)
    with opened(browser, stack) as page:
        page.goto(link)
        expect(get_rows(page)).to_have_count(2)
        expect(page.get_by_label("User")).to_have_value("user-2")
        page.get_by_role("link", name="How much").click()
        expect(page.locator(".figures")).to_have_text(re.compile("2.*1.*2"))
        page.get_by_role("link", name="Without user").click()
        expect(page.locator(".figures")).to_have_text(re.compile("4.*2.*2"))
        page.go_back()
        expect(page.locator(".figures")).to_have_text(re.compile("2.*1.*2"))


def test_rows_stand_still_while_they_are_read(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    names = [f"old {number}" for number in range(520)]
    store_many(http, customer, *({"recording_id": name} for name in names))
    with opened(browser, stack) as page:
        page.goto(make_url(customer))
        wait_until_live(page)
        expect(get_rows(page)).to_have_count(100)
        page.get_by_role("button", name="Pause").click()
        store(http, customer, recording_id="new")
        expect(page.get_by_role("button", name="Show 1 new")).to_be_visible()
        for count in (300, 500, 520):
            page.get_by_role("button", name="Show older").click()
            expect(get_rows(page)).to_have_count(count)
        expect(page.get_by_role("button", name="Show older")).to_be_hidden()
        assert sorted(page.locator(".feed .event .what bdi").all_text_contents()) == sorted(names)
        page.get_by_role("button", name="Show 1 new").click()
        expect(get_rows(page)).to_have_count(500)
        expect(get_rows(page).first).to_contain_text("new")
        page.get_by_role(
            "button", name="Show older"
        ).click()  # of which some may have the millisecond of one that is shown
        expect(get_rows(page)).to_have_count(521)


def test_a_lost_connection_misses_nothing(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    with opened(browser, stack) as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(make_url(customer))
        wait_until_live(page)
        store(http, customer, recording_id="first")
        expect(get_rows(page)).to_have_count(1)
        page.route("**/*:watch*", lambda route: route.abort())
        os.kill(stack.number_of("server-1"), signal.SIGKILL)
        expect(page.get_by_role("status").filter(has_text="Not live")).to_be_visible(timeout=15_000)
        until(
            lambda: http.post(EVENTS, {"customer_id": customer, **REQUIRED, "recording_id": "meanwhile"}).status == 201
        )
        page.unroute("**/*:watch*")
        wait_until_live(page)
        expect(get_rows(page).first).to_contain_text("meanwhile")
        expect(get_rows(page)).to_have_count(2)
        assert any("resumeToken" in url for url in requests)
    until(stack.is_whole)


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(browser: Browser, guarded: Stack) -> None:
    key = make_key(guarded.database_url, "secret", "acme", "--scope", "events:read", "--scope", "events:write")
    http = Http(guarded.http_port)
    with opened(browser, guarded) as page:
        page.goto(make_url("acme"))
        for text, heard in (("sk_no_key", "was not accepted"), (key, "Live")):
            page.get_by_label("Key or token").fill(text)
            page.get_by_role("button", name="Use it").click()
            expect(page.get_by_text(heard)).to_be_visible()
        store(http, "acme", {"authorization": f"Bearer {key}"})
        expect(get_rows(page).first).to_be_visible()
        page.reload()
        expect(get_rows(page).first).to_be_visible()
        assert "sk_" not in page.url + page.content()
        page.get_by_label("Customer").fill("globex")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.get_by_text("may not read the events of this customer")).to_be_visible()
        page.get_by_label("Key or token").fill(make_key(guarded.database_url, "secret", "globex"))
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_text("Live")).to_be_visible()
        page.get_by_label("Customer").fill("acme")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.get_by_text("may not read the events of this customer")).to_be_visible()
        page.get_by_label("Customer").fill("globex")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.get_by_text("Live")).to_be_visible()
        expect(page.get_by_label("Key or token")).to_be_hidden()
        other = page.context.new_page()
        other.goto(make_url("acme"))
        expect(other.get_by_label("Key or token")).to_be_visible()
        page.get_by_role("button", name="Forget the key").click()
        expect(page.get_by_label("Key or token")).to_be_visible()


def test_the_counts_are_those_of_the_events(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    kinds = {"view": 6, "share": 2, "dismiss": 1}
    events = [
        {
            "event_type": kind,
            "user_id": f"user-{number % 3}",
            "recording_id": f"rec-{number % 2}",
            "tool_signature": kind,
        }
        for kind, count in kinds.items()
        for number in range(count)
    ]
    store_many(http, customer, *events)
    with opened(browser, stack) as page:
        page.goto(make_url(customer, "amounts"))
        expect(page.locator(".figures dd")).to_have_text(["9", "3", "3"])
        page.get_by_text("As a table").click()
        table = page.get_by_role("region", name="The numbers of the bars")
        expect(table.locator("thead th")).to_have_text(["day", "all", "view", "share", "dismiss"])
        expect(table.locator("tbody tr").first.locator("td")).to_have_text(["9", "6", "2", "1"])
        expect(page.locator(".ranking tbody th")).to_have_text(["view", "share", "dismiss"])
        assert sum(map(int, page.locator(".week tbody td").all_inner_texts())) == 9
        page.get_by_role("link", name="Today").click()
        expect(page.get_by_role("heading", name="By hour and type")).to_be_visible()
        page.get_by_role("link", name="Recordings").click()
        rows = page.locator(".recordings tbody tr")
        expect(rows).to_have_count(2)
        cells = [row.locator("td").all_inner_texts()[:4] for row in rows.all()]
        assert cells == [["3", "3", "1", "0.33"], ["3", "3", "1", "0.33"]]
        page.get_by_role("button", name="Recording").click()
        expect(rows.first.get_by_role("rowheader")).to_have_text("rec-0")
        rows.first.get_by_role("link").click()
        expect(get_rows(page)).to_have_count(5)


def test_what_is_shown_can_be_saved(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    ids = [store(http, customer) for _ in range(3)]
    with opened(browser, stack) as page:
        page.goto(make_url(customer))
        with page.expect_download() as download:
            page.get_by_role("button", name="Save all as JSON lines").click()
        *events, end = map(json.loads, Path(download.value.path()).read_text().splitlines())
        assert [each["event"]["id"] for each in events] == ids
        assert end == {"end": {"count": 3}}
        page.route("**/*:export*", lambda route: route.fulfill(status=200, body='{"event":{}}\n'))
        page.get_by_role("button", name="Save all as JSON lines").click()
        expect(page.get_by_text("Nothing was saved.")).to_be_visible()


def test_the_page_says_what_an_older_service_lacks(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    store(http, customer)
    with opened(browser, stack) as page:
        for path in ("**/*:watch*", "**/api/v1/refusals*", "**/*:summary*"):
            page.route(path, lambda route: route.fulfill(status=404, json={"code": 5, "message": "no such route"}))
        page.goto(make_url(customer))
        expect(get_rows(page)).to_have_count(1)
        expect(page.get_by_text("Not live: this service does not offer it.")).to_be_visible()
        expect(page.get_by_text("Without refusals and replays.")).to_be_visible()
        page.get_by_role("link", name="How much").click()
        expect(page.get_by_role("alert")).to_contain_text("does not offer")


def test_a_busy_or_absent_service_is_tried_again(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    store(http, customer)
    with opened(browser, stack) as page:
        page.route(
            "**/*:summary*", lambda route: route.fulfill(status=429, json={"code": 8}, headers={"retry-after": "1"})
        )
        page.goto(make_url(customer, "amounts"))
        expect(page.get_by_role("alert")).to_contain_text("is busy")
        page.unroute("**/*:summary*")
        expect(page.locator(".figures")).to_be_visible(timeout=15_000)
        page.context.set_offline(True)
        page.get_by_role("link", name="Recordings").click()
        expect(page.get_by_role("alert")).to_contain_text("offline")
        page.context.set_offline(False)
        expect(page.get_by_role("link", name="rec-1")).to_be_visible(timeout=15_000)


def test_the_page_is_used_by_keyboard(browser: Browser, stack: Stack, http: Http, customer: str) -> None:
    store(http, customer)
    with opened(browser, stack) as page:
        page.goto("/activity")
        page.keyboard.type(customer)  # The first field has the focus.
        page.keyboard.press("Enter")
        summary = get_rows(page).first.locator("summary")
        expect(summary).to_be_visible()
        for _ in range(30):
            page.keyboard.press("Tab")
            if summary.evaluate("(it) => it === document.activeElement"):
                break
        assert summary.evaluate("(it) => getComputedStyle(it).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        expect(page.get_by_text("when it was received")).to_be_visible()
