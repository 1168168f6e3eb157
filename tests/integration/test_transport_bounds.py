"""What callers may hold of a server: calls, messages on their way in, connections."""

import asyncio
import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from server.metrics.catalog import TRANSPORT_REFUSED
from server.transport import CORE
from server.transport.calls import Bounds
from tests.support.http2 import INITIAL_WINDOW_SIZE, Http2Client, make_message
from tests.support.transport import (
    RunningTransport,
    client_stream,
    echo,
    on_both,
    path,
    running_transport,
    server_stream,
    unary,
)
from tests.support.until import until

CODE = grpc.StatusCode
ECHO = path("Echo").encode()


async def hang(_: Any, __: Any) -> bytes:
    """Wait for what never comes."""
    await asyncio.Event().wait()
    return b""


async def hang_on(_: bytes, __: Any) -> Any:
    """Yield once, and then wait for what never comes."""
    yield b"begun"
    await asyncio.Event().wait()


METHODS = {"Echo": unary(echo), "Hang": unary(hang), "HangOn": server_stream(hang_on), "Upload": client_stream(hang)}


def health(method: str) -> Any:
    """Return handlers of a service that is to be reached when others are not."""
    return grpc.method_handlers_generic_handler("test.Health", {method: unary(echo)})


@contextlib.contextmanager
def running_with(bounds: Bounds, **arguments: Any) -> Iterator[RunningTransport]:
    with running_transport(CORE, METHODS, health("Check"), bounds=bounds, **arguments) as running:
        yield running


@contextlib.contextmanager
def counted(cause: str, least: int) -> Iterator[None]:
    """Check that so many calls or more are counted as refused for this cause. Decorates a test."""
    before = TRANSPORT_REFUSED.values[cause,]
    yield
    assert TRANSPORT_REFUSED.values[cause,] >= before + least


@counted("too_many_calls", 20)
def test_calls_over_the_limit_are_refused_and_some_services_are_not() -> None:
    arguments = {"unbounded_services": ["test.Health"], "refusal_metadata": (("retry-after", "1"), ("x-bin", b"\0"))}
    with running_with(Bounds(calls=10), **arguments) as running, running.channel() as channel:
        hanging = [channel.unary_unary(path("Hang")).future(b"", timeout=30) for _ in range(10)]
        until(lambda: running.server.calls_in_flight == 10)
        for _ in range(20):
            refused = channel.unary_unary(path("Echo")).future(b"", timeout=20)
            assert (refused.code(), refused.details()) == (CODE.RESOURCE_EXHAUSTED, "too many requests are in flight")
            assert {"retry-after": "1", "x-bin": b"\0"}.items() <= dict(refused.trailing_metadata()).items()
            check: Any = channel.unary_unary("/test.Health/Check")
            assert check(b"well", timeout=20) == b"well"
        hanging.pop().cancel()
        until(lambda: channel.unary_unary(path("Echo")).future(b"", timeout=20).code() == CODE.OK)
        for call in hanging:
            call.cancel()
        until(lambda: running.server.calls_in_flight == 0)


def test_callers_that_hold_all_calls_without_a_message_make_room() -> None:
    with running_with(Bounds(calls=20, messages=4)) as running, Http2Client(running.port) as holder:
        for stream in range(1, 41, 2):
            holder.call(stream, ECHO)
        until(lambda: running.server.calls_in_flight == 20)
        with running.channel() as channel:
            for number in range(10):
                assert channel.unary_unary(path("Echo"))(b"%d" % number, timeout=20) == b"%d" % number


@counted("unread_response", 1)
def test_callers_that_hold_all_calls_without_reading_make_room() -> None:
    with running_with(Bounds(calls=20)) as running, Http2Client(running.port, {INITIAL_WINDOW_SIZE: 0}) as holder:
        for stream in range(1, 41, 2):
            holder.call(stream, ECHO)
            holder.send_data(stream, make_message(b"hello"), ended=True)
        until(lambda: running.server.calls_in_flight == 20)
        with running.channel() as channel:
            for number in range(10):
                assert channel.unary_unary(path("Echo"))(b"%d" % number, timeout=20) == b"%d" % number
        while not holder.ended:
            holder.read(20)
        assert {holder.read_reply(stream).code for stream in holder.ended} == {CODE.RESOURCE_EXHAUSTED}


