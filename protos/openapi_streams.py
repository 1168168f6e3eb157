"""The responses of the OpenAPI document that are streams. No proto describes what they look like over HTTP."""

import json
from typing import NamedTuple

from openapi_examples import RESPONSES
from openapi_parts import Json, make_object_schema


class Stream(NamedTuple):
    """A response that is a stream."""

    content_type: str
    description: str
    schema: Json
    example: str
    messages: tuple[str, ...]
    """The messages whose schemas it refers to."""


def _refer(message: str) -> Json:
    return {"$ref": f"#/components/schemas/{message}"}


_TOKEN: Json = {"type": "string", "minLength": 1}
_LINES = [
    make_object_schema(event=_refer("EventRecord")),
    make_object_schema(event=_refer("EventRecord"), resumeToken=_TOKEN),
    make_object_schema(resumeToken=_TOKEN),
    make_object_schema(end=_refer("ExportEnd")),
    make_object_schema(error=_refer("Status")),
]
_EXAMPLE = [{"event": RESPONSES["EventRecord"]}, {"end": {"count": 1}}]


def _make_server_sent_event(kind: str, token: str, data: Json) -> str:
    return f"event: {kind}\nid: {token}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


_EVENT_STREAM = (
    _make_server_sent_event("begin", "AAAAAQ==", {}),
    _make_server_sent_event("event", "AAAAAg==", RESPONSES["EventRecord"]),
    _make_server_sent_event("heartbeat", "AAAAAw==", {}),
)

STREAMS = {
    "ExportAnalyticsEvents": Stream(
        "application/x-ndjson",
        "Newline-delimited JSON: the schema is that of each line. Only a response whose last line has `end` is whole.",
        {"oneOf": _LINES},
        "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in _EXAMPLE),
        ("EventRecord", "ExportEnd"),
    ),
    "WatchAnalyticsEvents": Stream(
        "text/event-stream",
        "Server-sent events. The `data` of `event` is an EventRecord, that of `error`, which ends it, a Status. "
        "That of `begin` and `heartbeat` is `{}`. The `id` is the `resumeToken` of what follows.",
        {"type": "string"},
        "".join(_EVENT_STREAM),
        ("EventRecord",),
    ),
}
"""By the names of their RPCs."""
