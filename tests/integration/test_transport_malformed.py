"""Callers that send less than a call, or what is none: each gets a status, and nobody else is the worse for it."""

import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from server.transport import CORE
from server.transport.calls import Bounds
from tests.support.http2 import INITIAL_WINDOW_SIZE, Http2Client, make_message
from tests.support.transport import (
    RunningTransport,
    client_stream,
    count,
    echo,
    echo_each,
    path,
    running_transport,
    server_stream,
    two_streams,
    unary,
)
from tests.support.until import until

CODE = grpc.StatusCode
ECHO = path("Echo").encode()


async def repeat(request: bytes, _: Any) -> Any:
    """Yield the request twice."""
    for _number in range(2):
        yield request


async def abort_unsendably(request: bytes, context: Any) -> bytes:
    """End the call with metadata that HTTP/2 does not have."""
    await context.abort(CODE.ABORTED, "", ((request.decode(), "x"),))
    raise AssertionError("abort() returned")


async def abort_in_no_utf8(_: bytes, context: Any) -> bytes:
    """End the call with details that cannot be encoded."""
    await context.abort(CODE.ABORTED, "\udcff")
    raise AssertionError("abort() returned")


async def greet_unsendably(request: bytes, context: Any) -> bytes:
    """Send metadata that HTTP/2 does not have."""
    await context.send_initial_metadata(((request.decode(), "x"),))
    return b""


async def respond_with_text(_: bytes, __: Any) -> Any:
    """Return what is no bytes."""
    return "text"


async def respond_with_nothing(_: bytes, __: Any) -> Any:
    """Return nothing."""


def respond_at_once(request: bytes, _: Any) -> bytes:
    """Return the request, but not from a coroutine."""
    return request


async def yield_text(_: bytes, __: Any) -> Any:
    """Yield what is no bytes."""
    yield "text"