def test_responses_that_nobody_reads_are_limited_by_their_bytes() -> None:
    with (
        running_with(Bounds(response_bytes=10_000)) as running,
        Http2Client(running.port, {INITIAL_WINDOW_SIZE: 0}) as holder,
    ):
        streams = range(1, 61, 2)
        for stream in streams:
            holder.call(stream, ECHO)
            holder.send_data(stream, make_message(b"h" * 1_000), ended=True)
        until(lambda: running.server.calls_in_flight == 10)
        while len(holder.ended) < 20:
            holder.read(20)
        assert {holder.read_reply(stream).code for stream in holder.ended} == {CODE.RESOURCE_EXHAUSTED}
        # The others have theirs in full.
        others = set(streams) - holder.ended
        for stream in others:
            holder.widen(stream, 2_000)
        assert [holder.read_reply(stream).data for stream in others] == [make_message(b"h" * 1_000)] * 10


def test_refusals_that_nobody_reads_are_limited_too() -> None:
    with running_with(Bounds(calls=5)) as running, Http2Client(running.port) as holder:
        for stream in range(1, 11, 2):
            holder.call(stream, path("Hang").encode())
        until(lambda: running.server.calls_in_flight == 5)
        with Http2Client(running.port) as client:
            for stream in range(1, 20_001, 2):
                client.call(stream, ECHO)
                client.reset(stream)
            until(lambda: running.server.calls_in_flight <= 10)
        until(lambda: running.server.calls_in_flight == 5)


@counted("slow_request", 96)
def test_messages_that_never_end_do_not_keep_others_out() -> None:
    bounds = Bounds(messages=8, slow_messages=4)
    with running_with(bounds) as running, contextlib.ExitStack() as stack:
        endless = [stack.enter_context(Http2Client(running.port)) for _ in range(10)]
        streams = range(1, 21, 2)
        for client in endless:
            for stream in streams:
                client.call(stream, ECHO)
                client.send_data(stream, make_message(b"a" * 1_000)[:-1])
        # 100 of them, where 8 places are.
        channel = stack.enter_context(running.channel())
        others = [channel.unary_unary(path("Echo")).future(b"%d" % number, timeout=30) for number in range(50)]
        assert [call.result() for call in others] == [b"%d" % number for number in range(50)]
        # All but the four that may be slow are cut off, each with a status that says so, and never as cancelled.
        until(lambda: running.server.calls_in_flight == 4)
        codes: Counter[Any] = Counter()
        for client in endless:
            for stream in streams:
                with contextlib.suppress(TimeoutError):
                    codes[client.read_reply(stream, 0.5).code] += 1
        assert codes == {CODE.RESOURCE_EXHAUSTED: 96}


def test_slow_messages_arrive_where_nobody_waits() -> None:
    with running_with(Bounds(messages=8, slow_messages=4)) as running, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Http2Client(running.port)) for _ in range(4)]
        message = make_message(b"slowly")
        for client in slow:
            client.call(1, ECHO)
        for byte in message[:-1]:
            for client in slow:
                client.send_data(1, bytes([byte]))
            threading.Event().wait(0.06)
        for client in slow:
            client.send_data(1, message[-1:], ended=True)
        assert [client.read_reply(1).data for client in slow] == [message] * 4


