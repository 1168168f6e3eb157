"""More load than a server accepts: the excess is refused at once, and told when to retry."""

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections import Counter
from typing import Any

import grpc
import grpc.aio
import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from data_analytics.v1.lead_analytics_service_pb2_grpc import LeadAnalyticsServiceStub
from server.app import LIMITS, create_server
from server.settings import Settings
from tests.support import requests
from tests.support.database import blocked_backends, locked_table
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.refusals import refused
from tests.support.until import until

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def test_calls_over_the_limit_are_refused_at_once_and_health_is_not(
    server: RunningServer, customer: str, database_url: str
) -> None:
    more = 200

    async def flood() -> Counter[str]:
        # Several connections, because one carries no more calls than the limit.
        channels = [
            grpc.aio.insecure_channel(
                f"127.0.0.1:{server.application.port}", options=[("grpc.use_local_subchannel_pool", 1)]
            )
            for _ in range(3)
        ]
        stubs = [LeadAnalyticsServiceStub(channel) for channel in channels]
        outcomes: Counter[str] = Counter()

        async def one(number: int) -> None:
            call: Any = stubs[number % 3].CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=30)
            code, trailers = await call.code(), await call.trailing_metadata()
            is_refusal = code == EXHAUSTED and ("retry-after", "1") in [tuple(item) for item in trailers]
            outcomes["refused" if is_refusal else code.name] += 1

        with locked_table(database_url):
            calls = {asyncio.create_task(one(number)) for number in range(LIMITS.writes // 2 + more)}
            async with asyncio.timeout(10):
                while sum(outcomes.values()) < more:
                    _, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            assert outcomes == {"refused": more}
            assert await asyncio.to_thread(server.client.is_serving)
        await asyncio.gather(*calls)
        for channel in channels:
            await channel.close()
        return outcomes

    assert asyncio.run(flood()) == {"OK": LIMITS.writes // 2, "refused": more}
    found = server.client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=5)
    assert found.meta.row_count == LIMITS.writes // 2


def test_a_call_that_cannot_make_its_deadline_is_refused_at_once(
    client: Client, customer: str, database_url: str
) -> None:
    with locked_table(database_url):
        first = client.leads.CreateLeadAnalyticsEvent.future(requests.lead_event(customer), timeout=20)
        until(lambda: blocked_backends(database_url))
        time.sleep(1.0)
        start = time.monotonic()
        with refused(EXHAUSTED) as refusal:
            client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=0.7)
        assert refusal.retry_seconds == 1
        assert time.monotonic() - start < 0.5
        patient = client.leads.CreateLeadAnalyticsEvent.future(requests.lead_event(customer), timeout=20)
    first.result()
    patient.result()


def test_unread_pages_are_limited_until_their_callers_are_gone(database_url: str, customer: str) -> None:
    search = requests.lead_search(customer, page_size=40)
    message = search.SerializeToString()
    path = b"/data_analytics.v1.LeadAnalyticsService/SearchLeadAnalyticsEvents"
    limits = LIMITS._replace(unread_page_bytes=20 << 20)  # Seven pages of 2.6 MB each.
    with running_server(database_url, limits) as server, contextlib.ExitStack() as stack:
        port = server.application.port
        client = Client(stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")))
        events = [requests.analytics_event(customer, message="m" * 65_000)] * 40
        client.events.BatchCreateAnalyticsEvents(BatchCreateAnalyticsEventsRequest(events=events), timeout=10)
        callers = []

        def is_refused() -> bool:
            """Return whether one page more is refused. If it is not, add another that nobody reads."""
            if client.leads.SearchLeadAnalyticsEvents.future(search, timeout=10).code() == EXHAUSTED:
                return True
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            caller.sendall(make_http2_request(path, struct.pack(">BI", 0, len(message)) + message))
            callers.append(caller)
            return False

        until(is_refused, 20)
        time.sleep(0.5)  # By then the last caller's page is counted too, or refused.
        until(is_refused, 20)
        with refused(EXHAUSTED) as refusal:
            while True:  # A caller whose page was refused, too, may have made room meanwhile.
                client.leads.SearchLeadAnalyticsEvents(search, timeout=10)
                is_refused()
        assert refusal.retry_seconds == 1
        for caller in callers:
            caller.close()
        until(lambda: client.leads.SearchLeadAnalyticsEvents.future(search, timeout=10).code() == grpc.StatusCode.OK, 5)


def make_http2_request(path: bytes, body: bytes) -> bytes:
    """Return the bytes of a gRPC call, for a client that then reads nothing."""

    def make_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"test"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in headers)
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + make_frame(4, 0, 0, b"")
        + make_frame(1, 4, 1, block)
        + make_frame(0, 1, 1, body)
    )


def test_reflection_can_be_switched_off(database_url: str) -> None:
    async def services() -> set[str]:
        settings = Settings(database_url, "127.0.0.1", 0, logging.INFO, reflection=False)
        application = await create_server(settings)
        await application.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
                call: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call.read()
                return {caught.value.code().name}
        finally:
            await application.stop(1)

    assert asyncio.run(services()) == {"UNIMPLEMENTED"}
