"""Valid requests, for a test to change."""

from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from data_analytics.v1.contact_analytics_service_pb2 import CreateContactAnalyticsEventRequest
from data_analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsRequest,
)

EVERY_OPTIONAL_FIELD = {
    "tool_signature": "vfp",
    "event_id": "view#1",
    "message": "a message",
    "javascript_local_time": "Fri Nov 02 2018 13:12:04 GMT+0100",
    "apex_local_time": "2018-11-02 13:12:04",
    "event_environment_path": "/apex/Recommendations?id=1",
    "name_parser_event_id": "parser#1",
    "recommendation_model_event_id": "model#1",
    "version_info": {"package": "1.2", "build": 7, "flags": [True, None, {"beta": 0.5}]},
}


def analytics_event(customer: str, **fields: Any) -> CreateAnalyticsEventRequest:
    """Return a request for `/api/v1/analytics_events`."""
    required = {"user_id": "user", "recording_id": "recording", "event_type": "view"}
    entity = {"entity_type": "lead", "entity_id": "entity"}
    return CreateAnalyticsEventRequest(customer_id=customer, **{**required, **entity, **fields})


def lead_event(customer: str, **fields: Any) -> CreateLeadAnalyticsEventRequest:
    """Return a request for `/api/v1/lead_analytics`."""
    required = {"user_id": "user", "recording_id": "recording", "event_type": "view", "lead_id": "entity"}
    return CreateLeadAnalyticsEventRequest(customer_id=customer, **{**required, **fields})


def contact_event(customer: str, **fields: Any) -> CreateContactAnalyticsEventRequest:
    """Return a request for `/api/v1/contact_analytics`."""
    required = {"user_id": "user", "recording_id": "recording", "event_type": "view", "contact_id": "entity"}
    return CreateContactAnalyticsEventRequest(customer_id=customer, **{**required, **fields})


def lead_search(customer: str, **fields: Any) -> SearchLeadAnalyticsEventsRequest:
    """Return a search that finds the events of the other requests."""
    required = {"user_id": "user", "recording_id": ["recording"], "lead_id": "entity"}
    return SearchLeadAnalyticsEventsRequest(customer_id=customer, **{**required, **fields})
