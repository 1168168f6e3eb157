"""The transport in a server process: its setting, and its silence about what callers do."""

import json
import subprocess
import sys
from typing import Any

import grpc
import pytest

from server.transport import TRANSPORTS
from tests.support.http2 import Http2Client, make_message
from tests.support.processes import ROOT, free_port, run_module, started_module
from tests.support.until import until


def test_an_unknown_transport_is_named_in_one_line() -> None:
    ended = run_module("server", DATABASE_URL="postgresql:///x", GRPC_TRANSPORT="tcp")
    assert ended.returncode == 2
    assert ended.stderr == "GRPC_TRANSPORT is 'tcp': it must be core or aio\n"
    assert "GRPC_TRANSPORT" in run_module("server.stack", GRPC_TRANSPORT="tcp").stderr


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_malformed_calls_leave_no_error_in_the_log(database_url: str, transport: str) -> None:
    port = free_port()
    variables = {"DATABASE_URL": database_url, "GRPC_PORT": str(port), "GRPC_TRANSPORT": transport}
    with started_module("server", **variables) as process:
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["event"] == "started"
        paths = [b"/data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent", b"/grpc.health.v1.Health/Check"]
        for path in paths:
            with Http2Client(port) as client:
                client.call(1, path, (b"grpc-encoding", b"gzip"))
                client.call(3, path, (b"x-text", b"\xff"))
                client.call(5, path, (b"grpc-timeout", b"soon"))
                client.call(7, path)
                for stream, data in [(1, b"\1\0\0\0\1a"), (3, make_message(b"\xff")), (5, b""), (7, b"\1\0\0\0\1a")]:
                    client.send_data(stream, data, ended=True)
                for stream in (1, 3, 7):
                    assert client.read_reply(stream).code not in (None, grpc.StatusCode.OK)
        with Http2Client(port) as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n" * 100)
            client.wait_until_closed()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            method: Any = channel.unary_unary(paths[0].decode())
            until(lambda: method.future(b"", timeout=20).code() == grpc.StatusCode.INVALID_ARGUMENT)
        process.terminate()
        _, stderr = process.communicate(timeout=20)
    events = [json.loads(line)["event"] for line in stderr.splitlines()]
    assert [event for event in events if event != "refused"] == ["stopping", "stopped"]


def test_a_signal_handler_that_raises_does_not_deafen_the_server() -> None:
    """Raise again and again while the event loop polls the queue, which loses an event each time."""
    program = """
import asyncio, linecache, logging, signal
import server
import grpc.aio
from server.transport.make import make_server
from tests.support.transport import SIZES, echo, path, SERVICE, unary

logging.disable(logging.CRITICAL)
raised = 0

def interrupt(_, frame):
    global raised
    if linecache.getline(frame.f_code.co_filename, frame.f_lineno or 0).strip() == "event = poll(0)":
        raised += 1
        raise RuntimeError

async def main():
    running = make_server("core", SIZES)
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Echo": unary(echo)}),))
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(path("Echo"))
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while raised < 400:
            await asyncio.gather(*[method(b"hello", timeout=0.1) for _ in range(50)], return_exceptions=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for _ in range(100):
            assert await method(b"hello", timeout=10) == b"hello"
    await running.stop(1)
    print("ended")

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=55, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr
