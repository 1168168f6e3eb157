"""The parts of the OpenAPI document that come from `envoy.yaml`, not from a descriptor: errors and headers."""

from typing import Any

Json = dict[str, Any]


def make_json_content(schema: Json) -> Json:
    """Return the OpenAPI content of a JSON body."""
    return {"application/json": {"schema": schema}}


def make_object_schema(**properties: Json) -> Json:
    """Return the schema of an object that has exactly these keys, all of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _make_detail_schema(message: str, **properties: Json) -> Json:
    """Return the schema of an error detail, a message of google.rpc as JSON writes an Any."""
    return make_object_schema(**{"@type": {"const": f"type.googleapis.com/google.rpc.{message}"}}, **properties)


IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A string that the customer uses for no other event, such as a random UUID. If the event is sent "
    "again with the same key and the same content, it is not stored again, and the response is the first one. With the "
    "same key and other content, the response is 422.",
    "schema": {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"},
}
"""The request header of a create."""

IDEMPOTENCY_REPLAYED: Json = {
    "description": "Present if the event was already stored under its idempotency key. The response is then the first "
    "one again.",
    "schema": {"type": "string", "const": "true"},
}
"""The response header of a create."""

_STRING: Json = {"type": "string"}
_VIOLATION = make_object_schema(field=_STRING, description=_STRING)
STATUS = make_object_schema(
    code={"type": "integer", "minimum": 1, "maximum": 16, "description": "The gRPC status code."},
    message={"type": "string", "minLength": 1},
    details={
        "type": "array",
        "items": {
            "oneOf": [
                _make_detail_schema(
                    "BadRequest", fieldViolations={"type": "array", "items": _VIOLATION, "minItems": 1}
                ),
                _make_detail_schema("RetryInfo", retryDelay={"type": "string", "pattern": r"^\d+s$"}),
            ]
        },
    },
)
"""The schema of every error body."""

_RETRY_AFTER: Json = {
    "Retry-After": {
        "required": True,
        "schema": {"type": "integer"},
        "description": "How many seconds to wait before you retry.",
    }
}
_ERRORS: dict[str, tuple[str, Json]] = {
    "408": ("The request did not arrive in time.", {}),
    "409": ("Another request with the same idempotency key is in progress. Retry after the given delay.", _RETRY_AFTER),
    "413": ("The body is too large. Nothing was stored.", {}),
    "422": ("The request is invalid. Nothing was stored. The details name the invalid fields as you wrote them.", {}),
    "429": ("The service is overloaded. Nothing was stored. Retry after the given delay.", _RETRY_AFTER),
    "431": ("The URL and the headers are too large. Nothing was stored.", {}),
    "500": ("The service has a bug. An event that you sent may be stored. Report it.", {}),
    "503": (
        "The database or the server is unreachable. An event that you sent may be stored. Retry after the given delay.",
        _RETRY_AFTER,
    ),
    "504": ("There was no response in time. An event that you sent may be stored. Retry.", {}),
}
ERROR_RESPONSES: Json = {
    status: {
        "description": description,
        **({"headers": headers} if headers else {}),
        "content": make_json_content({"$ref": "#/components/schemas/Status"}),
    }
    for status, (description, headers) in _ERRORS.items()
}
"""The error responses of every route, by HTTP status."""
