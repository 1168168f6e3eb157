"""The composition root: settings → store → group commit → services → a gRPC server."""

import asyncio
import logging
from pathlib import Path
from typing import cast

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from data_analytics.v1.analytics_event_service_pb2 import DESCRIPTOR as ANALYTICS_EVENT_SERVICE
from data_analytics.v1.contact_analytics_service_pb2 import DESCRIPTOR as CONTACT_ANALYTICS_SERVICE
from data_analytics.v1.contact_analytics_service_pb2 import SearchContactAnalyticsEventsRequest
from data_analytics.v1.lead_analytics_service_pb2 import DESCRIPTOR as LEAD_ANALYTICS_SERVICE
from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsRequest
from server.access.switch import is_auth_on, watch_for_keys
from server.access.verifier import Verifier
from server.auth_settings import check_open_address, make_provider
from server.database_metrics import DatabaseMetrics
from server.ingest.group_commit import GroupCommit
from server.ingest.refusal_log import RefusalLog
from server.ingest.stream import ChunkBudget
from server.memory import release_memory
from server.messages.convert import ANALYTICS, CONTACT, LEAD
from server.messages.refusals import TooManyCalls
from server.messages.statuses import RETRY_AFTER_SECONDS, make_status
from server.metrics.endpoint import Endpoint
from server.metrics.loop_lag import watch_loop
from server.ports import bind, check
from server.rpc.admission import Admission
from server.rpc.call_log import CallLog
from server.rpc.erasures import Eraser, HttpErase, HttpGetErasure
from server.rpc.exports import Exporter, HttpExport
from server.rpc.handlers import MAX_MESSAGE_BYTES, add_services
from server.rpc.http_handlers import HttpMethod
from server.rpc.http_services import HttpBatch, HttpCreate, HttpSearch
from server.rpc.ignored_fields import IgnoredFields
from server.rpc.limits import Limits, UnreadPageLimiter
from server.rpc.lists import HttpGet, HttpList, Lister
from server.rpc.refusal_lists import HttpListRefusals, RefusalLister
from server.rpc.searcher import Searcher
from server.rpc.services import AnalyticsEvents, ContactAnalytics, LeadAnalytics
from server.rpc.summaries import HttpSummary, Summarizer
from server.rpc.watches import HttpWatch, Watcher
from server.schema_check import check_schema
from server.settings import Settings
from server.sharing.open_streams import OpenStreams
from server.sharing.places import Places
from server.sharing.turns import Turns
from server.tracing.make import make_tracer
from server.transport import CORE, health
from server.transport.interface import Admit, Server
from server.transport.make import make_server
from server.transport.options import MAX_CONNECTIONS, Sizes
from server.transport.reflection import add_reflection
from server.version import find_version
from server.worker_metrics import WorkerMetrics, bind_endpoint
from storage import CommitsWait, EventStore, Lane
from storage.key_finder import KeyFinder

log = logging.getLogger(__name__)

# How long a stop waits for commits that no caller waits for any more.
_DISCONNECT_SECONDS = 2.0

LIMITS = Limits()

# The largest response is a page of 16 MiB.
MAX_RESPONSE_BYTES = 17 << 20

MAX_METADATA_BYTES = 256 << 10
"""The limit on the metadata of a call, in which HTTP/2 counts 32 bytes more for each pair. For callers of JSON they are
the URL and the headers, of which Envoy accepts 192 KiB."""

_SIZES = Sizes(MAX_MESSAGE_BYTES, MAX_RESPONSE_BYTES, MAX_METADATA_BYTES, LIMITS.writes)

# For the calls that the transport refuses because there are too many even to be received.
_REFUSAL_METADATA = (
    ("grpc-status-details-bin", make_status(TooManyCalls(), HealthCheckRequest.DESCRIPTOR).SerializeToString()),
    ("retry-after", str(RETRY_AFTER_SECONDS)),
)

_EVENTS = ANALYTICS_EVENT_SERVICE.services_by_name["AnalyticsEventService"]
_LEADS = LEAD_ANALYTICS_SERVICE.services_by_name["LeadAnalyticsService"]
_CONTACTS = CONTACT_ANALYTICS_SERVICE.services_by_name["ContactAnalyticsService"]

SERVICES = [_EVENTS, _LEADS, _CONTACTS]
"""What a worker serves, health and reflection aside."""


def make_grpc_server(
    transport: str = CORE, max_connections: int = MAX_CONNECTIONS, admit: Admit | None = None
) -> Server:
    """Return a gRPC server within these limits, for the running event loop, that serves nothing yet."""
    sizes = _SIZES._replace(max_connections=max_connections)
    return make_server(
        transport,
        sizes,
        unbounded_services=[health.SERVICE_NAME],
        refusal_metadata=_REFUSAL_METADATA,
        admit=admit,
    )


