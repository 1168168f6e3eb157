"""The composition root: settings → writer and searches → servicers → a gRPC server."""

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
from server.ingest.group_commit import Writer
from server.rpc.handlers import MAX_MESSAGE_BYTES, add_services
from server.rpc.limits import MAX_CALLS, UnreadPages
from server.rpc.services import AnalyticsEvents, ContactAnalytics, LeadAnalytics
from server.settings import ConfigurationError, Settings, check_listenable, in_url
from storage import Availability, Searches
from storage.schema import pending

log = logging.getLogger(__name__)

# How long a commit in flight may still take once no caller waits for it any more.
_DISCONNECT_SECONDS = 2.0

# The largest answer is a page of 16 MiB as JSON, and no message is larger than its JSON.
MAX_ANSWER_BYTES = 17 << 20

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
    # A client with more calls than that at once, on one connection, holds them back itself.
    ("grpc.max_concurrent_streams", MAX_CALLS),
    # How many may wait to be looked at, in any number of connections: about a second of them. In a flood the library
    # ends the others, for next to nothing, as CANCELLED; it has no other word. Envoy, in front, says 429.
    ("grpc.server.max_pending_requests", 2 * MAX_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", 4 * MAX_CALLS),
    # A peer that vanished without a word is noticed in about 40 s, and its calls are ended.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A client may ask every 10 s whether we are there, with or without a call; one that asks more often is sent away.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    # A connection that nobody has used for long is given up; the client makes another when it needs one.
    ("grpc.max_connection_idle_ms", 30 * 60_000),
    # Otherwise a second server could bind the same port, and take half of the calls, without a word.
    ("grpc.so_reuseport", 0),
]


def new_grpc_server() -> grpc.aio.Server:
    """A gRPC server with our bounds, for the running event loop, that serves nothing yet."""
    return grpc.aio.server(options=_OPTIONS)


class Application:
    """A running server, made by `create_server`. Belongs to the event loop that made it."""

    def __init__(self, settings: Settings) -> None:
        """Puts the parts together and binds the port, but answers nobody yet.

        Raises:
            ConfigurationError: the port cannot be bound.
        """
        self._availability = Availability(settings.database_url)
        self._availability.on_change(self._on_availability)
        self._writer = Writer(settings.database_url, self._availability)
        self._searches = Searches(settings.database_url, self._availability)
        self._health = aio.HealthServicer()
        self._server = new_grpc_server()
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

        self._unread = UnreadPages()
        services = {
            ANALYTICS_EVENT_SERVICE.services_by_name["AnalyticsEventService"]: AnalyticsEvents(self._writer),
            LEAD_ANALYTICS_SERVICE.services_by_name["LeadAnalyticsService"]: LeadAnalytics(
                self._writer, self._searches, self._unread
            ),
            CONTACT_ANALYTICS_SERVICE.services_by_name["ContactAnalyticsService"]: ContactAnalytics(
                self._writer, self._searches, self._unread
            ),
        }
        add_services(self._server, services)
        self._health_names = [OVERALL_HEALTH, *(service.full_name for service in services)]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            reflection.enable_server_reflection(
                [*self._health_names[1:], SERVICE_NAME, reflection.SERVICE_NAME], self._server
            )
        if settings.grpc_port:
            # The library would only say that it failed, and log it in a form of its own.
            check_listenable("GRPC_PORT", settings.bind_address, settings.grpc_port)
        host = in_url(settings.bind_address)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError:
            raise ConfigurationError(f"GRPC_PORT={settings.grpc_port} cannot be listened on at {host}") from None

    async def start(self) -> None:
        """Begins to answer."""
        self._watching = asyncio.create_task(self._availability.watch())
        await self._set_health(HealthCheckResponse.SERVING)
        await self._server.start()
        log.info("started", extra={"port": self.port})

    async def stop(self, grace: float, notice: float = 0.0) -> None:
        """Stops in order: says so to health checks, takes no new calls, lets those in flight finish, and disconnects.

        Args:
            grace: seconds until calls in flight are cut off.
            notice: seconds between the first two, for a load balancer to hear of it and to turn elsewhere.
        """
        log.info("stopping", extra={"grace_seconds": grace})
        self._stopping = True
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(notice)
        await self._server.stop(grace)
        if self._watching is not None:
            self._watching.cancel()
        await self._searches.close()
        try:
            async with asyncio.timeout(_DISCONNECT_SECONDS):
                await self._writer.close()
        except TimeoutError:
            log.error("the database did not let go in time; nothing that was acknowledged is lost")
        log.info("stopped")

    def _on_availability(self, up: bool) -> None:
        if not self._stopping:
            status = HealthCheckResponse.SERVING if up else HealthCheckResponse.NOT_SERVING
            self._health_change = asyncio.create_task(self._set_health(status))

    async def _set_health(self, status: HealthCheckResponse.ServingStatus) -> None:
        for name in self._health_names:
            await self._health.set(name, status)


async def create_server(settings: Settings) -> Application:
    """A server on `settings`, bound to `Application.port` but not started.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        ConfigurationError: its schema is not up to date, or the port cannot be bound.
    """
    if missing := await asyncio.to_thread(pending, settings.database_url):
        raise ConfigurationError(
            f"DATABASE_URL: the schema lacks {', '.join(missing)}: run `python -m storage.migrate` first"
        )
    return Application(settings)
