"""The standard health service, grpc.health.v1, for both transports.

The servicer that grpcio-health-checking has for asyncio holds a lock while it sends to a watcher. One watcher that does
not read keeps it from ever changing a status again, and the server from stopping.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from grpc_health.v1.health_pb2_grpc import HealthServicer

from server.transport.interface import Context

SERVICE_NAME = "grpc.health.v1.Health"
OVERALL = ""
"""The name under which the health of the whole server is asked for."""
COMMITS = "commits"
"""The name under which it is asked whether events can be committed."""

# A watch lasts as long as its caller wants, and is a call in flight all the time.
_MAX_WATCHES = 500

Status = Any
"""One of `HealthCheckResponse.ServingStatus`."""


class Health(HealthServicer):  # type: ignore[misc]  # untyped in its library
    """The health of the services of one server. Belongs to one event loop."""

    def __init__(self) -> None:
        """Create it without a service. Unlike the library's, it has no status for the whole server at first."""
        self._statuses: dict[str, Status] = {}
        self._changed = asyncio.Event()
        self._watches = 0
        self._draining = False
        self._closed = False

    def set(self, service: str, status: Status) -> None:
        """Set the status of a service, unless the server is about to stop."""
        if not self._draining:
            self._statuses[service] = status
            self._notify()

    def drain(self) -> None:
        """Say from now on that no service serves, because the server is about to stop."""
        for service in self._statuses:
            self._statuses[service] = HealthCheckResponse.NOT_SERVING
        self._draining = True
        self._notify()

    def close(self) -> None:
        """End all watches, which would otherwise last as long as their callers want."""
        self._closed = True
        self._notify()

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """Return the status of a service."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=status)

    async def List(self, _: HealthListRequest, __: Context) -> HealthListResponse:
        """Return the status of each service."""
        return HealthListResponse(
            statuses={service: HealthCheckResponse(status=status) for service, status in self._statuses.items()}
        )

    async def Watch(self, request: HealthCheckRequest, context: Context) -> None:
        """Send the status of a service now and whenever it has changed."""
        if self._watches == _MAX_WATCHES:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many clients watch")
        self._watches += 1
        try:
            await self._watch(request.service, context)
        finally:
            self._watches -= 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    async def _watch(self, service: str, context: Context) -> None:
        last = None
        while not self._closed:
            changed = self._changed
            status = self._statuses.get(service, HealthCheckResponse.SERVICE_UNKNOWN)
            if status != last:
                await context.write(HealthCheckResponse(status=status))
                last = status
            else:
                await changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
