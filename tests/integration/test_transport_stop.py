"""How a server stops: what is in flight ends, nothing new begins, and no caller can keep it from stopping."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import grpc
import pytest

from server.transport import CORE
from server.transport.make import make_server
from tests.support.http2 import INITIAL_WINDOW_SIZE, Http2Client, make_message
from tests.support.processes import ROOT, refuses_connections
from tests.support.transport import (
    SIZES,
    client_stream,
    echo,
    event_loop_thread,
    on_both,
    path,
    running_transport,
    server_stream,
    unary,
)
from tests.support.until import until

CODE = grpc.StatusCode
ENOUGH = 1_000.0
"""More seconds of grace than any test may take."""


class Work:
    """Handlers that wait for a sign."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = 0
        self.done = 0
        self.cancelled = 0

    async def wait(self, request: bytes, _: Any) -> bytes:
        """Return the request once there is the sign."""
        self.begun += 1
        try:
            while not self.go_on.is_set():  # noqa: ASYNC110 - another thread gives it
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.done += 1
        return request

    async def wait_each(self, request: bytes, context: Any) -> Any:
        """Yield twice, and the second time once there is the sign."""
        yield request
        yield await self.wait(request, context)

    async def resist(self, request: bytes, context: Any) -> bytes:
        """Go on when cancelled."""
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                return await self.wait(request, context)

    async def join(self, requests: Any, context: Any) -> bytes:
        """Read what there is, and return it."""
        self.begun += 1
        return b"".join([request async for request in requests])

    @property
    def methods(self) -> dict[str, Any]:
        return {
            "Echo": unary(echo),
            "Wait": unary(self.wait),
            "WaitEach": server_stream(self.wait_each),
            "Resist": unary(self.resist),
            "Join": client_stream(self.join),
        }


@on_both
def test_calls_in_flight_are_finished_and_no_others_begin(transport: str) -> None:
    work = Work()
    with running_transport(transport, work.methods) as running, running.channel() as channel:
        waiting = [channel.unary_unary(path("Wait")).future(b"%d" % number, timeout=50) for number in range(20)]
        stream = channel.unary_stream(path("WaitEach"))(b"s", timeout=50)
        assert next(stream) == b"s"
        until(lambda: work.begun == 21)
        stopping = threading.Thread(target=running.stop, args=(ENOUGH,))
        stopping.start()
        until(lambda: refuses_connections(running.port))
        with running.channel() as another:
            refused = another.unary_unary(path("Echo")).future(b"", timeout=20)
            assert refused.code() == CODE.UNAVAILABLE
        work.go_on.set()
        assert [call.result() for call in waiting] == [b"%d" % number for number in range(20)]
        assert list(stream) == [b"s"]
        stopping.join()
        assert work.cancelled == 0


@on_both
def test_a_stop_without_calls_is_done_at_once(transport: str) -> None:
    with running_transport(transport, {"Echo": unary(echo)}) as running, running.channel() as channel:
        assert channel.unary_unary(path("Echo"))(b"hello", timeout=20) == b"hello"
        running.stop(ENOUGH)


def test_idle_clients_that_ignore_goaway_do_not_hold_up_a_stop() -> None:
    with running_transport(CORE, {"Echo": unary(echo)}) as running, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(Http2Client(running.port)) for _ in range(10)]
        start = time.monotonic()
        running.stop(ENOUGH)
        assert time.monotonic() - start < 10  # It takes 0.3 s, and 20 s where C-core waits for an answer to its ping.
        for client in idle:
            client.wait_until_closed()
            assert client.goaways


def test_calls_that_outlast_the_grace_are_unavailable() -> None:
    work = Work()
    with running_transport(CORE, work.methods) as running, running.channel() as channel:
        calls = [channel.unary_unary(path("Wait")).future(b"", timeout=50) for _ in range(10)]
        upload = channel.stream_unary(path("Join")).future(iter(work.go_on.wait, True), timeout=50)
        until(lambda: work.begun == 11)
        running.stop(0.1)
        assert {(call.code(), call.details()) for call in [*calls, upload]} == {
            (CODE.UNAVAILABLE, "the server is stopping")
        }
        assert (work.done, work.cancelled) == (0, 10)
        work.go_on.set()


