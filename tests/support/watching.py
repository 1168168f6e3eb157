"""Watchers of events by either door, each with a thread that reads, and goes on from its last token."""

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Generator, Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any, NamedTuple

import grpc

from data_analytics.v1.watch_pb2 import WatchAnalyticsEventsRequest
from tests.support.in_process import Client

WATCH = "/api/v1/analytics_events:watch"


class ServerSentEvent(NamedTuple):
    """One event of an event stream."""

    kind: str
    token: str
    data: Any


def make_url(customer: str, **parameters: str) -> str:
    """Return the path and query that watches a customer's events."""
    return f"{WATCH}?{urllib.parse.urlencode({'customer_id': customer, **parameters})}"


@contextlib.contextmanager
def opened(port: int, url: str, headers: dict[str, str] | None = None) -> Iterator[tuple[HTTPConnection, HTTPResponse]]:
    """Yield a connection and the response on it, which is an event stream."""
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", url, headers=headers or {})
        with contextlib.closing(connection.getresponse()) as response:
            assert (response.status, response.headers["content-type"]) == (200, "text/event-stream"), response.read()
            yield connection, response


def read_stream(response: HTTPResponse) -> Iterator[ServerSentEvent]:
    """Yield the events of an event stream, until it ends or breaks off."""
    fields: dict[str, str] = {}
    while line := response.readline():
        if line == b"\n":
            yield ServerSentEvent(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
        else:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            assert name not in fields
            fields[name] = value


class Watcher:
    """Someone who watches a customer's events until it is closed. If the stream ends, it opens another one."""

    def __init__(self, customer: str, reconnect_after: int = 0) -> None:
        """Begin to watch, and return when the watch has begun.

        Args:
            customer: whose events.
            reconnect_after: after how many events it breaks off and goes on from its last token. 0 means never.
        """
        self.ids: list[str] = []
        """Of the events that have come, in their order."""
        self.connections = 0
        self.token = ""
        self._customer = customer
        self._reconnect_after = reconnect_after
        self._has_begun = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="watcher")
        self._thread.start()
        assert self._has_begun.wait(20), "the watch has not begun"

    def close(self) -> None:
        """End the watch."""
        self._is_closed = True
        self._break_off()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._is_closed:
            self.connections += 1
            with contextlib.suppress(grpc.RpcError, OSError, AttributeError, ValueError):
                seen = len(self.ids)
                with contextlib.closing(self._read()) as responses:
                    for ids, token in responses:
                        self._has_begun.set()
                        self.token = token
                        self.ids += ids
                        if self._is_closed or (self._reconnect_after and len(self.ids) - seen >= self._reconnect_after):
                            break

    def _read(self) -> Generator[tuple[list[str], str], None, None]:
        """Yield the ids of the events that come, and the token behind them, until the stream ends or breaks off."""
        raise NotImplementedError

    def _break_off(self) -> None:
        raise NotImplementedError


class GrpcWatcher(Watcher):
    """One by gRPC."""

    def __init__(self, client: Client, customer: str, reconnect_after: int = 0) -> None:
        self._client = client
        self._call: Any = None
        super().__init__(customer, reconnect_after)

    def _read(self) -> Generator[tuple[list[str], str], None, None]:
        request = WatchAnalyticsEventsRequest(customer_id=self._customer, resume_token=self.token)
        self._call = self._client.events.WatchAnalyticsEvents(request)
        try:
            for response in self._call:
                yield [event.id for event in response.events], response.resume_token
        finally:
            self._call.cancel()

    def _break_off(self) -> None:
        if self._call is not None:
            self._call.cancel()


class HttpWatcher(Watcher):
    """One by server-sent events."""

    def __init__(self, port: int, customer: str, reconnect_after: int = 0) -> None:
        self.errors: list[int] = []
        """The codes of the errors that streams have ended with."""
        self._port = port
        self._connection: HTTPConnection | None = None
        super().__init__(customer, reconnect_after)

    def _read(self) -> Generator[tuple[list[str], str], None, None]:
        headers = {"last-event-id": self.token} if self.token else {}
        with opened(self._port, make_url(self._customer), headers) as (self._connection, response):
            for event in read_stream(response):
                if event.kind == "error":
                    self.errors.append(event.data["code"])
                yield ([event.data["id"]] if event.kind == "event" else []), event.token or self.token

    def _break_off(self) -> None:
        if self._connection is not None and self._connection.sock is not None:
            self._connection.sock.shutdown(2)
