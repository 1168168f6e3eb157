"""The victim: an ordinary customer, from another address than the attacker, who notes how long each answer takes."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.abuse.caller import Ports
from tests.abuse.http1 import Http1, make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import VICTIM, WRITE, Request, make_chunk, make_create, make_event, make_search

PATIENCE_SECONDS = 10.0

CREATE, SEARCH, NATIVE, STREAM = "create", "search", "gRPC create", "write stream"
RATES = {CREATE: 5.0, SEARCH: 5.0, NATIVE: 5.0, STREAM: 2.0}
"""What the victim does, and how often a second: creates over a connection that stays, and searches each over a new
one, both as JSON; creates by gRPC to each worker in turn, every other one over a new connection; write streams by gRPC
through Envoy."""
_GOOD = {CREATE: "201", SEARCH: "200", NATIVE: "OK", STREAM: "OK"}

_CREATE, _SEARCH, _CHUNK = make_create(VICTIM), make_search(VICTIM, page_size=10), make_chunk([make_event(VICTIM)])


class Sample(NamedTuple):
    """One request of the victim's."""

    kind: str
    started: float
    """By time.monotonic()."""
    seconds: float
    failure: str
    """Its status, or what went wrong, or nothing if it succeeded."""


async def open_socket(port: int) -> socket.socket:
    """Return a new connection to a port of this machine."""
    new = socket.socket()
    new.setblocking(False)
    new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        await asyncio.get_running_loop().sock_connect(new, ("127.0.0.1", port))
    except BaseException:
        new.close()
        raise
    return new


class Victim:
    """A context manager that calls the service at a fixed rate, however slowly it answers, while the block runs."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._idle: list[Http1] = []
        self._channels: dict[int, Http2] = {}
        self._turn = 0
        self.samples: list[Sample] = []
        """In the order of their end."""

    async def __aenter__(self) -> "Victim":
        acts = {CREATE: self._create, SEARCH: self._search, NATIVE: self._create_by_grpc, STREAM: self._stream}
        self._loops = [asyncio.create_task(self._repeat(kind, act)) for kind, act in acts.items()]
        self._requests: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await asyncio.gather(*self._requests)
        for connection in self._idle:
            connection.close()
        for channel in self._channels.values():
            channel.close()

    async def _repeat(self, kind: str, act: Callable[[], Awaitable[str]]) -> None:
        due = time.monotonic()
        while True:
            request = asyncio.create_task(self._measure(kind, act))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
            due += 1 / RATES[kind]
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _measure(self, kind: str, act: Callable[[], Awaitable[str]]) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status = await act()
        except (OSError, EOFError) as error:
            status = type(error).__name__
        failure = "" if status == _GOOD[kind] else status
        self.samples.append(Sample(kind, started, time.monotonic() - started, failure))

    async def _create(self) -> str:
        # As clients with a pool of connections do: a new one only while the others are in use.
        connection = self._idle.pop() if self._idle else await Http1().connect(await open_socket(self._ports.http))
        status = await _ask(connection, _CREATE, closes=False)
        self._idle.append(connection)
        return status

    async def _search(self) -> str:
        connection = await Http1().connect(await open_socket(self._ports.http))
        return await _ask(connection, _SEARCH, closes=True)

    async def _create_by_grpc(self) -> str:
        turn, is_new = divmod(self._turn, 2)
        self._turn += 1
        port = self._ports.grpc[turn % len(self._ports.grpc)]
        if not is_new:
            channel = await self._get_channel(port)
            return await channel.call(_CREATE.rpc, _CREATE.message)
        channel = await Http2().connect(await open_socket(port))
        try:
            return await channel.call(_CREATE.rpc, _CREATE.message)
        finally:
            channel.close()

    async def _stream(self) -> str:
        channel = await self._get_channel(self._ports.http)
        return await channel.call(WRITE, _CHUNK)

    async def _get_channel(self, port: int) -> Http2:
        channel = self._channels.get(port)
        if channel is None or channel.lost.is_set():
            channel = await Http2().connect(await open_socket(port))
            self._channels[port] = channel
        return channel


async def _ask(connection: Http1, request: Request, *, closes: bool) -> str:
    try:
        await connection.send(make_head(request.method, request.path, len(request.json)) + request.json)
        status = await connection.read_status()
    except BaseException:
        connection.close()
        raise
    if closes:
        connection.close()
    return status
