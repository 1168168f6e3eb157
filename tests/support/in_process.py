"""A server in the test's own process, on an event loop in a thread."""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from data_analytics.v1.analytics_event_service_pb2_grpc import AnalyticsEventServiceStub
from data_analytics.v1.contact_analytics_service_pb2_grpc import ContactAnalyticsServiceStub
from data_analytics.v1.lead_analytics_service_pb2_grpc import LeadAnalyticsServiceStub
from server.app import LIMITS, Application, create_server
from server.event_loop import make_event_loop
from server.rpc.limits import Limits
from server.settings import Settings
from server.transport import CORE
from tests.support.database import as_server

T = TypeVar("T")

TRANSPORT = os.environ.get("GRPC_TRANSPORT") or CORE
"""The transport of the tests' servers, unless a test chooses: `GRPC_TRANSPORT=aio pytest` tests the other one."""


class Client:
    """The stubs of all services on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.events = AnalyticsEventServiceStub(channel)
        self.leads = LeadAnalyticsServiceStub(channel)
        self.contacts = ContactAnalyticsServiceStub(channel)
        self.health = HealthStub(channel)

    def is_serving(self) -> bool:
        """Return whether the server's health check says that it serves."""
        answer = self.health.Check(HealthCheckRequest(), timeout=5)
        return bool(answer.status == HealthCheckResponse.SERVING)


@contextlib.contextmanager
def connected(port: int) -> Iterator[Client]:
    """Yield a client of a port of this machine."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel)


class RunningServer:
    """A started server, its event loop, and a client for it."""

    def __init__(self, application: Application, loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self.application = application
        self.client = client
        self.loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@contextlib.contextmanager
def running_server(
    database_url: str, limits: Limits = LIMITS, transport: str = TRANSPORT, **more: Any
) -> Iterator[RunningServer]:
    """Run a server on a free port until the block ends, in the role that may store events and read them.

    Args:
        database_url: the database.
        limits: the limits on what is in flight.
        transport: what carries the calls.
        more: other settings. Unless they say something else, callers need no credentials.
    """
    # What most tests have is the URL of the owner.
    url = as_server(database_url) if "://postgres@" in database_url else database_url
    loop = make_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()

    async def start() -> Application:
        settings = Settings(url, "127.0.0.1", 0, logging.INFO, transport=transport, **{"auth": False, **more})
        application = await create_server(settings, limits)
        await application.start()
        return application

    try:
        application = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{application.port}") as channel:
                yield RunningServer(application, loop, Client(channel))
        finally:
            asyncio.run_coroutine_threadsafe(application.stop(2), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
