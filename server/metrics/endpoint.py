"""The Unix socket on which a worker shows its metrics, and those of the other workers of its machine.

It speaks HTTP, so that Envoy can pass it on, and so can `curl --unix-socket`. It lies beside the socket for Envoy, in a
directory that only the account of the workers can enter. The others are found in the same directory.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from server.metrics.catalog import WORKER_UP
from server.metrics.exposition import CONTENT_TYPE, Exposition, merge

log = logging.getLogger(__name__)

_SUFFIX = ".prom"

# What a scrape waits for another worker. Prometheus itself waits 10 s for the scrape.
_PEER_SECONDS = 2.0
_MAX_PEER_BYTES = 16 << 20

# For a request to arrive and its answer to be read.
_REQUEST_SECONDS = 10.0
_MAX_HEAD_BYTES = 16 << 10
_MAX_CONNECTIONS = 20

_STATUSES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

_OWN = "/metrics/worker"


def name_socket(envoy_socket: Path) -> Path:
    """Return where the metrics of a worker are that serves Envoy on this socket. Its path is as long."""
    return envoy_socket.with_name(envoy_socket.name.removesuffix(".sock") + _SUFFIX)


def name_worker(path: Path) -> str:
    """Return what the label `worker` calls the worker whose metrics are on this socket: "50051" for 50051.prom."""
    return path.name.removesuffix(_SUFFIX)


class Endpoint:
    """The endpoint of one worker."""

    def __init__(
        self, path: Path, render: Callable[[], str], find_fault: Callable[[], str], more: Callable[[], Awaitable[str]]
    ) -> None:
        """Bind the socket. Its directory has to be there.

        Args:
            path: the socket.
            render: returns the metrics of this worker as text.
            find_fault: returns why it cannot commit, or "" if it can.
            more: returns, as text, the metrics that are the same from whichever worker.

        Raises:
            OSError: it cannot be bound.
        """
        self._path = path
        self._render = render
        self._find_fault = find_fault
        self._more = more
        self._connections = 0
        self._server: asyncio.Server | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))

    async def start(self) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_unix_server(self._serve, sock=self._socket, limit=_MAX_HEAD_BYTES)

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _MAX_CONNECTIONS:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    method, path = await _read_request(reader)
                    await _answer(writer, method, *await self._respond(method, path))
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, TimeoutError):
            pass  # Whoever asks has gone, or speaks no HTTP.
        except Exception:
            log.exception("unexpected error while metrics are shown")
        finally:
            self._connections -= 1
            writer.close()

    async def _respond(self, method: str, path: str) -> tuple[int, str]:
        """Return the status and body of an answer."""
        if method not in ("GET", "HEAD"):
            return 405, ""
        if path == "/metrics":
            return 200, await self._render_all()
        if path == _OWN:
            return 200, self._render()
        if path == "/healthz":
            return 200, ""
        if path == "/readyz":
            fault = self._find_fault()
            return (503, f"{fault}\n") if fault else (200, "")
        return 404, ""

    async def _render_all(self) -> str:
        others = [path for path in sorted(self._path.parent.glob(f"*{_SUFFIX}")) if path != self._path]
        texts = await asyncio.gather(self._more(), *map(_ask, others))
        return merge([self._render(), *texts])


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str]:
    head = await reader.readuntil(b"\r\n\r\n")
    method, path, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    return method, path.partition("?")[0]


async def _answer(writer: asyncio.StreamWriter, method: str, status: int, text: str) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {_STATUSES[status]}\r\ncontent-type: {CONTENT_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (b"" if method == "HEAD" else body))
    await writer.drain()


async def _ask(path: Path) -> str:
    """Return the metrics of another worker. Nothing if it is dead, and that it does not answer if it hangs."""
    try:
        async with asyncio.timeout(_PEER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(f"GET {_OWN} HTTP/1.1\r\nhost: worker\r\n\r\n".encode())
                answer = b""
                while len(answer) < _MAX_PEER_BYTES and (part := await reader.read(_MAX_PEER_BYTES)):
                    answer += part
            finally:
                writer.close()
    except TimeoutError:
        silent = Exposition(name_worker(path))
        silent.add(WORKER_UP, lambda: 0)
        return silent.render()
    except OSError:
        return ""
    return answer.partition(b"\r\n\r\n")[2].decode()
