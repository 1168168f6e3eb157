"""A real Chromium without a window, pages of another origin than the service's, and an unpacked extension."""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, sync_playwright

from tests.support.database import query
from tests.support.processes import ROOT, free_port
from tests.support.stack import Stack
from tests.support.until import until

SCRIPT = ROOT / "server" / "browser" / "analytics.js"
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# A manifest's key gives an extension its id, and so its origin, which follows from the path of its files otherwise.
_EXTENSION_KEY = base64.b64encode(b"any bytes will do for an extension that no store has")
_DIGEST = hashlib.sha256(base64.b64decode(_EXTENSION_KEY)).hexdigest()[:32]
EXTENSION_ORIGIN = "chrome-extension://" + _DIGEST.translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop"))


class Chromium(NamedTuple):
    """The browser of this machine."""

    kind: BrowserType
    program: str

    @contextlib.contextmanager
    def launched(self) -> Iterator[Browser]:
        """Run a browser."""
        with contextlib.closing(self.kind.launch(executable_path=self.program)) as browser:
            yield browser

    @contextlib.contextmanager
    def with_extension(self, directory: Path, url: str) -> Iterator[BrowserContext]:
        """Run a browser with an extension, in whose service worker `analytics` is a client of the service at `url`.

        The extension asks for no permission, so that it may do no more than a page.
        """
        files = directory / "extension"
        if not files.exists():
            _write_extension(files, url)
        context = self.kind.launch_persistent_context(
            directory / "profile",
            executable_path=self.program,
            ignore_default_args=["--disable-extensions"],
            args=[f"--load-extension={files}", f"--disable-extensions-except={files}"],
        )
        with contextlib.closing(context):
            yield context


@contextlib.contextmanager
def find_chromium() -> Iterator[Chromium]:
    """Yield the browser that is on the PATH. Skip the test if there is none, or fail if REQUIRE_BROWSER is 1."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        message = f"there is no {', '.join(_PROGRAMS[:-1])} or {_PROGRAMS[-1]} on the PATH"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        yield Chromium(playwright.chromium, program)


def _write_extension(files: Path, url: str) -> None:
    files.mkdir()
    manifest = {
        "manifest_version": 3,
        "name": "test",
        "version": "1",
        "key": _EXTENSION_KEY.decode(),
        "background": {"service_worker": "worker.js", "type": "module"},
    }
    (files / "manifest.json").write_text(json.dumps(manifest))
    (files / "page.html").write_text("<title>a page of the extension</title>")
    (files / "worker.js").write_text(
        f'import {{ createAnalytics }} from "./analytics.js";\nself.analytics = createAnalytics({{ url: "{url}" }});\n'
    )
    shutil.copy(SCRIPT, files)


class Received(NamedTuple):
    """A request that an inbox has received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a batch."""
        events: list[dict[str, Any]] = json.loads(self.body)["events"]
        return events


class Inbox:
    """A stand-in for the service, at a URL of its own, that answers a page's batches as a test wants it to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.answers: list[tuple[int, dict[str, str], object]] = []
        """The status, headers and body of the next responses. Later ones are 503."""


class Pages:
    """A web server of another origin than the service's. Every GET gets `html`."""

    def __init__(self) -> None:
        port = free_port()
        self.port = port
        self.origin = f"http://page.localhost:{port}"
        self.html = ""
        self._inboxes: dict[str, Inbox] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._make_handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="pages").start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def make_inbox(self) -> Inbox:
        """Return a new inbox. A page that a test has left behind goes on sending to that of its own test."""
        name = str(len(self._inboxes))
        self._inboxes[name] = Inbox(f"{self.origin}/{name}")
        return self._inboxes[name]

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        pages, inboxes = self, self._inboxes

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, {"content-type": "text/html; charset=utf-8"}, pages.html.encode())

            def do_POST(self) -> None:
                _, name, path = self.path.split("/", 2)
                inbox = inboxes[name]
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                inbox.received.append(Received(f"/{path}", headers, body))
                status, more, answer = inbox.answers.pop(0) if inbox.answers else (503, {}, {"code": 14})
                self._answer(status, {"content-type": "application/json", **more}, json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                """Log nothing."""

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                with contextlib.suppress(OSError):  # The page has gone.
                    self.end_headers()
                    self.wfile.write(body)

        return Handler


def make_event(customer: str, message: object = "") -> dict[str, Any]:
    """Return an event to track."""
    return {
        "customer_id": customer,
        "user_id": "user",
        "recording_id": "recording",
        "event_type": "view",
        "entity_type": "lead",
        "entity_id": "lead",
        "message": str(message),
    }


def stored_messages(stack: Stack, customer: str) -> list[str]:
    """Return the messages of a customer's events, as often as they are stored, in order."""
    sql = "SELECT message FROM analytics_event WHERE customer_id = %s ORDER BY message"
    return [message for (message,) in query(stack.database_url, sql, customer)]


def wait_for_messages(stack: Stack, customer: str, expected: list[str], seconds: float = 30.0) -> None:
    """Wait until as many events of a customer are stored as are expected, and check that they are the expected ones."""
    until(lambda: len(stored_messages(stack, customer)) >= len(expected), seconds)
    assert stored_messages(stack, customer) == sorted(expected)
