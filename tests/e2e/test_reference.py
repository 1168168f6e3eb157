"""The reference, `/docs`, in a real Chromium: who can use it, and that every route can be tried out in it."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.support.access import make_key
from tests.support.opened_pages import check_access, opened
from tests.support.stack import Stack

CREATE, SEARCH = "Leads-CreateLeadAnalyticsEvent", "Leads-SearchLeadAnalyticsEvents"
VIEWS = [pytest.param("light", 1280, id="light, 1280 wide"), pytest.param("dark", 360, id="dark, 360 wide")]


def open_operation(page: Page, operation: str) -> None:
    """Open the reference at an operation, and wait until its form can be filled in."""
    page.goto("about:blank")
    page.goto(f"/docs#/{operation.replace('-', '/')}")
    page.locator(f"#operations-{operation} .execute").wait_for()


def execute(page: Page, operation: str) -> tuple[int, str]:
    """Send what the form of an operation has in it, and return the status and the body that the page then shows."""
    page.locator(f"#operations-{operation} .execute").click()
    shown = page.locator(f"#operations-{operation} .live-responses-table .response")
    shown.wait_for()
    return int(shown.locator(".response-col_status").inner_text()), shown.locator("pre").first.inner_text()


@pytest.mark.parametrize(("scheme", "width"), VIEWS)
def test_the_reference_is_for_everyone(browser: Browser, stack: Stack, tmp_path: Path, scheme: str, width: int) -> None:
    with opened(browser, stack, scheme, width) as page:
        page.goto("/docs")
        page.locator(f"#operations-{CREATE}").wait_for()
        check_access(page, tmp_path)
        open_operation(page, SEARCH)
        assert execute(page, SEARCH)[0] == 200
        check_access(page, tmp_path)


@pytest.mark.timeout(120)
def test_each_operation_can_be_tried_out_as_it_stands(browser: Browser, stack: Stack) -> None:
    with opened(browser, stack) as page:
        page.goto("/docs")
        page.locator(".opblock").first.wait_for()
        names = page.locator(".opblock").evaluate_all("(all) => all.map((each) => each.id.slice('operations-'.length))")
        assert len(names) >= 10
        for name in names:
            if name.startswith("Contacts") or name.endswith("Erasure"):  # As others. Each takes two seconds.
                continue
            page.locator(f"#operations-{name} .opblock-summary-control").click()
            expected = (
                404
                if name.endswith(("GetErasure", "GetAnalyticsEvent"))
                else 201
                if re.search("-Create", name)
                else 200
            )
            assert execute(page, name)[0] == expected, name
            page.locator(f"#operations-{name} .opblock-summary-control").click()


def test_what_is_tried_out_is_found_and_refused_by_name(browser: Browser, stack: Stack) -> None:
    with opened(browser, stack) as page:
        open_operation(page, CREATE)
        status, shown = execute(page, CREATE)
        assert (status, '"lead_id": "lead-1"' in shown) == (201, True)
        page.get_by_label("Request body").fill('{"customer_id": "acme"}')
        page.locator(".btn-clear").click()
        status, shown = execute(page, CREATE)
        assert (status, '"field": "recording_id"' in shown) == (422, True)


def test_the_reference_sends_the_key_that_it_is_given(browser: Browser, guarded: Stack) -> None:
    key = make_key(guarded.database_url, "secret", "acme", "--scope", "events:read")
    with opened(browser, guarded) as page:
        open_operation(page, SEARCH)
        assert execute(page, SEARCH)[0] == 401
        page.locator(".btn.authorize").click()
        page.locator(".auth-container input").fill(key)
        page.locator(".auth-btn-wrapper .authorize").click()
        page.locator(".btn-done").click()
        page.locator(".btn-clear").click()
        assert execute(page, SEARCH)[0] == 200
        page.reload()
        page.locator(f"#operations-{SEARCH} .execute").wait_for()
        assert execute(page, SEARCH)[0] == 401  # The tab has forgotten it.
