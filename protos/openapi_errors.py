"""The error responses of the OpenAPI document."""

from collections.abc import Mapping

from openapi_examples import ERRORS
from openapi_parts import ENCODINGS, Json, make_json_content

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
        "schema": {"type": "string", "const": ", ".join(ENCODINGS)},
        "description": "The supported values of Content-Encoding.",
    }
}
_WWW_AUTHENTICATE: Json = {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}}}

_ERRORS: dict[str, tuple[str, Json]] = {
    "401": ("Valid credentials are required, once.", _WWW_AUTHENTICATE),
    "403": ("The credentials do not allow this, or the request asks for another protocol, such as WebSocket.", {}),
    "404": ("The customer has nothing with this id.", {}),
    "408": ("The request did not arrive in time.", {}),
    "409": ("Another request with the same idempotency key is in progress. Retry after the given delay.", _RETRY_AFTER),
    "413": ("The body is too large.", {}),
    "415": ("The Content-Encoding is not supported.", _ACCEPT_ENCODING),
    "422": ("The request is invalid. The details name the invalid fields as you wrote them.", {}),
    "426": ("HTTP/1.0 is not supported: use HTTP/1.1 or HTTP/2.", {}),
    "429": (
        "The service is overloaded, or the key has written as much as it may. Retry after the given delay.",
        _RETRY_AFTER,
    ),
    "431": ("The URL and the headers are too large.", {}),
    "500": ("The service has a bug. Report it.", {}),
    "503": ("The database or the server is unreachable. Retry after the given delay.", _RETRY_AFTER),
    "504": ("There was no response in time. Retry.", {}),
}
_ONLY_OF_CREATES = {"409"}
_ONLY_WITH_BODIES = {"415"}
_ONLY_WITH_IDS = {"404"}
# The comments of RPCs leave out keys, which only some of them count.
_THE_SAME_FOR_ALL = {"429"}


def make_error_responses(texts: Mapping[str, str], *, is_create: bool, has_body: bool, has_path: bool) -> Json:
    """Return the error responses of a route, by HTTP status.

    Args:
        texts: what its comment says about some of them.
        is_create: whether it stores one event.
        has_body: whether its requests have a body.
        has_path: whether its path has the id of what it is about.
    """
    left_out = (set() if is_create else _ONLY_OF_CREATES) | (set() if has_body else _ONLY_WITH_BODIES)
    left_out |= set() if has_path else _ONLY_WITH_IDS
    return {
        status: {
            "description": description if status in _THE_SAME_FOR_ALL else texts.get(status, description),
            **({"headers": headers} if headers else {}),
            "content": make_json_content({"$ref": "#/components/schemas/Status"}, ERRORS[status]),
        }
        for status, (description, headers) in _ERRORS.items()
        if status not in left_out
    }
