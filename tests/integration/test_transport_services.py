"""Health and reflection, on both transports."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from server.transport import TRANSPORTS, health
from server.transport.make import make_server
from server.transport.reflection import SERVICE_NAMES, add_reflection
from tests.support.http2 import INITIAL_WINDOW_SIZE, Http2Client, make_message
from tests.support.transport import SIZES, event_loop_thread

CODE = grpc.StatusCode
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Running:
    """A server with health and reflection alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: str) -> None:
        self._loop = loop
        self._transport = transport

    async def start(self) -> None:
        self.health = health.Health()
        self._server = make_server(self._transport, SIZES)
        add_HealthServicer_to_server(self.health, self._server)
        add_reflection(self._server, ["grpc.health.v1.Health"])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(1_000)

    def call(self, function: Any, *arguments: Any) -> None:
        """Call a function on the event loop."""

        async def work() -> None:
            function(*arguments)

        asyncio.run_coroutine_threadsafe(work(), self._loop).result(20)


@pytest.fixture(params=TRANSPORTS)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    with event_loop_thread() as loop:
        started = Running(loop, request.param)
        asyncio.run_coroutine_threadsafe(started.start(), loop).result(20)
        yield started
        started.call(started.health.close)
        asyncio.run_coroutine_threadsafe(started.stop(), loop).result(40)


@pytest.fixture
def channel(running: Running) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{running.port}", [("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened


def test_a_check_tells_the_status_of_a_service(running: Running, channel: Any) -> None:
    stub = HealthStub(channel)
    running.call(running.health.set, "a", SERVING)
    assert stub.Check(HealthCheckRequest(service="a"), timeout=20).status == SERVING
    running.call(running.health.set, "a", NOT_SERVING)
    assert stub.Check(HealthCheckRequest(service="a"), timeout=20).status == NOT_SERVING
    assert stub.Check.future(HealthCheckRequest(service="b"), timeout=20).code() == CODE.NOT_FOUND


def test_a_list_tells_all_of_them(running: Running, channel: Any) -> None:
    running.call(running.health.set, "", SERVING)
    running.call(running.health.set, "a", NOT_SERVING)
    listed = HealthStub(channel).List(HealthListRequest(), timeout=20)
    assert {name: status.status for name, status in listed.statuses.items()} == {"": SERVING, "a": NOT_SERVING}


def test_a_watch_tells_each_change(running: Running, channel: Any) -> None:
    watch = HealthStub(channel).Watch(HealthCheckRequest(service="a"), timeout=30)
    assert next(watch).status == HealthCheckResponse.SERVICE_UNKNOWN
    for status in (SERVING, NOT_SERVING, SERVING):
        running.call(running.health.set, "a", status)
        assert next(watch).status == status
    running.call(running.health.set, "a", SERVING)
    running.call(running.health.set, "b", NOT_SERVING)
    running.call(running.health.drain)
    assert next(watch).status == NOT_SERVING
    # It stays so.
    running.call(running.health.set, "a", SERVING)
    running.call(running.health.close)
    with pytest.raises(grpc.RpcError):
        next(watch)
    assert watch.code() == CODE.UNAVAILABLE


def test_watchers_that_read_nothing_hold_up_nobody(running: Running, channel: Any) -> None:
    running.call(running.health.set, "", SERVING)
    with Http2Client(running.port, {INITIAL_WINDOW_SIZE: 0}) as client:
        for stream in range(1, 41, 2):
            client.call(stream, b"/grpc.health.v1.Health/Watch")
            client.send_data(stream, make_message(b""), ended=True)
        watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=30)
        assert next(watch).status == SERVING
        running.call(running.health.set, "", NOT_SERVING)
        assert next(watch).status == NOT_SERVING
        watch.cancel()


def test_watches_have_a_limit(running: Running, channel: Any) -> None:
    running.call(running.health.set, "", SERVING)
    with Http2Client(running.port) as client:
        for stream in range(1, 1_101, 2):
            client.call(stream, b"/grpc.health.v1.Health/Watch")
            client.send_data(stream, make_message(b""), ended=True)
        while len(client.ended) < 50:
            client.read(20)
        assert {client.read_reply(stream).code for stream in client.ended} == {CODE.RESOURCE_EXHAUSTED}
        assert HealthStub(channel).Watch(HealthCheckRequest(), timeout=20).code() == CODE.RESOURCE_EXHAUSTED
        assert HealthStub(channel).Check(HealthCheckRequest(), timeout=20).status == SERVING


def ask(channel: Any, service: str, **question: Any) -> ServerReflectionResponse:
    method = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    (response,) = method(iter([ServerReflectionRequest(**question)]), timeout=20)
    return response


@pytest.mark.parametrize("service", SERVICE_NAMES)
def test_reflection_answers_under_both_of_its_names(channel: Any, service: str) -> None:
    listed = ask(channel, service, list_services="")
    names = {each.name for each in listed.list_services_response.service}
    assert names == {"grpc.health.v1.Health", *SERVICE_NAMES}
    for name in names:
        described = ask(channel, service, file_containing_symbol=name)
        assert described.file_descriptor_response.file_descriptor_proto
    unknown = ask(channel, service, file_containing_symbol="test.Nothing")
    assert unknown.error_response.error_code == CODE.NOT_FOUND.value[0]


def test_clients_of_reflection_that_ask_nothing_make_room(running: Running, channel: Any) -> None:
    path = f"/{SERVICE_NAMES[0]}/ServerReflectionInfo".encode()
    with Http2Client(running.port) as client:
        for stream in range(1, 41, 2):
            client.call(stream, path)
        replies = [client.read_reply(stream) for stream in range(1, 25, 2)]
        assert {reply.code for reply in replies} == {CODE.DEADLINE_EXCEEDED}
        assert ask(channel, SERVICE_NAMES[0], list_services="")


@pytest.mark.parametrize("service", SERVICE_NAMES)
def test_grpcurl_describes_reflection_itself(running: Running, service: str) -> None:
    program = str(Path(sys.executable).parent / "grpcurl")
    arguments = ["-plaintext", f"localhost:{running.port}", "describe", service]
    described = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20, check=False)
    assert "rpc ServerReflectionInfo" in described.stdout
