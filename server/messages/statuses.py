"""What a caller gets for each refusal: a status of `google.rpc.Code` with its details, and the status of HTTP."""

from typing import NamedTuple

from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import (
    ABORTED,
    DEADLINE_EXCEEDED,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
)
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from server.access.caller import NotPermitted, OriginNotAllowed, ScopeMissing, Unauthenticated
from server.access.rates import OverRate
from server.messages.refusals import (
    MAX_VIOLATIONS,
    DeadlineTooShort,
    ErasureNotFound,
    EventNotFound,
    FieldViolation,
    InvalidRequest,
    MalformedMessage,
    MessageTooLarge,
    RequestLate,
    TooManyCalls,
    TooManyWaiting,
    UnsupportedEncoding,
)
from server.messages.wording import EVENT_REFUSED, KEY_ERASED, KEY_IN_PROGRESS, KEY_REUSED, USER_BLOCKED
from server.sharing.open_streams import ServerStopping
from server.sharing.places import NoPlace, SilentStream
from storage import (
    CommitsWait,
    DatabaseFull,
    DatabaseUnavailable,
    EventRefused,
    KeyErased,
    KeyInProgress,
    KeyReused,
    NodeUnavailable,
    PageTooLarge,
    PositionLost,
    SearchTimedOut,
    SummaryTooLarge,
    TooManyBlocked,
    TooManyErasures,
    TooManyLookups,
    TooManySearches,
    UserBlocked,
    WriteFailed,
)

RETRY_AFTER_SECONDS = 1


class _Refusal(NamedTuple):
    code: int
    message: str
    is_retryable: bool = False
    http_status: int = 0
    """If it is not the one that stands for the code."""


_REFUSALS: dict[type[Exception], _Refusal] = {
    Unauthenticated: _Refusal(UNAUTHENTICATED, "send exactly one valid credential, as authorization: Bearer"),
    NotPermitted: _Refusal(PERMISSION_DENIED, "these credentials do not allow this"),
    ScopeMissing: _Refusal(PERMISSION_DENIED, "these credentials lack the scope that this needs"),
    OriginNotAllowed: _Refusal(PERMISSION_DENIED, "this key is not for the origin of this request"),
    MessageTooLarge: _Refusal(RESOURCE_EXHAUSTED, "the request is over 1 MiB, or 8 MiB for a batch", http_status=413),
    UnsupportedEncoding: _Refusal(
        INVALID_ARGUMENT, "this content-encoding is not supported: use gzip or deflate", http_status=415
    ),
    RequestLate: _Refusal(DEADLINE_EXCEEDED, "the request did not arrive in time", http_status=408),
    SearchTimedOut: _Refusal(DEADLINE_EXCEEDED, "the search took too long"),
    TooManyWaiting: _Refusal(RESOURCE_EXHAUSTED, "too many requests are waiting", is_retryable=True),
    TooManySearches: _Refusal(RESOURCE_EXHAUSTED, "too many requests are waiting", is_retryable=True),
    TooManyLookups: _Refusal(RESOURCE_EXHAUSTED, "too many requests are waiting", is_retryable=True),
    OverRate: _Refusal(RESOURCE_EXHAUSTED, "the key has written as much as it may", is_retryable=True),
    TooManyCalls: _Refusal(RESOURCE_EXHAUSTED, "too many requests are in flight", is_retryable=True),
    TooManyErasures: _Refusal(
        RESOURCE_EXHAUSTED, "the customer has 100 erasures that are not finished", is_retryable=True
    ),
    DeadlineTooShort: _Refusal(RESOURCE_EXHAUSTED, "the deadline is too short for the queue", is_retryable=True),
    NoPlace: _Refusal(RESOURCE_EXHAUSTED, "too many streams are open", is_retryable=True),
    ServerStopping: _Refusal(UNAVAILABLE, "the server is stopping", is_retryable=True),
    SilentStream: _Refusal(DEADLINE_EXCEEDED, "nothing has come on the stream for too long: open another one"),
    ErasureNotFound: _Refusal(NOT_FOUND, "the customer has no erasure with this id"),
    EventNotFound: _Refusal(NOT_FOUND, "the customer has no event with this id"),
    KeyInProgress: _Refusal(ABORTED, "an event with this idempotency key is being processed", is_retryable=True),
    DatabaseUnavailable: (_UNAVAILABLE := _Refusal(UNAVAILABLE, "the database is unavailable", is_retryable=True)),
    DatabaseFull: _UNAVAILABLE,
    CommitsWait: _Refusal(UNAVAILABLE, "commits wait for a synchronous standby", is_retryable=True),
    NodeUnavailable: _UNAVAILABLE,
    WriteFailed: _Refusal(INTERNAL, "internal error"),  # Storage has logged it, once for all callers of a batch.
}
_BUG = _Refusal(INTERNAL, "internal error")

_HTTP_STATUSES = {
    UNAUTHENTICATED: 401,
    PERMISSION_DENIED: 403,
    INVALID_ARGUMENT: 422,
    NOT_FOUND: 404,
    RESOURCE_EXHAUSTED: 429,
    DEADLINE_EXCEEDED: 504,
    ABORTED: 409,
    UNAVAILABLE: 503,
    INTERNAL: 500,
}