class Handlers(grpc.GenericRpcHandler):
    """A look-up that fails."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == "/test.Broken/Echo":
            raise ValueError("looked up in vain")
        return None


METHODS = {
    "Echo": unary(echo),
    "Count": client_stream(count),
    "Repeat": server_stream(repeat),
    "EchoEach": two_streams(echo_each),
    "Number": unary(echo, request_deserializer=int),
    "Numbers": two_streams(echo_each, request_deserializer=int),
    "AbortUnsendably": unary(abort_unsendably),
    "AbortInNoUtf8": unary(abort_in_no_utf8),
    "GreetUnsendably": unary(greet_unsendably),
    "RespondWithText": unary(respond_with_text),
    "RespondWithNothing": unary(respond_with_nothing),
    "RespondAtOnce": unary(respond_at_once),
    "YieldText": server_stream(yield_text),
}
BOUNDS = Bounds(message_seconds=0.3, answer_seconds=0.5, farewell_seconds=0.3)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTransport]:
    with running_transport(CORE, METHODS, Handlers(), bounds=BOUNDS) as started:
        yield started


@pytest.fixture(autouse=True)
def still_serves(running: RunningTransport) -> Iterator[None]:
    """Whatever a test sends, the server answers the next caller and keeps no call."""
    yield
    with running.channel() as channel:
        assert channel.unary_unary(path("Echo"))(b"hello", timeout=20) == b"hello"
    until(lambda: running.server.calls_in_flight == 0)


@pytest.fixture
def client(running: RunningTransport) -> Iterator[Http2Client]:
    with Http2Client(running.port) as connected:
        yield connected


@pytest.mark.parametrize("method", [b"/test.Test/\xff\xfe", b"/\xff", b"/", b"/" + b"a" * 8000, b"no slash"])
def test_a_path_that_is_none_is_refused(client: Http2Client, method: bytes) -> None:
    client.call(1, method, ended=True)
    assert client.read_reply(1).code in (CODE.UNIMPLEMENTED, CODE.INTERNAL, None)


def test_a_path_that_is_not_utf8_leaves_the_connection_alone(client: Http2Client) -> None:
    for stream in range(1, 201, 2):
        client.call(stream, b"/test.Test/\xff\xfe", ended=True)
    assert {client.read_reply(stream).code for stream in range(1, 201, 2)} == {CODE.UNIMPLEMENTED}
    client.call(201, ECHO)
    client.send_data(201, make_message(b"hello"), ended=True)
    assert client.read_reply(201).data == make_message(b"hello")


@pytest.mark.parametrize("method", ["Echo", "Repeat"])
def test_headers_without_a_message_are_a_status(client: Http2Client, method: str) -> None:
    client.call(1, path(method).encode(), ended=True)
    assert client.read_reply(1).code == CODE.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["Echo", "Repeat"])
def test_an_end_without_a_message_is_a_status(client: Http2Client, method: str) -> None:
    client.call(1, path(method).encode())
    client.send_data(1, b"", ended=True)
    assert client.read_reply(1).code == CODE.UNIMPLEMENTED


PARTS = [b"\0", b"\0\0\0\0", b"\0\0\0\0\5", b"\0\0\0\0\5abc"]


@pytest.mark.parametrize("sent", PARTS)
@pytest.mark.parametrize("method", ["Echo", "Repeat"])
def test_a_message_that_ends_too_early_is_a_status(client: Http2Client, method: str, sent: bytes) -> None:
    client.call(1, path(method).encode())
    client.send_data(1, sent, ended=True)
    assert client.read_reply(1).code == CODE.UNIMPLEMENTED


@pytest.mark.parametrize("sent", PARTS)
def test_a_stream_has_only_its_whole_messages(client: Http2Client, sent: bytes) -> None:
    client.call(1, path("EchoEach").encode())
    client.send_data(1, make_message(b"whole") + sent, ended=True)
    assert client.read_reply(1).data == make_message(b"whole")


@pytest.mark.parametrize("method", ["Echo", "Repeat", "Count", "EchoEach"])
def test_a_message_that_says_it_is_too_large_is_refused_at_once(client: Http2Client, method: str) -> None:
    client.call(1, path(method).encode())
    client.send_data(1, b"\0\xff\xff\xff\xffabc")
    assert client.read_reply(1).code == CODE.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("sent", [None, b"", b"\0", b"\0\0\0\0\5", b"\0\0\0\0\5abc", b"\0\0\x10\0\0" + b"a" * 10_000])
@pytest.mark.parametrize("method", ["Echo", "Repeat"])
def test_a_message_that_never_ends_is_out_of_time(client: Http2Client, sent: bytes | None, method: str) -> None:
    client.call(1, path(method).encode())
    if sent is not None:
        client.send_data(1, sent)
    assert client.read_reply(1).code == CODE.DEADLINE_EXCEEDED


def test_a_second_message_of_a_unary_call_is_passed_over(client: Http2Client) -> None:
    client.call(1, ECHO)
    client.send_data(1, make_message(b"first") + make_message(b"second"), ended=True)
    assert client.read_reply(1).data == make_message(b"first")


def test_a_stream_may_end_without_a_message(client: Http2Client) -> None:
    client.call(1, path("Count").encode(), ended=True)
    assert client.read_reply(1).data == make_message(b"0")


@pytest.mark.parametrize("method", ["Number", "Numbers"])
def test_a_request_that_does_not_parse_is_a_status(
    client: Http2Client, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    client.call(1, path(method).encode())
    client.send_data(1, make_message(b"no number"), ended=True)
    assert client.read_reply(1).code == CODE.INTERNAL
    assert not caplog.records


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("AbortUnsendably", b"no key"),
        ("AbortUnsendably", b":status"),
        ("AbortUnsendably", b"x-bin"),
        ("AbortInNoUtf8", b""),
        ("GreetUnsendably", b"no key"),
        ("GreetUnsendably", b"x-bin"),
        ("RespondWithText", b""),
        ("RespondWithNothing", b""),
        ("RespondAtOnce", b""),
        ("YieldText", b""),
    ],
)
def test_what_a_handler_cannot_send_is_a_status(
    running: RunningTransport, caplog: pytest.LogCaptureFixture, method: str, request_: bytes
) -> None:
    with caplog.at_level(logging.ERROR), running.channel() as channel:
        call = channel.unary_stream(path(method))(request_, timeout=20)
        with pytest.raises(grpc.RpcError):
            next(call)
        assert call.code() in (CODE.INTERNAL, CODE.UNKNOWN)
    # C-core itself ends a call for a key that is illegal.
    assert len(caplog.records) == (0 if request_ in (b"no key", b":status") else 1)


def test_a_look_up_that_raises_is_a_status(running: RunningTransport, caplog: pytest.LogCaptureFixture) -> None:
    with running.channel() as channel:
        call: Any = channel.unary_unary("/test.Broken/Echo")
        assert call.future(b"", timeout=20).code() == CODE.UNKNOWN
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [ValueError]


def test_a_caller_that_does_not_take_its_response_is_let_go(running: RunningTransport) -> None:
    with Http2Client(running.port, {INITIAL_WINDOW_SIZE: 0}) as client:
        client.call(1, ECHO)
        client.send_data(1, make_message(b"hello"), ended=True)
        until(lambda: running.server.calls_in_flight == 1)
        until(lambda: running.server.calls_in_flight == 0)
        assert client.read_reply(1).data == b""


def test_a_caller_that_takes_only_the_beginning_is_let_go(running: RunningTransport) -> None:
    with Http2Client(running.port, {INITIAL_WINDOW_SIZE: 3}) as client:
        client.call(1, path("Repeat").encode())
        client.send_data(1, make_message(b"hello"), ended=True)
        until(lambda: running.server.calls_in_flight == 1)
        client.reset(1)
        until(lambda: running.server.calls_in_flight == 0)


def test_garbage_in_place_of_http2_ends_its_connection_alone(running: RunningTransport) -> None:
    with Http2Client(running.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 100)
        client.wait_until_closed()


def test_a_message_in_many_small_pieces_is_put_together(client: Http2Client) -> None:
    sent = make_message(b"hello" * 10)
    client.call(1, ECHO)
    for byte in sent:
        client.send_data(1, bytes([byte]))
    client.send_data(1, b"", ended=True)
    assert client.read_reply(1).data == sent
