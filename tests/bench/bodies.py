"""The requests that the rows send."""

import json
from typing import Any

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from tests.support import requests

CREATE = "data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
SEARCH = "data_analytics.v1.LeadAnalyticsService/SearchLeadAnalyticsEvents"
BATCH = "data_analytics.v1.AnalyticsEventService/BatchCreateAnalyticsEvents"
CREATE_PATH = "/api/v1/lead_analytics"
SEARCH_PATH = "/api/v1/lead_analytics/search"
BATCH_PATH = "/api/v1/analytics_events:batch"

CUSTOMER = "customer-1"
BATCH_SIZE = 500

_FIELDS: dict[str, Any] = requests.EVERY_OPTIONAL_FIELD | {"version_info": {"package": "1.4.2"}}

LEAD = requests.lead_event(CUSTOMER, **_FIELDS)
"""A create with every field that callers send."""


def make_batch(size: int = BATCH_SIZE, **fields: Any) -> BatchCreateAnalyticsEventsRequest:
    """Return a batch of such events, with `fields` in place of theirs."""
    own = _FIELDS | fields
    events = [requests.analytics_event(CUSTOMER, entity_id=f"lead-{number}", **own) for number in range(size)]
    return BatchCreateAnalyticsEventsRequest(events=events)


def to_json(request: Message) -> str:
    """Return a request as compact JSON."""
    return json.dumps(json.loads(MessageToJson(request)), separators=(",", ":"))
