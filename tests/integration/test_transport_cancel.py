"""Callers that go away at each point of a call: its handler is cancelled, and nothing is left of it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from server.transport import TRANSPORTS
from tests.support.http2 import INITIAL_WINDOW_SIZE, Http2Client, make_message
from tests.support.transport import (
    RunningTransport,
    client_stream,
    echo,
    path,
    running_transport,
    server_stream,
    unary,
)
from tests.support.until import until

EVENTS: Counter[str] = Counter()
"""What has happened in the handlers below."""


def note_end(_: Any) -> None:
    """Count a call that has ended."""
    EVENTS["ended"] += 1


@contextlib.contextmanager
def noted(context: Any) -> Iterator[None]:
    """Count a handler that begins, one that is cancelled, and a call that ends."""
    context.add_done_callback(note_end)
    EVENTS["begun"] += 1
    try:
        yield
    except asyncio.CancelledError:
        EVENTS["cancelled"] += 1
        raise
    finally:
        EVENTS["left"] += 1


async def hang(_: bytes, context: Any) -> bytes:
    """Wait for what never comes."""
    with noted(context):
        await asyncio.Event().wait()
    return b""


async def hang_for_more(requests: Any, context: Any) -> bytes:
    """Read requests for as long as there are some."""
    with noted(context):
        async for _ in requests:
            EVENTS["read"] += 1
    return b""


async def hang_and_read_nothing(_: Any, context: Any) -> bytes:
    """Read no request and wait for what never comes."""
    return await hang(b"", context)


async def flood(_: bytes, context: Any) -> Any:
    """Yield without an end."""
    with noted(context):
        while True:
            EVENTS["yielded"] += 1
            yield b"r" * 10_000


async def write_without_end(_: bytes, context: Any) -> None:
    """Write without an end."""
    with noted(context):
        while True:
            await context.write(b"r" * 10_000)


async def ignore_cancellation(_: bytes, context: Any) -> bytes:
    """Go on for a while after being cancelled, and then ask for a callback."""
    with noted(context):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            context.add_done_callback(note_end)
            with contextlib.suppress(grpc.aio.InternalError):
                await context.send_initial_metadata((("late", "yes"),))
    return b"late"


METHODS = {
    "Echo": unary(echo),
    "Hang": unary(hang),
    "HangForMore": client_stream(hang_for_more),
    "HangAndReadNothing": client_stream(hang_and_read_nothing),
    "Flood": server_stream(flood),
    "WriteWithoutEnd": server_stream(write_without_end),
    "IgnoreCancellation": unary(ignore_cancellation),
}


@pytest.fixture(scope="module", params=TRANSPORTS)
def running(request: pytest.FixtureRequest) -> Iterator[RunningTransport]:
    with running_transport(request.param, METHODS) as started:
        yield started


@pytest.fixture(autouse=True)
def nothing_is_left(running: RunningTransport) -> Iterator[None]:
    """After each test all handlers have returned, all calls have ended, and the next caller is answered."""
    EVENTS.clear()
    yield
    until(lambda: EVENTS["begun"] == EVENTS["left"])
    until(lambda: EVENTS["ended"] >= EVENTS["begun"])
    if hasattr(running.server, "calls_in_flight"):
        until(lambda: running.server.calls_in_flight == 0)
    with running.channel() as channel:
        assert channel.unary_unary(path("Echo"))(b"hello", timeout=20) == b"hello"


def test_a_caller_that_cancels_ends_the_handler(running: RunningTransport) -> None:
    with running.channel() as channel:
        call = channel.unary_unary(path("Hang")).future(b"", timeout=20)
        until(lambda: EVENTS["begun"])
        call.cancel()
        until(lambda: EVENTS["cancelled"] == 1)


def test_a_caller_whose_connection_breaks_ends_the_handlers(running: RunningTransport) -> None:
    with Http2Client(running.port) as client:
        for stream, method in enumerate(["Hang", "HangForMore", "HangAndReadNothing", "Flood", "WriteWithoutEnd"]):
            client.call(2 * stream + 1, path(method).encode())
            client.send_data(2 * stream + 1, make_message(b"hello"))
        until(lambda: EVENTS["begun"] == 5)
    until(lambda: EVENTS["left"] == 5)


def test_a_caller_that_is_out_of_time_ends_the_handler(running: RunningTransport) -> None:
    with running.channel() as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(path("Hang"))(b"", timeout=0.3)
    until(lambda: EVENTS["cancelled"] == 1)


def test_a_call_may_be_cancelled_at_any_moment(running: RunningTransport) -> None:
    """Cancel calls of each kind after a rising number of bytes of their requests, before and after their end."""
    request = make_message(b"hello" * 3)
    for method in ("Echo", "Hang", "HangForMore", "Flood", "WriteWithoutEnd"):
        with Http2Client(running.port) as client:
            for sent in range(len(request) + 2):
                stream = 2 * sent + 1
                client.call(stream, path(method).encode())
                if sent:
                    client.send_data(stream, request[: sent - 1], ended=sent > len(request))
                client.reset(stream)
            client.call(1001, path("Echo").encode())
            client.send_data(1001, make_message(b"after"), ended=True)
            assert client.read_reply(1001).data == make_message(b"after")


def test_ten_thousand_resets_leave_nothing(running: RunningTransport) -> None:
    with Http2Client(running.port) as client:
        for stream in range(1, 20_001, 2):
            pauses = stream % 100 == 99  # Without any, C-core takes it for an attack and closes the connection.
            client.call(stream, path("Echo" if pauses else "Hang").encode())
            client.send_data(stream, make_message(b"hello"), ended=True)
            if pauses:
                assert client.read_reply(stream).data == make_message(b"hello")
            else:
                client.reset(stream)
    until(lambda: EVENTS["begun"] == EVENTS["left"])


def test_a_caller_that_vanishes_in_mid_message_ends_its_call(running: RunningTransport) -> None:
    for method in ("Echo", "HangForMore", "Flood"):
        with Http2Client(running.port) as client:
            client.call(1, path(method).encode())
            client.send_data(1, make_message(b"a" * 60_000)[:30_000])
            if method == "HangForMore":
                until(lambda: EVENTS["begun"])


def test_a_handler_that_lingers_is_waited_for(running: RunningTransport) -> None:
    with running.channel() as channel:
        call = channel.unary_unary(path("IgnoreCancellation")).future(b"", timeout=20)
        until(lambda: EVENTS["begun"])
        call.cancel()
        # Both callbacks, also the one that it added after its caller had gone.
        until(lambda: EVENTS["ended"] == 2)


def test_a_stream_that_nobody_reads_holds_its_handler_back(running: RunningTransport) -> None:
    for method in ("Flood", "WriteWithoutEnd"):
        with Http2Client(running.port, {INITIAL_WINDOW_SIZE: 50_000}) as client:
            client.call(1, path(method).encode())
            client.send_data(1, make_message(b""), ended=True)
            for _ in range(10):  # Five responses in all, of 10 KB and their prefixes, do not pass.
                with contextlib.suppress(TimeoutError):
                    client.read(0.1)
            assert EVENTS["yielded"] <= 8
            client.widen(1, 100_000)
            for _ in range(30):
                with contextlib.suppress(TimeoutError):
                    client.read(0.05)
            assert EVENTS["yielded"] <= 20