class Application:
    """A running server, as `create_server` makes it. Belongs to one event loop."""

    def __init__(self, settings: Settings, limits: Limits, *, auth: bool) -> None:
        """Put the parts together and bind the ports. Calls are answered from `start` on.

        Args:
            settings: the configuration.
            limits: the limits on what is in flight.
            auth: whether callers need credentials from the start.

        Raises:
            ConfigurationError: one of the ports cannot be bound.
        """
        self._store = EventStore(settings.database_url, settings.retention_days, settings.read_database_url)
        self._tracer = make_tracer() if settings.tracing else None
        self.commits = GroupCommit(self._store, tracer=self._tracer)
        # So that a create does not wait for the commit of a batch that takes a hundred times as long.
        self._batch_commits = GroupCommit(self._store, Lane.BATCHES, self._tracer)
        self._refusal_log = RefusalLog(self._store.refusals)
        self._keys = KeyFinder(settings.database_url)
        self._verifier = Verifier(self._keys, make_provider(settings.provider))
        self._call_log = CallLog(settings.access_log)
        self._admission = Admission(
            SERVICES, self._verifier, self._call_log, is_on=auth, serves_reflection=settings.reflection is True
        )
        self._may_turn_on = settings.auth is None and not auth
        self._health = health.Health()
        self._server = make_grpc_server(settings.transport, settings.max_connections, self._admission)
        self._tasks: list[asyncio.Task[None]] = []

        self._searcher = Searcher(self._store)
        self._eraser = Eraser(self._store.erasures)
        pages = UnreadPageLimiter(limits.unread_page_bytes)
        self._lister = Lister(self._store, pages)
        self._exporter = Exporter(self._store, OpenStreams(limits.exports, limits.exports_each))
        self._refusal_lister = RefusalLister(self._store, pages)
        self._summarizer = Summarizer(self._store, pages)
        self._watcher = Watcher(self._store, OpenStreams(limits.watches, limits.watches_each))
        # One batch is unpacked and read at a time. The others wait as they were sent, which the call limiter counts.
        self._batch_turns = Turns(1, places_each=1)
        self._places = Places(limits.streams, limits.stream_idle_seconds)
        services = {
            _EVENTS: AnalyticsEvents(
                self.commits,
                self._batch_commits,
                self._batch_turns,
                self._places,
                ChunkBudget(limits.chunk_bytes),
                self._admission.renew,
                self._eraser,
                self._lister,
                self._exporter,
                self._refusal_log,
                self._refusal_lister,
                self._summarizer,
                self._watcher,
            ),
            _LEADS: LeadAnalytics(self.commits, self._searcher, pages, self._refusal_log),
            _CONTACTS: ContactAnalytics(self.commits, self._searcher, pages, self._refusal_log),
        }
        ignored = IgnoredFields(enabled=settings.ignore_unknown_fields)
        http_services = self._make_http_services(pages, ignored)
        # It is annotated with the stock server, of which it uses what both have.
        add_services(
            cast("grpc.aio.Server", self._server),
            services,
            http_services,
            {
                _EVENTS: {
                    "ExportAnalyticsEvents": HttpExport(self._exporter, ignored),
                    "WatchAnalyticsEvents": HttpWatch(self._watcher, ignored),
                }
            },
            limits,
            self._call_log,
            self._tracer,
            only_unix=settings.envoy_socket is not None,
        )
        names = [service.full_name for service in services]
        self._health_names = [health.OVERALL, *names]
        add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection is not False:
            add_reflection(self._server, [*names, health.SERVICE_NAME])
        self.port = bind(self._server, settings)
        self._is_started = False
        self._database_metrics = DatabaseMetrics(settings.database_url)
        self._endpoint = self._bind_endpoint(settings.envoy_socket) if settings.envoy_socket else None
        self._tls = settings.tls is not None

    async def start(self) -> None:
        """Begin to answer calls."""
        await self._store.start()
        if self._admission.is_on:
            await self._keys.connect()
        self._refusal_log.start()
        self._is_started = True
        self._tasks = [asyncio.create_task(each) for each in (self._report_health(), release_memory(), watch_loop())]
        if self._may_turn_on:
            self._tasks.append(asyncio.create_task(self._turn_on_with_first_key()))
        await self._server.start()
        if self._endpoint is not None:
            await self._endpoint.start()
        auth = "on" if self._admission.is_on else "off"
        log.info("started", extra={"version": find_version(), "port": self.port, "tls": self._tls, "auth": auth})

    async def stop(self, grace: float, notice: float = 0.0) -> None:
        """Stop in order: report it to health checks, end streams, accept no new calls, finish those in flight.

        Args:
            grace: seconds until calls in flight are cut off.
            notice: seconds between the first two steps, in which a load balancer can turn to other servers.
        """
        log.info("stopping", extra={"grace_seconds": grace})
        for task in self._tasks:
            task.cancel()
        self._is_started = False
        self._health.drain()
        await asyncio.sleep(notice)
        self._health.close()
        self._exporter.streams.stop()
        self._watcher.streams.stop()
        await self._server.stop(grace)
        self._call_log.close()
        self._database_metrics.close()
        if self._endpoint is not None:
            self._endpoint.close()
        try:
            async with asyncio.timeout(_DISCONNECT_SECONDS):
                await self.commits.close()
                await self._batch_commits.close()
                await self._refusal_log.close()
                await self._store.close()
                self._verifier.close()
                self._keys.close()
        except TimeoutError:
            log.error("the database did not finish in time; no acknowledged event is lost")
        if self._tracer is not None:
            await self._tracer.close()
        log.info("stopped")

    def _make_http_services(
        self, pages: UnreadPageLimiter, ignored: IgnoredFields
    ) -> dict[ServiceDescriptor, dict[str, HttpMethod]]:
        """Return the methods for JSON, by service and by the name of the RPC."""
        log = self._refusal_log
        leads = HttpSearch(self._searcher, SearchLeadAnalyticsEventsRequest, "lead", pages, ignored)
        contacts = HttpSearch(self._searcher, SearchContactAnalyticsEventsRequest, "contact", pages, ignored)
        return {
            _EVENTS: {
                "CreateAnalyticsEvent": HttpCreate(self.commits, ANALYTICS, ignored, log),
                "BatchCreateAnalyticsEvents": HttpBatch(self._batch_commits, self._batch_turns, ignored, log),
                "EraseAnalyticsEvents": HttpErase(self._eraser),
                "GetErasure": HttpGetErasure(self._eraser),
                "ListAnalyticsEvents": HttpList(self._lister, ignored),
                "GetAnalyticsEvent": HttpGet(self._lister, ignored),
                "ListRefusals": HttpListRefusals(self._refusal_lister, ignored),
                "SummarizeAnalyticsEvents": HttpSummary(self._summarizer, ignored),
            },
            _LEADS: {
                "CreateLeadAnalyticsEvent": HttpCreate(self.commits, LEAD, ignored, log),
                "SearchLeadAnalyticsEvents": leads,
            },
            _CONTACTS: {
                "CreateContactAnalyticsEvent": HttpCreate(self.commits, CONTACT, ignored, log),
                "SearchContactAnalyticsEvents": contacts,
            },
        }

    def _bind_endpoint(self, envoy_socket: Path) -> Endpoint:
        """Return what shows the metrics."""
        metrics = WorkerMetrics(envoy_socket)
        availability = self._store.availability
        metrics.add_state(
            lambda: not self._find_fault(), lambda: availability.up, lambda: availability.write_fault is CommitsWait
        )
        metrics.add_replica(self._store.reads.replica)
        metrics.add_commits("creates", self.commits)
        metrics.add_commits("batches", self._batch_commits)
        metrics.add_reads(
            {
                "search": self._searcher.turns,
                "list": self._lister.turns,
                "summary": self._summarizer.turns,
                "refusals": self._refusal_lister.turns,
                "export": self._exporter.turns,
                "watch": self._watcher.turns,
            }
        )
        metrics.add_streams(self._places, {"export": self._exporter.streams, "watch": self._watcher.streams})
        return bind_endpoint(envoy_socket, metrics, self._find_fault, self._database_metrics.render)

    async def _turn_on_with_first_key(self) -> None:
        """Require credentials as soon as there is a key."""
        await watch_for_keys(self._keys)
        self._admission.is_on = True
        log.info("there is a key: callers need credentials from now on")

    async def _report_health(self) -> None:
        """Report as health whether the database is available, and whether events can be committed.

        While commits wait for a standby, searches go on, and no other worker of the same database could do more. So the
        services serve, or a load balancer would take all workers away.
        """
        availability = self._store.availability
        while True:
            is_up, can_commit = availability.up, availability.write_fault is None
            for name in self._health_names:
                self._health.set(name, _to_status(is_up))
            self._health.set(health.COMMITS, _to_status(can_commit))
            await availability.changed()

    def _find_fault(self) -> str:
        """Return why no event can be stored, or "" if events can."""
        if not self._is_started:
            return "it is starting, or stopping"
        reason = self._store.availability.reason
        return reason if self._store.availability.up or not reason else f"the database is unavailable: {reason}"


def _to_status(is_well: bool) -> HealthCheckResponse.ServingStatus:
    return HealthCheckResponse.SERVING if is_well else HealthCheckResponse.NOT_SERVING


async def create_server(settings: Settings, limits: Limits = LIMITS) -> Application:
    """Return a server that is bound to `Application.port` but not started.

    Args:
        settings: the configuration.
        limits: the limits on what is in flight. Only tests need others.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        ConfigurationError: it cannot be used, its schema is not up to date, its role lacks privileges, or a port cannot
            be bound.
    """
    check(settings)
    await asyncio.to_thread(check_schema, settings.database_url)
    auth = await asyncio.to_thread(is_auth_on, settings.auth, settings.provider, settings.database_url)
    check_open_address(settings.bind_address, settings.auth, is_on=auth)
    return Application(settings, limits, auth=auth)
