"""Every refusal: the exceptions that stand for one, the words that callers read, and the gRPC status.

Single creates, batches, streams and searches all take their refusals from here. The statuses are those of
`google.rpc.Code`; `envoy.yaml` maps them to HTTP.
"""

from collections.abc import Sequence
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

KEY_METADATA = "idempotency-key"
"""The metadata (over HTTP, the header) that carries a create's idempotency key."""

KEY_FIELD = "idempotency_key"

# Error details travel in trailers, of which a client accepts 8 KiB. This many violations fit with room to spare.
MAX_VIOLATIONS = 30
"""The number of violations that a caller is told of."""


class FieldViolation(NamedTuple):
    """One thing wrong with one field."""

    field: str
    """The path of the field in proto names, such as `page_size` or `recording_id[3]`. Empty for the whole request."""
    description: str


class Reporter(NamedTuple):
    """The customer and tool that a refused event names. Neither is checked."""

    customer_id: str = ""
    tool_signature: str = ""


UNKNOWN_REPORTER = Reporter()


class InvalidRequest(Exception):
    """A request that breaks rules, with all the rules that it breaks."""

    def __init__(self, violations: list[FieldViolation], reporter: Reporter = UNKNOWN_REPORTER) -> None:
        super().__init__()
        self.violations = violations
        self.reporter = reporter


class MalformedMessage(Exception):
    """The bytes of a request do not parse as the message that the RPC takes."""


class MessageTooLarge(Exception):
    """A request is larger than its RPC accepts."""


class UnsupportedEncoding(Exception):
    """The body of a request is compressed in a way that is not supported."""


class RequestLate(Exception):
    """The request has not arrived in time. Nothing was done for it."""


class TooManyCalls(Exception):
    """The server has as many calls in flight as it accepts. It did nothing for this one."""


class TooManyWaiting(Exception):
    """The write queue is full. Nothing was stored."""


class DeadlineTooShort(Exception):
    """The write queue is longer than the call's deadline. Nothing was stored."""


class ErasureNotFound(Exception):
    """The customer has no erasure with the id that was asked for."""


class EventNotFound(Exception):
    """The customer has no event with the id that was asked for, or none that the caller may read."""


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

# Of one event of a batch. It says the same whether the customer exists or not.
EVENT_NOT_PERMITTED = FieldViolation("", "PERMISSION_DENIED: these credentials do not allow this event")

EVENT_REFUSED = FieldViolation("", "the database cannot store this event")
KEY_REUSED = FieldViolation(
    KEY_FIELD, "belongs to another event of this customer: send that event again, or use another key"
)
KEY_ERASED = FieldViolation(KEY_FIELD, "belongs to an event that was erased: it cannot be used for 30 days after that")
USER_BLOCKED = FieldViolation("user_id", "is refused: the events of this user were erased, and no more are stored")

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

# In a batch, where one event must not fail the others, this is about a field as well.
KEY_IN_PROGRESS = FieldViolation(KEY_FIELD, "is being written by another call: retry this event")

KEY_WITH_BATCH = FieldViolation(
    KEY_METADATA, "is for a single event: in a batch, each event has its own idempotency_key"
)
KEY_MALFORMED = FieldViolation(KEY_METADATA, "must be at most 255 printable ASCII characters")
KEY_MISMATCH = FieldViolation(KEY_FIELD, "must be equal to the idempotency-key header when both are sent")


NOT_ONE_FILTER = FieldViolation(
    "", "must have exactly one of all_events, user_id, entity_id, older_than_days and created_before"
)
ENTITY_TYPE = FieldViolation("entity_type", "must be lead or contact with entity_id, and absent without")
ERASURE_NOT_JSON = FieldViolation("content-type", "must be application/json on this route")
BLOCK_WITHOUT_USER = FieldViolation("block_later", "is for a user_id")
NOT_A_TIME_TEXT = "must be a time in RFC 3339, such as 2026-01-31T00:00:00Z"
NOT_A_TIME = FieldViolation("created_before", NOT_A_TIME_TEXT)
IN_THE_FUTURE = FieldViolation("created_before", "must not be in the future")

NOT_THIS_TOKEN = FieldViolation(
    "page_token", "is not a token of this list or search: ask for the same as when you were given it"
)
NOT_THIS_RESUME_TOKEN = FieldViolation(
    "resume_token", "is not a token of this stream: ask for the same as when you were given it"
)
SUMMARY_TOO_LONG = FieldViolation("since", "must be at most 400 days before until, which is now unless it is sent")
SUMMARY_TOO_LARGE = FieldViolation("top", "the response is over 16 MiB: ask for fewer groups")
RESUME_TOKEN_TOO_OLD = FieldViolation(
    "resume_token", "is over 24 hours old: list or export what was stored since, and watch anew"
)
PAGE_WITH_TOKEN = FieldViolation("page", "must be absent with a token, which has its own page")

