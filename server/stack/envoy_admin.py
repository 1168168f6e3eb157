"""Envoy's admin interface, on a Unix socket that only its owner can use."""

import contextlib
import http.client
import socket
import time
from pathlib import Path

_TIMEOUT_SECONDS = 2.0


class EnvoyAdmin:
    """A client of the admin interface."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """The Unix socket."""

    def read(self, page: str) -> str:
        """Return a page, such as `/stats`. Raises OSError if Envoy does not answer."""
        return self._request("GET", page)

    def drain(self, seconds: float) -> None:
        """Make Envoy refuse new connections and close each open one after its response; wait for the last response.

        Returns after `seconds` even if requests are still in flight, and at once if Envoy does not answer.
        """
        with contextlib.suppress(OSError):
            self._request("POST", "/healthcheck/fail")
            self._request("POST", "/drain_listeners")
            end = time.monotonic() + seconds
            while self.count_unfinished_requests() and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(0.05)  # The last response may still be on its way out.

    def count_unfinished_requests(self) -> int:
        """Return how many requests are in flight, without watches, which do not end by themselves."""
        stats = self.read("/stats?filter=rq_active")
        counts = {name: int(count) for name, _, count in (line.partition(": ") for line in stats.splitlines()) if count}
        requests = sum(
            count
            for name, count in counts.items()
            if name.endswith(".downstream_rq_active") and not name.startswith("http.admin.")
        )
        return requests - counts.get("cluster.watches.upstream_rq_active", 0)

    def _request(self, method: str, page: str) -> str:
        connection = _UnixConnection(self.path)
        try:
            connection.request(method, page)
            return connection.getresponse().read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"Envoy's admin interface sent no HTTP response: {error!r}") from None
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
