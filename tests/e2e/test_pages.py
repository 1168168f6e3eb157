"""The pages for people, in a real Chromium: what they show, that they call nobody else, and who can use them."""

import contextlib
import gzip
import os
import signal
import socket
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.http import Http
from tests.support.http2 import END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, make_frame
from tests.support.opened_pages import check_access, opened
from tests.support.processes import ROOT
from tests.support.stack import EVENT, Stack
from tests.support.until import until

PATHS = {
    "/": "text/html; charset=utf-8",
    "/docs": "text/html; charset=utf-8",
    "/docs/": "text/html; charset=utf-8",
    "/activity": "text/html; charset=utf-8",
    "/activity/": "text/html; charset=utf-8",
    "/openapi.json": "application/json",
    "/pages/index.js": "text/javascript; charset=utf-8",
    "/pages/docs.js": "text/javascript; charset=utf-8",
    "/pages/style.css": "text/css; charset=utf-8",
    "/pages/docs.css": "text/css; charset=utf-8",
    "/pages/swagger-ui.js": "text/javascript; charset=utf-8",
    "/pages/swagger-ui.css": "text/css; charset=utf-8",
    "/pages/activity/main.js": "text/javascript; charset=utf-8",
    "/pages/activity/activity.css": "text/css; charset=utf-8",
}
VIEWS = [
    pytest.param(scheme, width, id=f"{scheme}, {width} wide") for scheme in ("light", "dark") for width in (1280, 360)
]
CREATE, SEARCH = "Leads-CreateLeadAnalyticsEvent", "Leads-SearchLeadAnalyticsEvents"


@pytest.mark.parametrize("path", PATHS)
def test_every_part_is_served_with_a_strict_policy(http: Http, path: str) -> None:
    answer = http("GET", path)
    assert (answer.status, answer.headers["content-type"]) == (200, PATHS[path])
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert "server" not in answer.headers
    head = http("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert http("POST", path, {}).headers["allow"] == "GET, HEAD"


def test_large_parts_are_sent_compressed(http: Http) -> None:
    document = http("GET", "/openapi.json", headers={"accept-encoding": "gzip"})
    assert gzip.decompress(document.body) == (ROOT / "generated" / "openapi.json").read_bytes()
    assert http("GET", "/openapi.json").body == gzip.decompress(document.body)
    script = http("GET", "/pages/swagger-ui.js")
    assert script.headers["content-encoding"] == "gzip"
    assert b"SwaggerUIBundle" in gzip.decompress(script.body)


@pytest.mark.parametrize(
    "path",
    [
        "/pages/index.html",
        "/pages/../server",
        "/pages/..%2fenvoy.yaml",
        "/pages/docs.js/x",
        "/pages/activity/activity.html",
    ],
)
def test_no_other_file_is_served(http: Http, path: str) -> None:
    assert http("GET", path).status in (404, 422)


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_the_first_page_is_for_everyone(
    browser: Browser, stack: Stack, tmp_path: Path, scheme: str, width: int
) -> None:
    with opened(browser, stack, scheme, width) as page:
        page.goto("/")
        expect(page.get_by_role("status")).to_have_text("The service is up.")
        check_access(page, tmp_path)


def test_the_first_page_leads_everywhere_by_keyboard(browser: Browser, stack: Stack) -> None:
    with opened(browser, stack) as page:
        page.goto("/")
        reached = []
        for _ in range(5):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.getAttribute('href')"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached == ["/activity", "/docs", "/openapi.json", "/analytics.js", "/analytics.d.ts"]
        assert all(page.request.get(path).status == 200 for path in reached)
        page.get_by_role("link", name="API reference").press("Enter")
        page.locator(f"#operations-{CREATE}").wait_for()


def test_the_first_page_says_when_the_service_is_down(browser: Browser, stack: Stack) -> None:
    with opened(browser, stack) as page:
        workers = stack.numbers_of("server-1")
        try:
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            page.goto("/")
            expect(page.get_by_role("status")).to_contain_text("not up", timeout=20_000)
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
        expect(page.get_by_role("status")).to_have_text("The service is up.", timeout=30_000)
        page.context.set_offline(True)
        expect(page.get_by_role("status")).to_contain_text("cannot be reached", timeout=20_000)
    until(stack.serves)


def test_slow_readers_of_pages_keep_others_from_pages_alone(stack: Stack, http: Http) -> None:
    names = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/pages/swagger-ui.js"),
        (b":authority", b"localhost"),
    ]
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in names)
    no_window = make_frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
    streams = [make_frame(HEADERS, END_HEADERS | END_STREAM, number, block) for number in range(1, 400, 2)]
    with contextlib.ExitStack() as cleanup:
        for _ in range(16):  # Both of Envoy's threads get some.
            connection = socket.create_connection(("127.0.0.1", stack.http_port))
            cleanup.enter_context(connection).sendall(PREFACE + no_window + b"".join(streams))
        until(lambda: http("GET", "/docs").status == 429)
        assert http.post("/api/v1/lead_analytics", EVENT).status == 201
    until(lambda: http("GET", "/docs").status == 200)