VERSION_INFO_HAS_NUL = "holds U+0000, which the database cannot store"
VERSION_INFO_NOT_FINITE = "holds a number that is not finite"
VERSION_INFO_NOT_SET = "holds a value that is not set"

# Of JSON bodies and of the queries of searches.
NOT_A_STRING = "must be a string"
NOT_AN_OBJECT = "must be a JSON object"
NOT_A_LIST = "must be a list"
NOT_AN_INTEGER = "must be a whole number of at most 32 bits"
NOT_A_BOOLEAN = "must be true or false"
NOT_JSON = "is not valid JSON"
NOT_UTF8 = "is not UTF-8"
GIVEN_TWICE = "is given more than once"
TOO_MANY_PARTS = "is refused, but has too many parts for all its faults to be found"
TOO_DEEP_TO_SPLIT = "nests too deeply for one event to be told from another"
NOT_EXPLAINED = (
    "is refused too, but only the faults of the first refused events are told: send it alone to learn its own"
)
BODY_WITH_SEARCH = FieldViolation("", "must be empty on this route")
TOO_MANY_PARAMETERS = FieldViolation("", "has over 1,000 parameters")
TOO_LARGE = "must be at most 1 MiB, as the body of a single event"
NOT_COMPRESSED = FieldViolation("", "is not one whole stream of the content-encoding that its header names")


def limit_reach(limit: int) -> str:
    """Describe a page that ends after more than `limit` events."""
    return f"times the page size must be at most {limit:,}"


def limit_json_bytes(limit: int) -> str:
    """Describe an object that is longer than `limit` as JSON."""
    return f"must be at most {limit} bytes as JSON"


def limit_depth(limit: int) -> str:
    """Describe an object whose objects and lists nest more than `limit` levels deep."""
    return f"must be at most {limit} levels deep"


def limit_digits(limit: int) -> str:
    """Describe an object with a number that has more than `limit` digits when it is written without an exponent."""
    return f"holds a number of more than {limit} digits when written out"


def describe_unknown(kind: str, nearest: str) -> str:
    """Describe a name that is not known.

    Args:
        kind: what the name should be the name of, such as "field".
        nearest: the known name that is most like it, or "".
    """
    return f"is not a known {kind}" + (f"; did you mean {nearest}?" if nearest else "")


# Of the syntax of JSON: what follows the line and column.
STRING_WITHOUT_END = "the string has no end"
TEXT_NOT_UTF8 = "the text is not UTF-8"
UNMATCHED_BRACKETS = "its brackets do not match"

# What is expected where something else is found.
MATCHING_BRACKETS = "brackets that match"
NAME = "a name in double quotes"
OBJECT = "an object"
COLON = "a colon"
VALUE = "a value"
NOTHING = "nothing after the object"


def describe_malformed(line: int, column: int, fault: str) -> str:
    """Describe text that is not JSON, and where, both counted from 1."""
    return f"is not valid JSON at line {line}, column {column}: {fault}"


def describe_unexpected(expected: str, found: str) -> str:
    """Describe what is found in place of what is expected."""
    return f"expected {expected}, found {found or 'the end'}"


def expect_comma_or(end: str) -> str:
    """Name what may follow in an object or a list that ends with `end`."""
    return f"a comma or {end}"


def describe_last_comma(end: str) -> str:
    """Describe a comma that nothing follows."""
    return f"no comma may stand before {end}"


def describe_no_value(found: str) -> str:
    """Describe what is neither a string, a number, true, false nor null."""
    return f"{found} is not a value"


def describe_no_escape(found: str) -> str:
    """Describe what a backslash may not be followed by."""
    return f"{found} is not an escape"


def describe_half_pair(found: str) -> str:
    """Describe an escape that is no character without another one."""
    return f"{found} is half of a surrogate pair"


def describe_control(character: str) -> str:
    """Describe a control character in a string."""
    return f"the control character U+{ord(character):04X} must be escaped"


def require_one_of(names: Sequence[str]) -> FieldViolation:
    """Return the violation of a request that sends none of these fields."""
    return FieldViolation(names[0], f"one of {' and '.join(names)} is required")


def require_equal(names: Sequence[str]) -> list[FieldViolation]:
    """Return the violations of a request that sends different values in these fields."""
    return [FieldViolation(name, f"{' and '.join(names)} must be equal when both are sent") for name in names]


def find_event_violation(error: Exception) -> FieldViolation | None:
    """Return what is wrong with one event of a batch, or None if `error` fails the whole batch."""
    if isinstance(error, KeyInProgress):
        return KEY_IN_PROGRESS
    return _VIOLATIONS.get(type(error))


def forget_frames(error: BaseException | None) -> None:
    """Let go of the frames that an error has passed through, and with them of the request.

    A frame and the error that has passed it often refer to each other, by way of a future. Only the garbage collector
    would free them, and it looks rarely.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


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
