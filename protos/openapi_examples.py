"""The examples of the OpenAPI document.

Swagger UI fills its forms with those of requests, so each of them can be sent.
"""

from openapi_parts import Json

_ID = "01a2090f-a603-711c-ab95-cbdcb72bc3b8"
_TIME = "2026-11-23T15:39:10.211Z"
_WHO = {"customer_id": "acme", "user_id": "user-1"}
_WHAT = {"recording_id": "rec-1", "event_type": "view", "tool_signature": "vfp"}
_TIMES = {"created_at": _TIME, "updated_at": _TIME}
_EVENT = {**_WHO, "entity_type": "lead", "entity_id": "lead-1", **_WHAT}


def _make_created(entity: Json, kind: str) -> Json:
    """Return what a create answers."""
    return {
        "customer_id": "acme",
        **entity,
        "user_id": "user-1",
        "tool_signature": "vfp",
        "recording_id": "rec-1",
        "event_type": "view",
        "event_id": "",
        "message": "",
        "entityType": kind.lower().replace(" ", "_"),
        "partitionKey": f"{kind}|{_ID}",
        "sortKey": "acme",
        **_TIMES,
    }


def _make_page(entity_type: str) -> Json:
    """Return what a search answers."""
    entity = {"entity_type": entity_type, "entity_id": f"{entity_type}-1"}
    found = {"customer_id": "acme", **entity, "user_id": "user-1", **_WHAT, "event_id": "", "message": "", **_TIMES}
    return {"recordings": [found], "meta": {"page": 1, "pageSize": 10, "rowCount": 1}}


_EVENT_WITH_VERSIONS = {**_EVENT, "version_info": {"vfp": "3.1.0"}}

BODIES: dict[str, Json] = {
    "CreateLeadAnalyticsEventRequest": {**_WHO, "lead_id": "lead-1", **_WHAT},
    "CreateContactAnalyticsEventRequest": {**_WHO, "contact_id": "contact-1", **_WHAT},
    "CreateAnalyticsEventRequest": _EVENT_WITH_VERSIONS,
    "BatchCreateAnalyticsEventsRequest": {"events": [_EVENT, {**_EVENT, "recording_id": "rec-2"}]},
    "EraseAnalyticsEventsRequest": {"customer_id": "acme", "older_than_days": 400},
}
"""The bodies of requests, by message."""

_RECORD = {
    "id": _ID,
    "customer_id": "acme",
    "entity_type": "lead",
    "entity_id": "lead-1",
    "user_id": "user-1",
    **_WHAT,
    "event_id": "",
    "message": "",
    "javascript_local_time": "2026-11-23T16:39:09.870+01:00",
    "apex_local_time": "",
    "event_environment_path": "",
    "name_parser_event_id": "",
    "recommendation_model_event_id": "",
    "version_info": {"vfp": "3.1.0"},
    "idempotency_key": "",
    **_TIMES,
}

PARAMETERS: dict[str, object] = {
    "customer_id": "acme",
    "user_id": "user-1",
    "lead_id": "lead-1",
    "contact_id": "contact-1",
    "recording_id": ["rec-1"],
    "id": _ID,
}
"""The required parameters, by name."""

RESPONSES: dict[str, Json] = {
    "LeadAnalyticsEvent": _make_created({"lead_id": "lead-1"}, "Lead analytics event"),
    "ContactAnalyticsEvent": _make_created({"contact_id": "contact-1"}, "Contact analytics event"),
    "AnalyticsEvent": _make_created({"entity_id": "lead-1", "entity_type": "lead"}, "Analytics event"),
    "BatchCreateAnalyticsEventsResponse": {
        "stored_count": 2,
        "refused_count": 0,
        "outcomes": [
            {"index": 0, "stored": {"id": _ID, "created_at": _TIME, "replayed": False}},
            {"index": 1, "stored": {"id": f"{_ID[:-1]}9", "created_at": _TIME, "replayed": False}},
        ],
    },
    "SearchLeadAnalyticsEventsResponse": _make_page("lead"),
    "SearchContactAnalyticsEventsResponse": _make_page("contact"),
    "EventRecord": _RECORD,
    "ListAnalyticsEventsResponse": {"events": [_RECORD], "nextPageToken": ""},
    "SummarizeAnalyticsEventsResponse": {
        "by": ["day", "event_type"],
        "rows": [{"values": ["2026-11-23", "view"], "events": 12, "users": 3, "lastCreatedAt": _TIME}],
        "events": 12,
        "users": 3,
        "more": False,
    },
    "ListRefusalsResponse": {
        "refusals": [
            {
                "id": _ID,
                "created_at": _TIME,
                "rpc": "CreateAnalyticsEvent",
                "door": "json",
                "code": "INVALID_ARGUMENT",
                "tool_signature": "vfp",
                "violations": [{"field": "recording_id", "description": "value is required"}],
                "requestId": "5f2b1a0c-7d3e-4c6f-9a8b-0e1d2c3b4a59",
                "omitted": 0,
            }
        ],
        "nextPageToken": "",
    },
    "Erasure": {
        "id": _ID,
        "customer_id": "acme",
        "all_events": False,
        "user_id": "",
        "entity_type": "",
        "entity_id": "",
        "created_before": "2025-10-19T15:39:10.210Z",
        "block_later": False,
        "requested_by": "anyone",
        "created_at": _TIME,
        "finished_at": "2026-11-23T15:39:10.260Z",
        "erased_count": 1204,
        "last_id": _ID,
    },
}
"""The bodies of responses, by message."""

_TYPE = "type.googleapis.com/google.rpc."
_IN_ONE_SECOND: list[Json] = [{"@type": f"{_TYPE}RetryInfo", "retryDelay": "1s"}]
_VIOLATION = {"field": "customer_id", "description": "value is required"}
_ERRORS: dict[str, tuple[int, str, list[Json]]] = {
    "401": (16, "send exactly one valid credential, as authorization: Bearer", []),
    "403": (7, "these credentials do not allow this", []),
    "404": (5, "the customer has no erasure with this id", []),
    "408": (4, "the request did not arrive in time", []),
    "409": (10, "an event with this idempotency key is being processed", _IN_ONE_SECOND),
    "413": (8, "the request is over 1 MiB, or 8 MiB for a batch", []),
    "415": (3, "this content-encoding is not supported: use gzip or deflate", []),
    "422": (
        3,
        "invalid request: customer_id",
        [{"@type": f"{_TYPE}BadRequest", "fieldViolations": [_VIOLATION]}],
    ),
    "426": (3, "HTTP/1.0 is not supported: use HTTP/1.1 or HTTP/2", []),
    "429": (8, "too many requests are waiting", _IN_ONE_SECOND),
    "431": (8, "the URL and headers are too large or too many", []),
    "500": (13, "internal error", []),
    "503": (14, "the database is unavailable", _IN_ONE_SECOND),
    "504": (4, "out of time", []),
}
ERRORS: dict[str, Json] = {
    status: {"code": code, "message": message, "details": details}
    for status, (code, message, details) in _ERRORS.items()
}
"""The bodies of errors, by HTTP status."""
