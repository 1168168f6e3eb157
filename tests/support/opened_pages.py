"""The pages for people, opened in a browser that watches them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.support.stack import Stack


@contextlib.contextmanager
def opened(browser: Browser, stack: Stack, scheme: str = "light", width: int = 1280) -> Iterator[Page]:
    """Yield a page that calls nobody but the service, and whose console stays empty."""
    origin = f"http://localhost:{stack.http_port}"
    with browser.new_context(
        base_url=origin, color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 800}
    ) as context:
        page = context.new_page()
        requests: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        page.wait_for_timeout(0)  # Playwright calls back only while it is called.
        assert [url for url in requests if not url.startswith((f"{origin}/", "data:"))] == []
        # The browser notes each response that is an error.
        assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


def check_access(page: Page, tmp_path: Path) -> None:
    """Check that axe finds nothing and that nothing is wider than the page. Leave a picture where it fails."""
    found = Axe().run(page)
    is_too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    if found.violations_count or is_too_wide:
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        pytest.fail(f"{found.generate_report()}\ntoo wide: {is_too_wide}\nsee {tmp_path / 'page.png'}")
