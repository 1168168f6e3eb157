"""Calls that are admitted or refused by their metadata, on both transports."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

import grpc
import pytest

from server.transport import CORE
from server.transport.calls import Bounds
from server.transport.interface import Metadata, Refusal, Verdict
from tests.support.transport import (
    client_stream,
    count,
    echo,
    echo_each,
    on_both,
    path,
    running_transport,
    two_streams,
    unary,
)
from tests.support.until import until

REFUSAL = Refusal(grpc.StatusCode.PERMISSION_DENIED, "not you", (("why", "a reason"),))
IN_A_RESPONSE = Refusal(grpc.StatusCode.OK, "", initial_metadata=(("x-status", "403"),), message=b"not you")
METHODS = {"Echo": unary(echo), "Count": client_stream(count), "Each": two_streams(echo_each)}


def find(metadata: Metadata) -> str:
    return next((str(value) for name, value in metadata if name == "is"), "")


def admit(_: str, metadata: Metadata) -> Verdict | Coroutine[Any, Any, Verdict]:
    """Decide as the caller asks for."""
    asked = find(metadata)
    if asked.startswith("later "):
        return decide_later(asked.removeprefix("later "))
    return decide(asked)


def decide(asked: str) -> Verdict:
    if asked == "broken":
        raise ValueError("a bug")
    return {"bad": REFUSAL, "bad in a response": IN_A_RESPONSE}.get(asked)


async def decide_later(asked: str) -> Verdict:
    await asyncio.sleep(0.01)
    return decide(asked)


@pytest.fixture(params=["", "later "])
def when(request: Any) -> str:
    """Return what makes the decision come at once, or later."""
    return str(request.param)


@on_both
def test_an_admitted_call_is_answered(transport: str, when: str) -> None:
    with running_transport(transport, METHODS, admit=admit) as running, running.channel() as channel:
        metadata = (("is", f"{when}good"),)
        assert channel.unary_unary(path("Echo"))(b"a", timeout=5, metadata=metadata) == b"a"
        assert channel.stream_unary(path("Count"))(iter([b"a", b"b"]), timeout=5, metadata=metadata) == b"2"
        assert list(channel.stream_stream(path("Each"))(iter([b"a"]), timeout=5, metadata=metadata)) == [b"a"]


@on_both
@pytest.mark.parametrize("method", METHODS)
def test_a_refused_call_gets_its_status_before_it_sends_anything(transport: str, when: str, method: str) -> None:
    def silence() -> Iterator[bytes]:
        running.run(asyncio.sleep(20))
        yield b""

    with running_transport(transport, METHODS, admit=admit) as running, running.channel() as channel:
        call = channel.stream_stream(path(method))(silence(), timeout=10, metadata=(("is", f"{when}bad"),))
        assert (call.code(), call.details()) == (REFUSAL.code, REFUSAL.details)
        assert ("why", "a reason") in [(item.key, item.value) for item in call.trailing_metadata()]


@on_both
def test_a_refusal_may_be_a_response(transport: str, when: str) -> None:
    with running_transport(transport, METHODS, admit=admit) as running, running.channel() as channel:
        call = channel.unary_unary(path("Echo"))
        answer, ended = call.with_call(b"a", timeout=5, metadata=(("is", f"{when}bad in a response"),))
        assert answer == b"not you"
        assert ("x-status", "403") in [(item.key, item.value) for item in ended.initial_metadata()]


@on_both
def test_a_call_is_not_answered_if_the_decision_fails(
    transport: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="grpc._cython.cygrpc")
    with running_transport(transport, METHODS, admit=admit) as running, running.channel() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path("Echo"))(b"a", timeout=5, metadata=(("is", f"{when}broken"),))
        assert caught.value.code() == grpc.StatusCode.UNKNOWN
        assert caught.value.details() == "unexpected error"


def test_an_unknown_method_is_decided_about_by_nobody() -> None:
    asked: list[str] = []

    def note(method: str, _: Metadata) -> Verdict:
        asked.append(method)
        return REFUSAL

    with running_transport(CORE, METHODS, admit=note) as running, running.channel() as channel:
        for method, code in (("Nothing", grpc.StatusCode.UNIMPLEMENTED), ("Echo", REFUSAL.code)):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path(method))(b"a", timeout=5)
            assert caught.value.code() == code
    assert asked == [path("Echo")]


async def wait_for_ever() -> Verdict:
    await asyncio.Event().wait()
    return None


def test_only_so_many_calls_wait_for_their_decision() -> None:
    with (
        running_transport(CORE, METHODS, bounds=Bounds(calls=5), admit=lambda *_: wait_for_ever()) as running,
        running.channel() as channel,
    ):
        waiting = [channel.unary_unary(path("Echo")).future(b"a", timeout=30) for _ in range(5)]
        until(lambda: running.server.calls_in_flight == 5)
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path("Echo"))(b"a", timeout=5)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        running.stop()
        assert {call.code() for call in waiting} == {grpc.StatusCode.UNAVAILABLE}


def test_a_caller_that_goes_while_it_is_decided_about_leaves_nothing() -> None:
    with running_transport(CORE, METHODS, admit=lambda *_: decide_later("")) as running:
        for _ in range(20):
            with running.channel() as channel:
                channel.unary_unary(path("Echo")).future(b"a", timeout=5)
        until(lambda: running.server.calls_in_flight == 0)
