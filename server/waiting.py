"""What a worker does while it cannot start because the database is away: it says NOT_SERVING, and waits."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from server.metrics.endpoint import Endpoint
from server.ports import bind
from server.rpc.errors import abort
from server.settings import Settings
from server.transport import health
from server.transport.make import make_server
from server.transport.options import Sizes
from server.worker_metrics import WorkerMetrics, bind_endpoint
from storage import DatabaseUnavailable
from storage.connection import connect

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
# Between two lines in the log.
_REPEAT_SECONDS = 60.0

_SIZES = Sizes(64 << 10, 64 << 10, 64 << 10, 1_000)


async def wait_for_database(settings: Settings, reason: str) -> None:
    """Return once the database accepts a connection. Until then, answer calls as a server that cannot serve.

    Args:
        settings: those of the worker.
        reason: why the database cannot be reached.

    Raises:
        ConfigurationError: a port cannot be bound.
    """
    loop = asyncio.get_running_loop()
    next_line = 0.0
    async with _refusing_calls(settings):
        while reason:
            if loop.time() >= next_line:
                log.error("the database cannot be reached: waiting for it", extra={"reason": reason})
                next_line = loop.time() + _REPEAT_SECONDS
            await asyncio.sleep(_RETRY_SECONDS)
            reason = await asyncio.to_thread(_find_reason, settings.database_url)
    log.info("the database can be reached")


def _find_reason(url: str) -> str:
    """Return why the database cannot be reached, or "" if it can."""
    try:
        connect(url, "analytics start", {}).close()
    except DatabaseUnavailable as error:
        return str(error) or "it is unavailable"
    return ""


@contextlib.asynccontextmanager
async def _refusing_calls(settings: Settings) -> AsyncIterator[None]:
    """Answer health checks with NOT_SERVING, and all other calls with UNAVAILABLE."""
    server = make_server(settings.transport, _SIZES._replace(max_connections=settings.max_connections))
    status = health.Health()
    for name in (health.OVERALL, health.COMMITS):
        status.set(name, HealthCheckResponse.NOT_SERVING)
    add_HealthServicer_to_server(status, server)
    server.add_generic_rpc_handlers((_Refusing(),))
    bind(server, settings)
    await server.start()
    endpoint = await _show_metrics(settings.envoy_socket) if settings.envoy_socket else None
    try:
        yield
    finally:
        status.close()
        if endpoint is not None:
            endpoint.close()
        await server.stop(0)


async def _show_metrics(envoy_socket: Path) -> Endpoint:
    """Show the metrics of a worker that waits."""
    metrics = WorkerMetrics(envoy_socket)
    metrics.add_state(lambda: False, lambda: False, lambda: False)
    endpoint = bind_endpoint(envoy_socket, metrics, lambda: "the database cannot be reached", _find_no_more)
    await endpoint.start()
    return endpoint


async def _find_no_more() -> str:
    return ""


class _Refusing(grpc.GenericRpcHandler):
    """The handler of every RPC."""

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        # One of streams, because those receive nothing by themselves.
        behaviour: Any = _refuse
        return grpc.stream_stream_rpc_method_handler(behaviour)


async def _refuse(_: Any, context: Any) -> None:
    await abort(context, DatabaseUnavailable(), Empty.DESCRIPTOR)
