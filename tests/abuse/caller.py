"""What attacks are made of: the door that they come through, and callers at one address that use it."""

import asyncio
import contextlib
import enum
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from tests.abuse.http1 import Http1, make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import Request

ADDRESS = "127.0.0.2"
"""The address of the attacker. The victim's is 127.0.0.1."""

# Linux: choose the port when connecting, so that one port can serve connections to several others.
_BIND_ADDRESS_NO_PORT = 24
_PAUSE_SECONDS = 0.05


class Door(enum.Enum):
    """How a caller gets in. The values complete the names of the attacks."""

    JSON = "JSON"
    ENVOY = "gRPC by Envoy"
    WORKER = "gRPC to workers"


JSON, ENVOY, WORKER = Door
ALL, GRPC = (JSON, ENVOY, WORKER), (ENVOY, WORKER)


class Ports(NamedTuple):
    """The ports of a stack."""

    http: int
    grpc: tuple[int, ...]


class Caller:
    """The attacker, at one door."""

    def __init__(self, door: Door, ports: Ports) -> None:
        self.door = door
        self.counts: Counter[str] = Counter()
        """What has happened to it, and how often."""
        self.begun = asyncio.Event()
        """Is set once it has tried to connect."""
        self._ports = itertools.cycle(ports.grpc if door is WORKER else [ports.http])

    async def connect(self) -> socket.socket:
        """Return a new connection from the attacker's address, to each worker in turn."""
        new = socket.socket()
        new.setblocking(False)
        try:
            new.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            new.bind((ADDRESS, 0))
            await asyncio.get_running_loop().sock_connect(new, ("127.0.0.1", next(self._ports)))
        except BaseException:
            new.close()
            raise
        finally:
            self.begun.set()
        return new

    @contextlib.asynccontextmanager
    async def http1(self) -> AsyncIterator[Http1]:
        """Yield a new connection for JSON."""
        connection = await Http1().connect(await self.connect())
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.asynccontextmanager
    async def http2(self, *, reads: bool = True) -> AsyncIterator[Http2]:
        """Yield a new connection for gRPC."""
        connection = await Http2(reads=reads).connect(await self.connect())
        try:
            yield connection
        finally:
            connection.close()

    async def ask(self, request: Request, *pairs: tuple[bytes, bytes], connections: int, streams: int = 1) -> None:
        """Send a request again and again, for ever.

        Args:
            request: what to send.
            pairs: more headers.
            connections: how many connections to use.
            streams: how many requests each has in flight. For JSON there are so many more connections instead.
        """
        if self.door is JSON:
            head = make_head(request.method, request.path, len(request.json), *pairs)

            async def ask_json() -> None:
                async with self.http1() as connection:
                    while True:
                        await connection.send(head + request.json)
                        self.counts[await connection.read_status()] += 1

            await self.repeat(connections * streams, ask_json)

        async def ask_once(connection: Http2) -> None:
            self.counts[await connection.call(request.rpc, request.message, *pairs)] += 1

        await self.repeat_calls(connections, streams, ask_once)

    async def repeat_calls(
        self, connections: int, streams: int, call: Callable[[Http2], Awaitable[None]], *, pause: float = 0.0
    ) -> None:
        """Run `call` again and again on each of the streams of each of the connections, for ever."""

        async def call_until_lost(connection: Http2) -> None:
            while not connection.lost.is_set():
                await call(connection)
                if pause:
                    await asyncio.sleep(pause)

        async def connect() -> None:
            async with self.http2() as connection:
                await run_all(streams, lambda: call_until_lost(connection))

        await self.repeat(connections, connect)

    async def repeat(self, count: int, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `act` again and again, `count` times at once, for ever. What the server breaks is counted."""

        async def go_on() -> None:
            while True:
                try:
                    await act()
                except (OSError, EOFError) as error:
                    self.counts[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_SECONDS)

        await run_all(count, go_on)


async def run_all(count: int, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `act` that many times at once."""
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(act())
