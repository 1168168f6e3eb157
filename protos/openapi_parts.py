"""The parts of the OpenAPI document that no descriptor has: errors and headers."""

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

_ENCODINGS = ["gzip", "deflate"]

CONTENT_ENCODING: Json = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the body is compressed, if it is. Its limit holds for both sizes, as sent and uncompressed.",
    "schema": {"type": "string", "enum": _ENCODINGS},
}
"""The request header of a compressed body."""

PUBLISHABLE_KEY: Json = {
    "name": "key",
    "in": "query",
    "description": "A publishable key, for beacons, which have no headers. Other callers send it in the Authorization "
    "header.",
    "schema": {"type": "string", "pattern": "^pk_"},
}
"""The query parameter of a create or a batch."""

IGNORED_FIELDS: Json = {
    "description": "Present if the operator has chosen to ignore unknown fields or parameters, and the request has "
    "some: their names, separated by a comma and a space. Otherwise they are refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 1_000},
}
"""The response header of every route."""

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
_ACCEPT_ENCODING: Json = {
    "Accept-Encoding": {
        "required": True,
        "schema": {"type": "string", "const": ", ".join(_ENCODINGS)},
        "description": "The supported values of Content-Encoding.",
    }
}
_WWW_AUTHENTICATE: Json = {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}}}

SECURITY_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key or a token. Whether callers need one is for the operator to say.",
    }
}
SECURITY: list[Json] = [{"bearer": []}, {}]
"""Of every route."""

_ERRORS: dict[str, tuple[str, Json]] = {
    "401": ("Valid credentials are required, once. Nothing was stored.", _WWW_AUTHENTICATE),
    "403": (
        "The credentials do not allow this, or the request asks for another protocol, such as WebSocket. Nothing was "
        "stored.",
        {},
    ),
    "404": ("The customer has nothing with this id.", {}),
    "408": ("The request did not arrive in time.", {}),
    "409": ("Another request with the same idempotency key is in progress. Retry after the given delay.", _RETRY_AFTER),
    "413": ("The body is too large. Nothing was stored.", {}),
    "415": ("The Content-Encoding is not supported. Nothing was stored.", _ACCEPT_ENCODING),
    "422": ("The request is invalid. Nothing was stored. The details name the invalid fields as you wrote them.", {}),
    "426": ("HTTP/1.0 is not supported: use HTTP/1.1 or HTTP/2. Nothing was stored.", {}),
    "429": (
        "The service is overloaded, or the key has written as much as it may. Nothing was stored. Retry after the "
        "given delay.",
        _RETRY_AFTER,
    ),
    "431": ("The URL and the headers are too large. Nothing was stored.", {}),
    "500": ("The service has a bug. An event that you sent may be stored. Report it.", {}),
    "503": (
        "The database or the server is unreachable. An event that you sent may be stored. Retry after the given delay.",
        _RETRY_AFTER,
    ),
    "504": ("There was no response in time. An event that you sent may be stored. Retry.", {}),
}
_ONLY_OF_CREATES = {"409"}
_ONLY_WITH_BODIES = {"415"}
_ONLY_WITH_IDS = {"404"}


def make_error_responses(*, is_create: bool, has_body: bool, has_path: bool) -> Json:
    """Return the error responses of a route, by HTTP status.

    Args:
        is_create: whether it stores one event.
        has_body: whether its requests have a body.
        has_path: whether its path has the id of what it is about.
    """
    left_out = (set() if is_create else _ONLY_OF_CREATES) | (set() if has_body else _ONLY_WITH_BODIES)
    left_out |= set() if has_path else _ONLY_WITH_IDS
    return {
        status: {
            "description": description,
            **({"headers": headers} if headers else {}),
            "content": make_json_content({"$ref": "#/components/schemas/Status"}),
        }
        for status, (description, headers) in _ERRORS.items()
        if status not in left_out
    }