@on_both
def test_without_grace_calls_are_cut_off(transport: str) -> None:
    work = Work()
    with running_transport(transport, work.methods) as running, running.channel() as channel:
        call = channel.unary_unary(path("Wait")).future(b"", timeout=50)
        until(lambda: work.begun)
        running.stop(None)
        assert call.code() in (CODE.UNAVAILABLE, CODE.CANCELLED)
        until(lambda: work.cancelled)


def test_callers_that_read_nothing_do_not_hold_up_a_stop() -> None:
    with running_transport(CORE, {"Echo": unary(echo)}) as running:
        with Http2Client(running.port, {INITIAL_WINDOW_SIZE: 0}) as client:
            for stream in range(1, 21, 2):
                client.call(stream, path("Echo").encode())
                client.send_data(stream, make_message(b"hello"), ended=True)
            for stream in range(21, 41, 2):
                client.call(stream, path("Echo").encode())
                client.send_data(stream, b"\0\0")
            until(lambda: running.server.calls_in_flight == 20)
            running.stop(0.2)
        assert running.server.calls_in_flight == 0


def test_handlers_that_resist_are_left_behind_with_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    with running_transport(CORE, work.methods) as running, running.channel() as channel:
        call = channel.unary_unary(path("Resist")).future(b"", timeout=50)
        until(lambda: work.begun)
        running.stop(0.1)
        assert call.code() == CODE.UNAVAILABLE
        assert [record.message for record in caplog.records] == ["handlers go on although their calls were cancelled"]
        # What it sends in the end goes nowhere.
        work.go_on.set()
        until(lambda: work.done)


def test_a_second_stop_does_nothing() -> None:
    with running_transport(CORE, {"Echo": unary(echo)}) as running:
        running.stop(1)
        running.stop(1)


def test_a_server_that_was_never_started_lets_go_of_its_port() -> None:
    async def bind() -> tuple[Any, int]:
        server = make_server(CORE, SIZES)
        return server, server.add_insecure_port("127.0.0.1:0")

    with event_loop_thread() as loop:
        server, port = asyncio.run_coroutine_threadsafe(bind(), loop).result(20)
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(20)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


@pytest.mark.parametrize("end", ["", "await server.stop(1)"])
def test_a_process_ends_whether_it_stops_its_server_or_not(end: str) -> None:
    """The event loop is closed first, and then the interpreter ends, with a connection open."""
    program = f"""
import asyncio, socket
import server
from server.transport.make import make_server
from tests.support.transport import SIZES

async def main():
    server = make_server("core", SIZES)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection = socket.create_connection(("127.0.0.1", port))
    await asyncio.sleep(0.3)
    {end or "pass"}
    return connection

connection = asyncio.run(main())
print("ended")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=40, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


@on_both
@pytest.mark.parametrize("attempt", range(5))
def test_no_call_that_was_answered_is_lost_at_a_stop(transport: str, attempt: int) -> None:
    """Stop a server under load. Whatever its handler has answered has reached its caller."""
    answered: set[bytes] = set()

    async def answer(request: bytes, _: Any) -> bytes:
        await asyncio.sleep(0.002)
        answered.add(request)
        return request

    outcomes: Counter[grpc.StatusCode] = Counter()
    heard: set[bytes] = set()
    stopped = threading.Event()

    def load(channel: Any, name: int) -> None:
        method = channel.unary_unary(path("Answer"))
        for number in range(100_000):
            request = b"%d/%d" % (name, number)
            call = method.future(request, timeout=20)
            outcomes[call.code()] += 1
            if call.code() == CODE.OK:
                heard.add(request)
            elif stopped.is_set():
                return

    with running_transport(transport, {"Answer": unary(answer)}) as running, contextlib.ExitStack() as stack:
        channels = [stack.enter_context(running.channel()) for _ in range(4)]
        threads = [threading.Thread(target=load, args=(channels[name % 4], name)) for name in range(16)]
        for thread in threads:
            thread.start()
        until(lambda: len(answered) > 200 + 100 * attempt)
        running.stop(ENOUGH)
        stopped.set()
        for thread in threads:
            thread.join()
    assert heard == answered
    assert outcomes[CODE.OK] == len(heard)
    assert set(outcomes) <= {CODE.OK, CODE.UNAVAILABLE, CODE.CANCELLED}
