"""Many calls, and nothing that stays of them: no call, no object, no descriptor, no memory."""

import asyncio
import contextlib
import gc
import os
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from server.transport import CORE
from server.transport.context import CallContext
from tests.support.transport import (
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

CALLS = int(os.environ.get("TRANSPORT_CALLS", "20000"))
"""How many calls the long test makes."""

CODE = grpc.StatusCode


async def repeat(request: bytes, context: Any) -> Any:
    """Yield the request twice."""
    context.add_done_callback(lambda _: None)
    for _number in range(2):
        yield request


async def hang(_: bytes, __: Any) -> bytes:
    """Wait for what never comes."""
    await asyncio.Event().wait()
    return b""


async def fail(request: bytes, _: Any) -> bytes:
    """Raise an exception whose traceback and frame hold each other."""
    error = ValueError(request)
    raise error


async def abort(_: bytes, context: Any) -> bytes:
    """End the call with a status."""
    await context.abort(CODE.ABORTED, "no")
    raise AssertionError("abort() returned")


METHODS = {
    "Echo": unary(echo),
    "Count": client_stream(count),
    "Repeat": server_stream(repeat),
    "EchoEach": two_streams(echo_each),
    "Hang": unary(hang),
    "Fail": unary(fail),
    "Abort": unary(abort),
}


class Load:
    """Callers of all kinds of calls."""

    def __init__(self, channel: Any) -> None:
        self._unary = {name: channel.unary_unary(path(name)) for name in ("Echo", "Hang", "Fail", "Abort", "Nothing")}
        self._count = channel.stream_unary(path("Count"))
        self._repeat = channel.unary_stream(path("Repeat"))
        self._echo_each = channel.stream_stream(path("EchoEach"))
        self.outcomes: Counter[Any] = Counter()

    async def call(self, number: int) -> None:
        """Make one call: of twenty, eleven are plain, and each of the others ends in another way."""
        kind = number % 20
        if kind < 11:
            self.outcomes[await self._unary["Echo"](b"hello")] += 1
        elif kind < 15:
            name = ("Fail", "Abort", "Nothing", "Hang")[kind - 11]
            call = self._unary[name](b"hello", timeout=0.05 if name == "Hang" else None)
            self.outcomes[await call.code()] += 1
        elif kind == 15:
            call = self._unary["Hang"](b"hello", timeout=20)
            await asyncio.sleep(0.001)
            call.cancel()
        elif kind == 16:
            self.outcomes[await self._count(iter([b"1", b"2"]))] += 1
        elif kind == 17:
            self.outcomes[tuple([response async for response in self._repeat(b"r")])] += 1
        elif kind == 18:
            responses = self._repeat(b"r")
            await responses.read()
            responses.cancel()
        else:
            stream = self._echo_each()
            await stream.write(b"s")
            self.outcomes[await stream.read()] += 1
            await stream.done_writing()
            await stream.read()

    async def run(self, calls: int, callers: int = 32) -> None:
        """Make so many calls, by callers of which each waits for its answer."""
        numbers = iter(range(calls))

        async def caller() -> None:
            for number in numbers:
                with contextlib.suppress(asyncio.CancelledError):
                    await self.call(number)

        await asyncio.gather(*[caller() for _ in range(callers)])


def load(port: int, calls: int) -> "Counter[Any]":
    """Make so many calls and return what came of those that are not cancelled."""

    async def main() -> "Counter[Any]":
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            callers = Load(channel)
            await callers.run(calls)
            return callers.outcomes

    return asyncio.run(main())


def resident() -> int:
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.timeout(300)
def test_nothing_stays_of_many_calls(caplog: Any) -> None:
    caplog.set_level("CRITICAL")
    with running_transport(CORE, METHODS) as running:
        load(running.port, 5_000)
        until(lambda: running.server.calls_in_flight == 0)
        gc.collect()
        before = len(gc.get_objects()), resident(), count_descriptors()
        outcomes = load(running.port, CALLS)
        until(lambda: running.server.calls_in_flight == 0)
        gc.collect()
        after = len(gc.get_objects()), resident(), count_descriptors()
    print(f"{CALLS} calls; objects, bytes and descriptors before {before} and after {after}")
    twentieth = CALLS // 20
    assert outcomes == {
        b"hello": 11 * twentieth,
        CODE.UNKNOWN: twentieth,
        CODE.ABORTED: twentieth,
        CODE.UNIMPLEMENTED: twentieth,
        CODE.DEADLINE_EXCEEDED: twentieth,
        b"2": twentieth,
        (b"r", b"r"): twentieth,
        b"s": twentieth,
    }
    # An object for each call would be 100,000.
    assert after[0] - before[0] < 1_000
    assert after[1] - before[1] < 20 << 20
    assert after[2] - before[2] < 5


def test_calls_are_freed_without_the_garbage_collector(caplog: Any) -> None:
    """No call is part of a cycle: a request's memory is free as soon as its call has ended."""
    caplog.set_level("CRITICAL")
    with running_transport(CORE, METHODS) as running:
        load(running.port, 500)
        gc.collect()
        gc.disable()
        try:
            load(running.port, 2_000)
            # The last of them may still be on the stack of a task that ends.
            until(lambda: not any(isinstance(each, CallContext) for each in gc.get_objects()))
            # Nor is a message that came or went.
            until(lambda: not any(type(each).__name__ == "BatchOperationEvent" for each in gc.get_objects()))
        finally:
            gc.enable()


def test_no_line_of_the_transport_holds_memory(caplog: Any) -> None:
    caplog.set_level("CRITICAL")
    with running_transport(CORE, METHODS) as running:
        load(running.port, 2_000)
        only = tracemalloc.Filter(inclusive=True, filename_pattern="*/server/transport/*")
        tracemalloc.start()
        try:
            load(running.port, 4_000)
            until(lambda: running.server.calls_in_flight == 0)
            gc.collect()
            held = tracemalloc.take_snapshot().filter_traces([only]).statistics("lineno")
        finally:
            tracemalloc.stop()
    assert sum(each.size for each in held) < 100_000, held
