"""The plain design: a synchronous gRPC server, with one Peewee `create()` and commit for each RPC.

`DATABASE_URL=… python -m tests.bench.baselines.plain PORT`
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.json_format import MessageToJson
from playhouse.pool import PooledPostgresqlDatabase

from data_analytics.v1.event_pb2 import LeadAnalyticsEvent
from data_analytics.v1.lead_analytics_service_pb2_grpc import (
    LeadAnalyticsServiceServicer,
    add_LeadAnalyticsServiceServicer_to_server,
)
from server.messages.validation import check
from storage import make_id_and_time
from storage.model import AnalyticsEvent, make_search_key

THREADS = 16
database: Any = PooledPostgresqlDatabase(os.environ.get("DATABASE_URL"), max_connections=THREADS, timeout=10)


class LeadAnalytics(LeadAnalyticsServiceServicer):
    """A service that commits one row for each RPC."""

    def CreateLeadAnalyticsEvent(self, request: Any, context: Any) -> LeadAnalyticsEvent:
        """Store an event."""
        check(request)
        event_id, now = make_id_and_time()
        with database.connection_context(), database.atomic():
            row = AnalyticsEvent.create(
                customer_id=request.customer_id,
                id=event_id,
                created_at=now,
                updated_at=now,
                entity_type="lead",
                entity_id=request.lead_id or request.entity_id,
                user_id=request.user_id,
                recording_id=request.recording_id,
                event_type=request.event_type,
                tool_signature=request.tool_signature,
                event_id=request.event_id,
                message=request.message,
                javascript_local_time=request.javascript_local_time,
                apex_local_time=request.apex_local_time,
                event_environment_path=request.event_environment_path,
                name_parser_event_id=request.name_parser_event_id,
                recommendation_model_event_id=request.recommendation_model_event_id,
                version_info=MessageToJson(request.version_info) if request.HasField("version_info") else None,
                search_key=make_search_key("lead", request.lead_id, request.user_id, request.recording_id),
            )
        return LeadAnalyticsEvent(
            lead_id=row.entity_id,
            customer_id=row.customer_id,
            user_id=row.user_id,
            tool_signature=row.tool_signature,
            recording_id=row.recording_id,
            event_type=row.event_type,
            event_id=row.event_id,
            message=row.message,
            record_type="lead_analytics_event",
            partition_key=f"Lead analytics event|{event_id}",
            sort_key=row.customer_id,
            created_at=now,
            updated_at=now,
        )

    def SearchLeadAnalyticsEvents(self, request: Any, context: Any) -> Any:
        """Fail: no row measures it."""
        raise NotImplementedError


if __name__ == "__main__":
    AnalyticsEvent.bind(database)
    server = grpc.server(ThreadPoolExecutor(THREADS))
    add_LeadAnalyticsServiceServicer_to_server(LeadAnalytics(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()
