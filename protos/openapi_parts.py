"""What no descriptor says of the HTTP door, since `envoy.yaml` makes it: refusals, and how to send a create again."""

from typing import Any

Json = dict[str, Any]


def content(schema: Json) -> Json:
    """A body."""
    return {"application/json": {"schema": schema}}


_TRY_AGAIN = {"Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "Seconds to wait."}}
_REFUSALS: dict[str, tuple[str, Json]] = {
    "408": ("The request did not arrive in time.", {}),
    "409": ("The same idempotency key is being processed: try again.", _TRY_AGAIN),
    "413": ("The body is too large.", {}),
    "422": ("Something is wrong with the request. Every field at fault is named, as the caller wrote it.", {}),
    "429": ("Too much is waiting already. Nothing was stored: try again.", _TRY_AGAIN),
    "431": ("The URL and the headers are too large.", {}),
    "500": ("A bug.", {}),
    "503": ("The database or the server cannot be reached: try again. The event may have been stored.", _TRY_AGAIN),
    "504": ("Out of time. The event may have been stored.", {}),
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name for the event that its customer uses for no other. Sent again with the same content, the "
    "event is not stored again and the answer is the first one; with other content it is a 422.",
    "schema": {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"},
}
REPLAYED = {
    "description": "Sent if the event was stored before, under its idempotency key, and this is the first answer.",
    "schema": {"type": "string", "const": "true"},
}


def exactly(**properties: Json) -> Json:
    """An object with just these keys, all of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _detail(kind: str, **properties: Json) -> Json:
    return exactly(**{"@type": {"const": f"type.googleapis.com/google.rpc.{kind}"}}, **properties)


_TEXT: Json = {"type": "string"}
_VIOLATION = exactly(field=_TEXT, description=_TEXT)
STATUS = exactly(
    code={"type": "integer", "minimum": 1, "maximum": 16, "description": "The gRPC status."},
    message={"type": "string", "minLength": 1},
    details={
        "type": "array",
        "items": {
            "oneOf": [
                _detail("BadRequest", fieldViolations={"type": "array", "items": _VIOLATION, "minItems": 1}),
                _detail("RetryInfo", retryDelay={"type": "string", "pattern": r"^\d+s$"}),
            ]
        },
    },
)

REFUSALS: Json = {
    status: {
        "description": description,
        **({"headers": headers} if headers else {}),
        "content": content({"$ref": "#/components/schemas/Status"}),
    }
    for status, (description, headers) in _REFUSALS.items()
}
"""The answers of every route that are not a success, by their status."""
