"""Requests in both forms: as JSON, and as a gRPC message."""

import gzip
import json
import struct
import urllib.parse
from typing import Any, NamedTuple

from google.protobuf.message import Message

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    CreateAnalyticsEventRequest,
    WriteAnalyticsEventsRequest,
)
from data_analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsRequest,
)
from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest

ATTACKER = "attacker"
VICTIM = "victim"
"""Their customers."""

BATCH_BYTES = 8 << 20
EVENT_BYTES = 1 << 20
"""The documented limits on a batch and on one event."""

WRITE = "/data_analytics.v1.AnalyticsEventService/WriteAnalyticsEvents"
_EVENTS = "/data_analytics.v1.AnalyticsEventService/"
_LEADS = "/data_analytics.v1.LeadAnalyticsService/"
_REQUIRED = {"user_id": "user", "recording_id": "recording", "event_type": "view"}


class Request(NamedTuple):
    """One request, as each door takes it."""

    method: str
    path: str
    """Of JSON, with its query."""
    json: bytes
    rpc: str
    message: bytes
    """With its prefix."""


def prefix(data: bytes, *, size: int | None = None, compressed: bool = False) -> bytes:
    """Return a gRPC message whose prefix says that it has `size` bytes, or as many as it has."""
    return struct.pack(">BI", compressed, len(data) if size is None else size) + data


def make_event(customer: str = ATTACKER, **fields: Any) -> dict[str, Any]:
    """Return the fields of an event for a batch."""
    return {"customer_id": customer, **_REQUIRED, "entity_type": "lead", "entity_id": "entity", **fields}


def make_create(customer: str = ATTACKER, **fields: Any) -> Request:
    """Return a create of an event about a lead."""
    values = {"customer_id": customer, **_REQUIRED, "lead_id": "entity", **fields}
    message = CreateLeadAnalyticsEventRequest(**values)
    rpc = _LEADS + "CreateLeadAnalyticsEvent"
    return Request("POST", "/api/v1/lead_analytics", _to_json(values), rpc, _serialize(message))


def make_batch(events: list[dict[str, Any]]) -> Request:
    """Return a batch."""
    message = BatchCreateAnalyticsEventsRequest(events=[CreateAnalyticsEventRequest(**event) for event in events])
    return make_raw_batch(_to_json({"events": events}), message.SerializeToString())


def make_raw_batch(body: bytes, message: bytes) -> Request:
    """Return a batch of these bytes."""
    path = "/api/v1/analytics_events:batch"
    return Request("POST", path, body, _EVENTS + "BatchCreateAnalyticsEvents", prefix(message))


def make_large_batch() -> Request:
    """Return a valid batch that is nearly as large as any may be."""
    fixed = len(_to_json({"events": [make_event(message="")] * 128}))
    return make_batch([make_event(message="m" * ((BATCH_BYTES - fixed) // 128))] * 128)


def make_chunk(events: list[dict[str, Any]]) -> bytes:
    """Return a chunk for a write stream."""
    return _serialize(WriteAnalyticsEventsRequest(events=[CreateAnalyticsEventRequest(**event) for event in events]))


def make_summary(customer: str = ATTACKER, **fields: Any) -> Request:
    """Return a summary."""
    values = {"customer_id": customer, **fields}
    path = f"/api/v1/analytics_events:summary?{urllib.parse.urlencode(values, doseq=True)}"
    message = SummarizeAnalyticsEventsRequest(**values)
    return Request("GET", path, b"", _EVENTS + "SummarizeAnalyticsEvents", _serialize(message))


def make_search(customer: str = ATTACKER, **fields: Any) -> Request:
    """Return a search for events about a lead; `page_size` is `pageSize` as JSON."""
    values = {"customer_id": customer, "user_id": "user", "recording_id": ["recording"], "lead_id": "entity", **fields}
    message = SearchLeadAnalyticsEventsRequest(**values)
    query = {"pageSize" if name == "page_size" else name: value for name, value in values.items()}
    if fields.get("latest"):
        query["latest"] = "true"
    path = f"/api/v1/lead_analytics/search?{urllib.parse.urlencode(query, doseq=True)}"
    return Request("GET", path, b"", _LEADS + "SearchLeadAnalyticsEvents", _serialize(message))


def compress(request: Request) -> Request:
    """Return the request with its body or message compressed by gzip; the headers that say so are the caller's."""
    message = prefix(gzip.compress(request.message[5:]), compressed=True)
    return request._replace(json=gzip.compress(request.json), message=message)


def _to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _serialize(message: Message) -> bytes:
    return prefix(message.SerializeToString())