# Errors that are about a field, and so INVALID_ARGUMENT.
_VIOLATIONS: dict[type[Exception], FieldViolation] = {
    MalformedMessage: FieldViolation("", "is not a message of the expected type, or nests too deeply"),
    EventRefused: EVENT_REFUSED,
    KeyErased: KEY_ERASED,
    KeyReused: KEY_REUSED,
    TooManyBlocked: FieldViolation("block_later", "is refused: too many users are blocked already"),
    PositionLost: FieldViolation(
        "resume_token",
        "is of a database that has failed over or was restored: list or export what was stored since, and watch anew",
    ),
    UserBlocked: USER_BLOCKED,
    SummaryTooLarge: FieldViolation("since", "there are too many different events to count: ask for a shorter time"),
    PageTooLarge: FieldViolation("page_size", "the page is over 16 MiB: ask for fewer events at a time"),
}


def find_event_violation(error: Exception) -> FieldViolation | None:
    """Return what is wrong with one event of a batch, or None if `error` fails the whole batch."""
    if isinstance(error, KeyInProgress):
        return KEY_IN_PROGRESS
    return _VIOLATIONS.get(type(error))


def is_bug(error: Exception) -> bool:
    """Return whether `error` is none that callers are meant to see."""
    return not isinstance(error, InvalidRequest) and type(error) not in _REFUSALS and type(error) not in _VIOLATIONS


def find_violations(error: Exception) -> list[FieldViolation]:
    """Return what is wrong with the request, if `error` is about that."""
    if isinstance(error, InvalidRequest):
        return error.violations
    violation = _VIOLATIONS.get(type(error))
    return [violation] if violation else []


def get_http_status(error: Exception) -> int:
    """Return the HTTP status that a caller of JSON gets for `error`."""
    if isinstance(error, InvalidRequest) or type(error) in _VIOLATIONS:
        return _HTTP_STATUSES[INVALID_ARGUMENT]
    refusal = _REFUSALS.get(type(error), _BUG)
    return refusal.http_status or _HTTP_STATUSES[refusal.code]


def get_code(error: Exception) -> int:
    """Return the number of the gRPC status that a caller gets for `error`."""
    is_invalid = isinstance(error, InvalidRequest) or type(error) in _VIOLATIONS
    return int(INVALID_ARGUMENT if is_invalid else _REFUSALS.get(type(error), _BUG).code)


def list_causes() -> list[type[Exception]]:
    """Return the types of all errors that callers are meant to see."""
    return [InvalidRequest, *_REFUSALS, *_VIOLATIONS]


def make_status(error: Exception, request: Descriptor, *, use_json_names: bool = False) -> Status:
    """Return the status that a caller gets for `error`.

    Args:
        error: any exception; a bug becomes INTERNAL with a generic message.
        request: the type of the request, which knows the JSON names of its fields.
        use_json_names: whether the caller knows the fields by their JSON names.
    """
    if isinstance(error, InvalidRequest):
        violations = error.violations[:MAX_VIOLATIONS]
    elif violation := _VIOLATIONS.get(type(error)):
        violations = [violation]
    else:
        seconds = error.retry_seconds if isinstance(error, OverRate) else RETRY_AFTER_SECONDS
        return _pack_refusal(_REFUSALS.get(type(error), _BUG), seconds)
    if use_json_names:
        violations = [FieldViolation(_to_json_path(request, path), text) for path, text in violations]
    return _pack_violations(violations)


def make_headers(error: Exception, status: Status) -> list[tuple[str, str]]:
    """Return the headers, or trailers, that go with the status of `error`."""
    headers = []
    if seconds := find_retry_seconds(status):
        headers.append(("retry-after", str(seconds)))
    if isinstance(error, Unauthenticated):
        headers.append(("www-authenticate", "Bearer"))
    if isinstance(error, OverRate):
        headers += error.headers
    return headers


def find_retry_seconds(status: Status) -> int:
    """Return after how many seconds the status asks for a retry, or 0 if it does not."""
    retry = RetryInfo()
    return next((retry.retry_delay.seconds for detail in status.details if detail.Unpack(retry)), 0)


def _to_json_path(request: Descriptor, path: str) -> str:
    """Return `page_size` as JSON callers write it, pageSize. What follows the first name, as in `a[3]`, stays."""
    name = path.partition("[")[0]
    # Neither the whole request, whose path is empty, nor a header is a field.
    field = request.fields_by_name.get(name)
    return field.json_name + path[len(name) :] if field else path


def _pack_violations(violations: list[FieldViolation]) -> Status:
    names = ", ".join(dict.fromkeys(violation.field for violation in violations if violation.field))
    status = Status(code=INVALID_ARGUMENT, message=f"invalid request: {names}".removesuffix(": "))
    details = BadRequest()
    for violation in violations:
        details.field_violations.add(field=violation.field, description=violation.description)
    status.details.add().Pack(details)
    return status


def _pack_refusal(refusal: _Refusal, retry_seconds: int) -> Status:
    status = Status(code=refusal.code, message=refusal.message)
    if refusal.is_retryable:
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=retry_seconds)))
    return status
