"""A server on either transport, in the test's own process, with handlers that the test gives it."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import grpc
import pytest

from server.event_loop import make_event_loop
from server.transport import TRANSPORTS
from server.transport.calls import Bounds
from server.transport.interface import Server
from server.transport.make import make_server
from server.transport.options import Sizes

T = TypeVar("T")

SIZES = Sizes(max_request_bytes=8 << 20, max_response_bytes=17 << 20, max_metadata_bytes=16 << 10, max_calls=1000)
SERVICE = "test.Test"

on_both = pytest.mark.parametrize("transport", TRANSPORTS)
"""For a test of what both transports do alike."""


class RunningTransport:
    """A started server, its event loop and its port."""

    def __init__(self, server: Server, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.server: Any = server
        self.port = port
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(40)

    def stop(self, grace: float | None = 5.0) -> None:
        """Stop the server."""
        self.run(self.server.stop(grace))

    @contextlib.contextmanager
    def channel(self, *options: tuple[str, Any], **arguments: Any) -> Iterator[Any]:
        """Yield a channel on a connection of its own."""
        own = ("grpc.use_local_subchannel_pool", 1)
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", [own, *options], **arguments) as channel:
            yield channel


@contextlib.contextmanager
def event_loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop like a server's in a thread."""
    loop = make_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def running_transport(
    transport: str,
    methods: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"],
    *generic: grpc.GenericRpcHandler,
    bounds: Bounds | None = None,
    sizes: Sizes = SIZES,
    **arguments: Any,
) -> Iterator[RunningTransport]:
    """Start a server whose service `SERVICE` has these methods, and stop it in the end."""

    async def start() -> tuple[Server, int]:
        server = make_server(transport, sizes, bounds or Bounds(), **arguments)
        server.add_generic_rpc_handlers((*generic, grpc.method_handlers_generic_handler(SERVICE, dict(methods))))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    with event_loop_thread() as loop:
        server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        running = RunningTransport(server, port, loop)
        try:
            yield running
        finally:
            running.stop(2)


def unary(method: Any, **codec: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return the handler of a call with one request and one response."""
    return grpc.unary_unary_rpc_method_handler(method, **codec)


def server_stream(method: Any, **codec: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return the handler of a call with one request and many responses."""
    return grpc.unary_stream_rpc_method_handler(method, **codec)


def client_stream(method: Any, **codec: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return the handler of a call with many requests and one response."""
    return grpc.stream_unary_rpc_method_handler(method, **codec)


def two_streams(method: Any, **codec: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return the handler of a call with many requests and many responses."""
    return grpc.stream_stream_rpc_method_handler(method, **codec)


def path(method: str) -> str:
    """Return the path of a method of `SERVICE`."""
    return f"/{SERVICE}/{method}"


async def echo(request: bytes, _: Any) -> bytes:
    """Return the request."""
    return request


async def count(requests: Any, _: Any) -> bytes:
    """Return how many messages came."""
    return b"%d" % len([request async for request in requests])


async def echo_each(requests: Any, _: Any) -> Any:
    """Yield each request."""
    async for request in requests:
        yield request


def outcome(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return the status of a call, or of one that raises, once it has ended."""
    return call.code(), call.details()
