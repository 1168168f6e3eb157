"""The parts of the OpenAPI document that no descriptor has: headers, the body of errors, access."""

from typing import Any

Json = dict[str, Any]


def make_json_content(schema: Json, example: Json | None = None) -> Json:
    """Return the OpenAPI content of a JSON body."""
    return {"application/json": {"schema": schema, **({"example": example} if example else {})}}


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

ENCODINGS = ["gzip", "deflate"]
"""How a body may be compressed."""

CONTENT_ENCODING: Json = {
    "name": "Content-Encoding",
    "in": "header",
    "description": "How the body is compressed, if it is. Its limit holds for both sizes, as sent and uncompressed.",
    "schema": {"type": "string", "enum": ENCODINGS},
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

SECURITY_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key (`pk_…` or `sk_…`) or a token, without the word Bearer before it. Until the operator has "
        "made a key, callers need none.",
    }
}
SECURITY: list[Json] = [{"bearer": []}, {}]
"""Of every route."""
