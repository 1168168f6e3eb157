"""What both transports do alike: calls of each kind, metadata, statuses, deadlines, limits on sizes."""

import asyncio
import contextvars
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from server.transport import AIO, CORE, TRANSPORTS
from tests.support.http2 import Http2Client, make_message
from tests.support.transport import (
    SIZES,
    RunningTransport,
    client_stream,
    echo,
    on_both,
    path,
    running_transport,
    server_stream,
    two_streams,
    unary,
)
from tests.support.until import until

CODE = grpc.StatusCode


async def count(requests: AsyncIterator[bytes], _: Any) -> bytes:
    """Return how many bytes came in how many messages."""
    sizes = [len(request) async for request in requests]
    return f"{sum(sizes)} in {len(sizes)}".encode()


async def repeat(request: bytes, _: Any) -> AsyncIterator[bytes]:
    """Yield the request as often as it says."""
    for _number in range(int(request)):
        yield request


async def echo_each(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    """Yield each request."""
    async for request in requests:
        yield request


async def fail(request: bytes, _: Any) -> bytes:
    """Raise an exception that tells what it was sent."""
    raise ValueError(request.decode())


async def fail_midway(request: bytes, _: Any) -> AsyncIterator[bytes]:
    """Yield one response and raise."""
    yield request
    raise ValueError(request.decode())


async def abort(_: bytes, context: Any) -> bytes:
    """End the call with a status and metadata."""
    await context.abort(CODE.ABORTED, "wörds", (("why", "because"), ("why-bin", b"\0\xff")))
    raise AssertionError("abort() returned")


async def greet(request: bytes, context: Any) -> bytes:
    """Send metadata ahead of the response."""
    await context.send_initial_metadata((("greeting", "hello"),))
    return request


async def tell_metadata(_: bytes, context: Any) -> bytes:
    """Return the metadata of the call whose names begin with x-."""
    return repr([tuple(pair) for pair in context.invocation_metadata() if pair[0].startswith("x-")]).encode()


async def tell_time(_: bytes, context: Any) -> bytes:
    """Return how much time there is."""
    return repr(context.time_remaining()).encode()


async def sleep(request: bytes, _: Any) -> bytes:
    """Return after so many seconds."""
    await asyncio.sleep(float(request))
    return request


async def set_status(_: bytes, context: Any) -> bytes:
    """Return after having set a status that is none of success."""
    context.set_code(CODE.NOT_FOUND)
    context.set_details("not here")
    return b"ignored"


METHODS = {
    "Echo": unary(echo),
    "Count": client_stream(count),
    "Repeat": server_stream(repeat),
    "EchoEach": two_streams(echo_each),
    "Fail": unary(fail),
    "FailMidway": server_stream(fail_midway),
    "Abort": unary(abort),
    "Greet": unary(greet),
    "TellMetadata": unary(tell_metadata),
    "TellTime": unary(tell_time),
    "Sleep": unary(sleep),
    "SetStatus": unary(set_status),
    "NoBytes": unary(echo, response_serializer=lambda _: "text"),
}


@pytest.fixture(scope="module", params=TRANSPORTS)
def running(request: pytest.FixtureRequest) -> Iterator[RunningTransport]:
    with running_transport(request.param, METHODS) as started:
        yield started


@pytest.fixture
def channel(running: RunningTransport) -> Iterator[Any]:
    with running.channel() as opened:
        yield opened


def call(channel: Any, method: str, request: bytes = b"", **arguments: Any) -> Any:
    """Return a unary call once it has ended, whichever way."""
    started = channel.unary_unary(path(method)).future(request, timeout=arguments.pop("timeout", 20), **arguments)
    started.exception()
    return started


def test_a_unary_call_is_answered(channel: Any) -> None:
    assert call(channel, "Echo", b"hello").result() == b"hello"
    assert call(channel, "Echo", b"").result() == b""


def test_requests_stream_in(channel: Any) -> None:
    requests = iter([b"a" * size for size in (0, 1, 70_000, 1_000_000)])
    assert channel.stream_unary(path("Count"))(requests, timeout=20) == b"1070001 in 4"
    assert channel.stream_unary(path("Count"))(iter([]), timeout=20) == b"0 in 0"


def test_responses_stream_out(channel: Any) -> None:
    assert list(channel.unary_stream(path("Repeat"))(b"500", timeout=20)) == [b"500"] * 500
    assert list(channel.unary_stream(path("Repeat"))(b"0", timeout=20)) == []


def test_a_stream_goes_both_ways_in_turn(channel: Any) -> None:
    sent: list[bytes] = []

    def requests() -> Iterator[bytes]:
        for number in range(100):
            sent.append(b"%d" % number)
            yield sent[-1]

    responses = channel.stream_stream(path("EchoEach"))(requests(), timeout=20)
    assert list(responses) == sent


def test_large_messages_pass_up_to_the_limit(running: RunningTransport) -> None:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with running.channel(*options) as channel:
        most = b"m" * SIZES.max_request_bytes
        assert call(channel, "Echo", most).result() == most
        for _ in range(5):
            refused = call(channel, "Echo", most + b"m")
            assert refused.code() == CODE.RESOURCE_EXHAUSTED
        assert call(channel, "Echo", b"after").result() == b"after"


def test_a_method_that_nobody_has_is_unimplemented(channel: Any) -> None:
    assert call(channel, "Nothing").code() == CODE.UNIMPLEMENTED
    other: Any = channel.unary_unary("/test.Other/Echo")
    assert other.future(b"", timeout=20).code() == CODE.UNIMPLEMENTED


def test_a_handler_that_raises_is_logged_once(channel: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        failed = call(channel, "Fail", b"secret")
        assert failed.code() == CODE.UNKNOWN
        until(lambda: caplog.records)
        assert call(channel, "Echo", b"after").result() == b"after"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_a_stream_that_raises_keeps_what_it_has_sent(channel: Any, caplog: pytest.LogCaptureFixture) -> None:
    responses = channel.unary_stream(path("FailMidway"))(b"sent", timeout=20)
    assert next(responses) == b"sent"
    with pytest.raises(grpc.RpcError):
        next(responses)
    assert responses.code() == CODE.UNKNOWN
    until(lambda: caplog.records)
    assert len(caplog.records) == 1


def test_a_response_that_is_no_bytes_is_a_status(channel: Any) -> None:
    assert call(channel, "NoBytes").code() == CODE.UNKNOWN


def test_an_abort_carries_its_details_and_metadata(channel: Any) -> None:
    aborted = call(channel, "Abort")
    assert (aborted.code(), aborted.details()) == (CODE.ABORTED, "wörds")
    assert {"why": "because", "why-bin": b"\0\xff"}.items() <= dict(aborted.trailing_metadata()).items()


def test_a_status_that_is_set_replaces_the_response(channel: Any) -> None:
    failed = call(channel, "SetStatus")
    assert (failed.code(), failed.details()) == (CODE.NOT_FOUND, "not here")


def test_metadata_come_ahead_of_the_response(channel: Any) -> None:
    greeted = call(channel, "Greet", b"hello")
    assert ("greeting", "hello") in [tuple(pair) for pair in greeted.initial_metadata()]
    assert greeted.result() == b"hello"


def test_a_handler_sees_the_metadata_of_its_call(channel: Any) -> None:
    sent = [("x-text", "a"), ("x-text", "b"), ("x-bin", b"\0\xff")]
    assert eval(call(channel, "TellMetadata", metadata=sent).result()) == sent


def test_a_handler_sees_how_much_time_there_is(channel: Any) -> None:
    assert 90 < float(call(channel, "TellTime", timeout=100).result()) < 102  # It is sent rounded up.
    assert call(channel, "TellTime", timeout=None).result() == b"None"


def test_a_deadline_ends_a_call_that_nobody_cancels(running: RunningTransport) -> None:
    with Http2Client(running.port) as client:
        client.call(1, path("Sleep").encode(), (b"grpc-timeout", b"300m"))
        client.send_data(1, make_message(b"30"), ended=True)
        assert client.read_reply(1).code == CODE.DEADLINE_EXCEEDED
        # Its connection goes on.
        client.call(3, path("Echo").encode())
        client.send_data(3, make_message(b"after"), ended=True)
        assert client.read_reply(3).data == make_message(b"after")


def test_a_deadline_that_is_over_on_arrival_is_exceeded(running: RunningTransport) -> None:
    with Http2Client(running.port) as client:
        client.call(1, path("Sleep").encode(), (b"grpc-timeout", b"1n"))
        client.send_data(1, make_message(b"30"), ended=True)
        assert client.read_reply(1).code == CODE.DEADLINE_EXCEEDED


def test_a_compressed_request_is_refused_before_it_is_unpacked(running: RunningTransport) -> None:
    for algorithm in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        with running.channel(compression=algorithm) as channel:
            refused = call(channel, "Echo", b"0" * 1_000_000)
        assert refused.code() == CODE.UNIMPLEMENTED
        assert "Compression algorithm" in refused.details()
    with Http2Client(running.port) as client:
        client.call(1, path("Echo").encode())
        client.send_data(1, b"\1" + make_message(b"not what it says")[1:], ended=True)
        assert client.read_reply(1).code == CODE.INTERNAL


def test_metadata_have_one_limit_and_none_by_chance(running: RunningTransport) -> None:
    with running.channel() as channel:

        def codes(size: int, times: int) -> set[grpc.StatusCode]:
            return {call(channel, "Echo", metadata=[("x-a", "m" * size)]).code() for _ in range(times)}

        assert codes(9_000, 40) == codes(12_000, 40) == codes(15_500, 40) == {CODE.OK}
        assert codes(16_500, 4) == {CODE.RESOURCE_EXHAUSTED}


def test_a_port_in_use_is_an_error(running: RunningTransport) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        address = f"127.0.0.1:{busy.getsockname()[1]}"

        async def bind() -> None:
            running.server.add_insecure_port(address)

        with pytest.raises(RuntimeError):
            running.run(bind())


@on_both
def test_no_call_sees_the_context_variables_of_another(transport: str) -> None:
    variable = contextvars.ContextVar("variable", default="nobody")

    class Handlers(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            names = [value for name, value in details.invocation_metadata if name == "x-name"]
            if names:
                variable.set(str(names[0]))
            return unary(tell)

    async def tell(_: bytes, __: Any) -> bytes:
        return variable.get().encode()

    with running_transport(transport, {}, Handlers()) as running, running.channel() as channel:
        method = channel.unary_unary(path("Tell"))
        calls = [
            (method.future(b"", timeout=20, metadata=[("x-name", name)] if name else None), name or "nobody")
            for name in itertools.islice(itertools.cycle(["a", "", "", "b"]), 400)
        ]
        assert all(each.result() == name.encode() for each, name in calls)


def test_the_transports_are_the_ones_that_are_asked_for() -> None:
    with running_transport(CORE, METHODS) as core, running_transport(AIO, METHODS) as aio:
        assert not isinstance(core.server, grpc.aio.Server)
        assert isinstance(aio.server, grpc.aio.Server)
