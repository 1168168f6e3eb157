"""A server that stores nothing: our handlers and settings, the same messages, no validation and no database.

`python -m tests.bench.baselines.noop PORT [TRANSPORT]`, by default on the stock transport.
"""

import asyncio
import sys
from typing import Any

from data_analytics.v1.event_pb2 import LeadAnalyticsEvent
from data_analytics.v1.lead_analytics_service_pb2 import DESCRIPTOR
from server import event_loop
from server.app import make_grpc_server
from server.rpc.call_log import CallLog
from server.rpc.handlers import add_services
from server.rpc.limits import Limits
from server.transport import AIO


class NoOp:
    """A service that answers with what it was sent."""

    async def CreateLeadAnalyticsEvent(self, request: Any, context: Any, _: str) -> LeadAnalyticsEvent:
        """Return an answer with all its fields."""
        return LeadAnalyticsEvent(
            customer_id=request.customer_id,
            lead_id=request.lead_id,
            user_id=request.user_id,
            tool_signature=request.tool_signature,
            recording_id=request.recording_id,
            event_type=request.event_type,
            event_id=request.event_id,
            message=request.message,
            record_type="lead_analytics_event",
            partition_key="Lead analytics event|01a2090f-a603-711c-ab95-cbdcb72bc3b8",
            sort_key=request.customer_id,
            created_at="2026-11-23T15:39:10.211Z",
            updated_at="2026-11-23T15:39:10.211Z",
        )

    async def SearchLeadAnalyticsEvents(self, request: Any, context: Any, _: str) -> Any:
        """Fail: no row measures it."""
        raise NotImplementedError


async def serve(port: int, transport: str = AIO) -> None:
    server: Any = make_grpc_server(transport)
    service: Any = DESCRIPTOR.services_by_name["LeadAnalyticsService"]
    add_services(server, {service: NoOp()}, {}, {}, Limits(), CallLog())
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    event_loop.run(serve(int(sys.argv[1]), *sys.argv[2:]))
