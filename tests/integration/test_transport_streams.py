"""Streams: what holds them back, and handlers that give up or share a message."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import grpc

from server.transport import CORE
from tests.support.http2 import INITIAL_WINDOW_SIZE, Http2Client, make_message
from tests.support.transport import client_stream, on_both, path, running_transport, server_stream, two_streams, unary
from tests.support.until import until

CODE = grpc.StatusCode


def test_a_handler_that_raises_cancelled_error_ends_its_call() -> None:
    async def cancel_itself(_: bytes, __: Any) -> bytes:
        raise asyncio.CancelledError

    with running_transport(CORE, {"CancelItself": unary(cancel_itself)}) as core, core.channel() as channel:
        assert channel.unary_unary(path("CancelItself")).future(b"", timeout=20).code() == CODE.CANCELLED


@on_both
def test_requests_that_nobody_reads_hold_their_caller_back(transport: str) -> None:
    """Count what the server lets a client send on 100 streams that no handler reads."""
    begun = []

    async def read_nothing(_: Any, __: Any) -> bytes:
        begun.append(1)
        await asyncio.Event().wait()
        return b""

    with (
        running_transport(transport, {"ReadNothing": client_stream(read_nothing)}) as running,
        Http2Client(running.port) as client,
    ):
        streams = range(1, 201, 2)
        for stream in streams:
            client.call(stream, path("ReadNothing").encode())
        until(lambda: len(begun) == len(streams))
        sent = 0
        piece = b"\0\0\x7f\xff\xff" + b"a" * 16_000
        for _ in range(200):
            for stream in streams:
                if min(client.windows[stream], client.windows[0]) > len(piece):
                    client.send_data(stream, piece)
                    sent += len(piece)
            with contextlib.suppress(TimeoutError):
                while True:
                    client.read(0.01)
        # Each stream's first window, and no more.
        assert 0 < sent <= len(streams) * 16_384


def test_a_read_that_is_given_up_loses_no_message() -> None:
    """A handler waits for requests with a time limit, and gets every one of them."""

    async def read_impatiently(requests: Any, _: Any) -> bytes:
        found = []
        while True:
            try:
                found.append(await asyncio.wait_for(anext(requests), 0.01))
            except TimeoutError:
                continue
            except StopAsyncIteration:
                return b",".join(found)

    pause = threading.Event()

    def send() -> Iterator[bytes]:
        for number in range(20):
            pause.wait(0.03)
            yield b"%d" % number

    with running_transport(CORE, {"Read": client_stream(read_impatiently)}) as running, running.channel() as channel:
        response = channel.stream_unary(path("Read"))(send(), timeout=20)
    assert response == b",".join(b"%d" % number for number in range(20))


def test_tasks_of_one_handler_share_its_stream() -> None:
    """Several tasks read the requests and write the responses of one call at the same time."""

    async def share(requests: Any, context: Any) -> None:
        async def work() -> None:
            async for request in requests:
                await context.write(request)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(work())

    sent = [b"%d" % number for number in range(200)]
    with running_transport(CORE, {"Share": two_streams(share)}) as running, running.channel() as channel:
        responses = list(channel.stream_stream(path("Share"))(iter(sent), timeout=20))
    assert sorted(responses) == sorted(sent)


def test_a_write_that_is_given_up_is_sent_before_the_next() -> None:
    async def write_impatiently(_: bytes, context: Any) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.write(b"r" * 1_000), 0.1)
        await context.write(b"next")

    methods = {"Write": server_stream(write_impatiently)}
    with (
        running_transport(CORE, methods) as running,
        Http2Client(running.port, {INITIAL_WINDOW_SIZE: 10}) as client,
    ):
        client.call(1, path("Write").encode())
        client.send_data(1, make_message(b""), ended=True)
        with contextlib.suppress(TimeoutError):
            while True:
                client.read(0.5)
        client.widen(1, 10_000)
        reply = client.read_reply(1)
    assert (reply.code, reply.data) == (CODE.OK, make_message(b"r" * 1_000) + make_message(b"next"))


def test_a_call_may_be_aborted_while_a_response_is_held_back() -> None:
    async def write_and_abort(_: bytes, context: Any) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.write(b"r" * 1_000), 0.1)
        await context.abort(CODE.ABORTED, "given up")

    methods = {"Write": server_stream(write_and_abort)}
    with (
        running_transport(CORE, methods) as running,
        Http2Client(running.port, {INITIAL_WINDOW_SIZE: 10}) as client,
    ):
        client.call(1, path("Write").encode())
        client.send_data(1, make_message(b""), ended=True)
        with contextlib.suppress(TimeoutError):
            while True:
                client.read(0.5)
        client.widen(1, 10_000)
        reply = client.read_reply(1)
    assert (reply.code, reply.details, len(reply.data)) == (CODE.ABORTED, "given up", 1_005)


def test_a_handler_has_cleaned_up_before_its_call_has_ended() -> None:
    events = []

    async def flood(_: bytes, context: Any) -> Any:
        events.append("begun")
        context.add_done_callback(lambda _: events.append("ended"))
        try:
            while True:
                yield b"r" * 10_000
        finally:
            await asyncio.sleep(0)
            events.append("cleaned up")

    with running_transport(CORE, {"Flood": server_stream(flood)}) as running:
        with Http2Client(running.port) as client:
            client.call(1, path("Flood").encode())
            client.send_data(1, make_message(b""), ended=True)
            until(lambda: events)
        until(lambda: running.server.calls_in_flight == 0)
    assert events == ["begun", "cleaned up", "ended"]
