"""The composition root: settings → store → group commit → services → a gRPC server."""

import asyncio
import logging

import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH, SERVICE_NAME, aio
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_reflection.v1alpha import reflection

from data_analytics.v1.analytics_event_service_pb2 import DESCRIPTOR as ANALYTICS_EVENT_SERVICE
from data_analytics.v1.contact_analytics_service_pb2 import DESCRIPTOR as CONTACT_ANALYTICS_SERVICE
from data_analytics.v1.lead_analytics_service_pb2 import DESCRIPTOR as LEAD_ANALYTICS_SERVICE
from server.ingest.group_commit import GroupCommit
from server.ingest.stream import ChunkBudget
from server.rpc.handlers import MAX_MESSAGE_BYTES, add_services
from server.rpc.limits import Limits, UnreadPageLimiter
from server.rpc.services import AnalyticsEvents, ContactAnalytics, LeadAnalytics
from server.settings import ConfigurationError, Settings, check_listenable, format_host
from storage import EventStore
from storage.schema import find_pending

log = logging.getLogger(__name__)

# How long a stop waits for commits that no caller waits for any more.
_DISCONNECT_SECONDS = 2.0

LIMITS = Limits()

# The largest response is a page of 16 MiB as JSON, and no message is larger than its JSON.
MAX_RESPONSE_BYTES = 17 << 20

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    # Per connection. A client with more calls holds the others back itself.
    ("grpc.max_concurrent_streams", LIMITS.calls),
    # How many calls, over all connections, may wait for the event loop to accept them: about one second's worth. In a
    # flood gRPC ends the others cheaply, and always as CANCELLED. Behind Envoy they are 429.
    ("grpc.server.max_pending_requests", 2 * LIMITS.calls),
    ("grpc.server.max_pending_requests_hard_limit", 4 * LIMITS.calls),
    # A peer that vanished is noticed within about 40 s, and its calls are ended.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A client may ping every 10 s, with or without a call. One that pings more often is disconnected.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    # An idle connection is closed. The client opens another when it needs one.
    ("grpc.max_connection_idle_ms", 30 * 60_000),
    # Otherwise a second server could bind the same port and silently take half of the calls.
    ("grpc.so_reuseport", 0),
]


def make_grpc_server() -> grpc.aio.Server:
    """Return a gRPC server with these options, for the running event loop, that serves nothing yet."""
    return grpc.aio.server(options=_OPTIONS)


class Application:
    """A running server, as `create_server` makes it. Belongs to one event loop."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        """Put the parts together and bind the port. Calls are answered from `start` on.

        Raises:
            ConfigurationError: the port cannot be bound.
        """
        self._store = EventStore(settings.database_url)
        self.commits = GroupCommit(self._store)
        self._health = aio.HealthServicer()
        self._server = make_grpc_server()
        self._reporting: asyncio.Task[None] | None = None

        pages = UnreadPageLimiter(limits.unread_page_bytes)
        services = {
            ANALYTICS_EVENT_SERVICE.services_by_name["AnalyticsEventService"]: AnalyticsEvents(
                self.commits, ChunkBudget(limits.chunk_bytes)
            ),
            LEAD_ANALYTICS_SERVICE.services_by_name["LeadAnalyticsService"]: LeadAnalytics(
                self.commits, self._store, pages
            ),
            CONTACT_ANALYTICS_SERVICE.services_by_name["ContactAnalyticsService"]: ContactAnalytics(
                self.commits, self._store, pages
            ),
        }
        add_services(self._server, services, limits)
        self._health_names = [OVERALL_HEALTH, *(service.full_name for service in services)]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            reflection.enable_server_reflection(
                [*self._health_names[1:], SERVICE_NAME, reflection.SERVICE_NAME], self._server
            )
        if settings.grpc_port:
            # gRPC itself would only say that binding failed, and log that in a form of its own.
            check_listenable("GRPC_PORT", settings.bind_address, settings.grpc_port)
        host = format_host(settings.bind_address)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError:
            raise ConfigurationError(f"GRPC_PORT={settings.grpc_port} cannot be listened on at {host}") from None

    async def start(self) -> None:
        """Begin to answer calls."""
        await self._store.start()
        await self._set_health(HealthCheckResponse.SERVING)
        self._reporting = asyncio.create_task(self._report_health())
        await self._server.start()
        log.info("started", extra={"port": self.port})

    async def stop(self, grace: float, notice: float = 0.0) -> None:
        """Stop in order: report it to health checks, accept no new calls, finish those in flight, and disconnect.

        Args:
            grace: seconds until calls in flight are cut off.
            notice: seconds between the first two steps, in which a load balancer can turn to other servers.
        """
        log.info("stopping", extra={"grace_seconds": grace})
        if self._reporting is not None:
            self._reporting.cancel()
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(notice)
        await self._server.stop(grace)
        try:
            async with asyncio.timeout(_DISCONNECT_SECONDS):
                await self.commits.close()
                await self._store.close()
        except TimeoutError:
            log.error("the database did not finish in time; no acknowledged event is lost")
        log.info("stopped")

    async def _report_health(self) -> None:
        """Report whether the database is available as the health of all services."""
        availability = self._store.availability
        while True:
            await availability.wait_until(up=False)
            await self._set_health(HealthCheckResponse.NOT_SERVING)
            await availability.wait_until(up=True)
            await self._set_health(HealthCheckResponse.SERVING)

    async def _set_health(self, status: HealthCheckResponse.ServingStatus) -> None:
        for name in self._health_names:
            await self._health.set(name, status)


async def create_server(settings: Settings, limits: Limits = LIMITS) -> Application:
    """Return a server that is bound to `Application.port` but not started.

    Args:
        settings: the configuration.
        limits: the limits on what is in flight. Only tests need others.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        ConfigurationError: its schema is not up to date, or the port cannot be bound.
    """
    if missing := await asyncio.to_thread(find_pending, settings.database_url):
        raise ConfigurationError(
            f"DATABASE_URL: the schema lacks {', '.join(missing)}: run `python -m storage.migrate` first"
        )
    return Application(settings, limits)