def test_those_who_leave_while_they_wait_take_no_place() -> None:
    with running_with(Bounds(messages=1, slow_messages=1)) as running, Http2Client(running.port) as client:
        client.call(1, ECHO)
        until(lambda: running.server.calls_in_flight == 1)
        for stream in range(3, 203, 2):
            client.call(stream, ECHO)
            client.reset(stream)
        client.call(1001, ECHO)
        client.send_data(1001, make_message(b"hello"), ended=True)
        assert client.read_reply(1001).data == make_message(b"hello")
        assert client.read_reply(1).code == CODE.RESOURCE_EXHAUSTED
        until(lambda: running.server.calls_in_flight == 0)


@counted("out_of_time", 1)
def test_a_handler_that_takes_too_long_is_out_of_time() -> None:
    with running_with(Bounds(answer_seconds=0.3)) as running, running.channel() as channel:
        call = channel.unary_unary(path("Hang")).future(b"", timeout=30)
        assert (call.code(), call.details()) == (CODE.DEADLINE_EXCEEDED, "the server has no more time for this call")
        until(lambda: running.server.calls_in_flight == 0)


def test_streams_may_last() -> None:
    bounds = Bounds(message_seconds=0.1, answer_seconds=0.1, farewell_seconds=0.1)
    with running_with(bounds) as running, running.channel() as channel:
        responses = channel.unary_stream(path("HangOn"))(b"", timeout=30)
        assert next(responses) == b"begun"
        request = threading.Event()

        def requests() -> Iterator[bytes]:
            request.wait(30)
            yield b""

        upload = channel.stream_unary(path("Upload")).future(requests(), timeout=30)
        until(lambda: running.server.calls_in_flight == 2)
        threading.Event().wait(0.6)
        assert running.server.calls_in_flight == 2
        request.set()
        responses.cancel()
        upload.cancel()


@counted("late_request", 200)
def test_each_cut_off_call_is_told_why() -> None:
    with running_with(Bounds(message_seconds=0.05)) as running, Http2Client(running.port) as client:
        streams = range(1, 401, 2)
        for stream in streams:
            client.call(stream, ECHO)
            client.send_data(stream, b"\0\0")
        replies = Counter((reply.code, reply.details) for reply in map(client.read_reply, streams))
        assert replies == {(CODE.DEADLINE_EXCEEDED, "the request did not arrive in time"): len(streams)}


@on_both
def test_a_connection_that_says_nothing_is_closed(transport: str) -> None:
    with (
        running_transport(transport, METHODS) as running,
        socket.create_connection(("127.0.0.1", running.port)) as silent,
    ):
        silent.settimeout(30)
        while silent.recv(1000):  # The server's settings.
            pass


@on_both
def test_a_connection_that_does_not_acknowledge_the_settings_is_closed(transport: str) -> None:
    with running_transport(transport, METHODS) as running, Http2Client(running.port, acknowledges=False) as client:
        client.wait_until_closed(30)


def test_the_event_loop_is_not_held_by_many_events() -> None:
    """Count how many calls are accepted within one turn of the event loop while 1,000 come at once."""
    turns: Counter[int] = Counter()
    turn = 0

    class Handlers(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> Any:
            turns[turn] += 1
            return unary(echo)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    with running_transport(CORE, {}, Handlers()) as running, Http2Client(running.port) as client:

        async def begin() -> "asyncio.Task[None]":
            return asyncio.create_task(count_turns())

        counting = running.run(begin())
        for stream in range(1, 2_001, 2):
            client.call(stream, ECHO, ended=True)
        until(lambda: sum(turns.values()) == 1_000)
        assert len(turns) >= 1_000 / 33
        assert max(turns.values()) <= 33

        async def end() -> None:
            counting.cancel()

        running.run(end())


@pytest.mark.parametrize("connections", [2_000])
def test_thousands_of_connections_are_served(connections: int) -> None:
    with running_transport(CORE, METHODS) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Http2Client(running.port)) for _ in range(connections)]
        for client in clients:
            client.call(1, ECHO)
            client.send_data(1, make_message(b"hello"), ended=True)
        assert all(client.read_reply(1, 50).data == make_message(b"hello") for client in clients)
        until(lambda: running.server.calls_in_flight == 0)
