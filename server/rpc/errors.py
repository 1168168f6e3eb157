"""Exceptions to statuses, in one table. Whatever is not in it is a bug: INTERNAL, and a traceback in the log."""

import logging
from typing import Any, NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from server.ingest.batch import NOT_STORABLE
from server.messages.validation import FieldViolation, InvalidRequest
from storage import (
    DatabaseUnavailable,
    EventRefused,
    KeyInProgress,
    PageTooLarge,
    QueueFull,
    SearchTimedOut,
    WriteFailed,
)

log = logging.getLogger(__name__)

# Set by envoy.yaml on what it has made of JSON: that caller knows the JSON names of the fields.
FROM_JSON = "x-from-json"

# Set by Envoy, which tells it to the caller and to its own log too.
REQUEST_ID = "x-request-id"

# The details of an error travel in trailers, of which a client takes 8 KiB: this many violations fit with room to
# spare, and only the items of `recording_id` can be more.
_MAX_VIOLATIONS = 30

_RETRY_AFTER_SECONDS = 1


class MalformedMessage(Exception):
    """The bytes of a request are not the message that the RPC takes."""


class MessageTooLarge(Exception):
    """A request is larger than its RPC takes."""


class TooManyCalls(Exception):
    """The server works on as many calls as it may. Nothing was done for this one."""


class TooSlow(Exception):
    """The call would not be answered before its deadline. Nothing was done for it."""


class _Refusal(NamedTuple):
    code: grpc.StatusCode
    message: str
    retry: bool = False


_TABLE: dict[type[Exception], _Refusal] = {
    MessageTooLarge: _Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "the request is over 1 MiB, or 8 MiB for a batch"),
    SearchTimedOut: _Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the search took too long"),
    QueueFull: _Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are waiting", retry=True),
    KeyInProgress: _Refusal(
        grpc.StatusCode.ABORTED, "an event with this idempotency key is being processed", retry=True
    ),
    TooManyCalls: _Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are under way", retry=True),
    TooSlow: _Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "there is no time for this request", retry=True),
    DatabaseUnavailable: _Refusal(grpc.StatusCode.UNAVAILABLE, "the database cannot be reached", retry=True),
    # Logged by storage, once for all the callers of a batch.
    WriteFailed: _Refusal(grpc.StatusCode.INTERNAL, "internal error"),
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_BUG = _Refusal(grpc.StatusCode.INTERNAL, "internal error")


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", error: Exception, request: Descriptor) -> NoReturn:
    """Ends the RPC with the status that stands for `error`.

    Args:
        context: of the RPC.
        error: what its servicer raised.
        request: the type of its request, which knows the names of the fields.
    """
    sent = dict(context.invocation_metadata() or ())
    status = status_of(error, request, from_json=FROM_JSON in sent, request_id=str(sent.get(REQUEST_ID, "")))
    metadata: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details):
        metadata.append(("retry-after", str(_RETRY_AFTER_SECONDS)))
    await context.abort(_CODES[status.code], status.message, tuple(metadata))
    raise AssertionError("abort() returned")


def is_from_json(context: "grpc.aio.ServicerContext[Any, Any]") -> bool:
    """Whether Envoy made the request of JSON."""
    return any(key == FROM_JSON for key, _ in context.invocation_metadata() or ())


def status_of(error: Exception, request: Descriptor, *, from_json: bool = False, request_id: str = "") -> Status:
    """The status that stands for `error`; one that is a bug is logged. `request` is as in `abort`.

    Args:
        error: what a servicer raised.
        request: the type of the request, which knows the names of the fields.
        from_json: whether the caller knows fields by their JSON names.
        request_id: what the log is to call the request.
    """
    if violations := _violations(error)[:_MAX_VIOLATIONS]:
        if from_json:
            violations = [FieldViolation(_json_path(request, path), text) for path, text in violations]
        names = ", ".join(dict.fromkeys(violation.field for violation in violations))
        return _status(
            _Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"invalid request: {names}".removesuffix(": ")),
            _bad_request(violations),
        )
    refusal = _TABLE.get(type(error), _BUG)
    if refusal is _BUG:
        log.error("unexpected error", exc_info=error, extra={"request": request.full_name, "request_id": request_id})
    if refusal.retry:
        return _status(refusal, RetryInfo(retry_delay=Duration(seconds=_RETRY_AFTER_SECONDS)))
    return _status(refusal)


def _violations(error: Exception) -> list[FieldViolation]:
    match error:
        case InvalidRequest():
            return error.violations
        case MalformedMessage():
            return [FieldViolation("", "is not a message of the expected type, or nests too deeply")]
        case EventRefused():
            return [FieldViolation("", NOT_STORABLE)]
        case PageTooLarge():
            return [FieldViolation("page_size", "the page is over 16 MiB as JSON: ask for fewer events at a time")]
        case _:
            return []


def _json_path(request: Descriptor, path: str) -> str:
    """`page_size` as JSON callers write it: pageSize. What follows the first name, as in `recording_id[3]`, stays."""
    name = path.partition("[")[0]
    # The whole body has no name, and a header keeps its own.
    field = request.fields_by_name.get(name)
    return field.json_name + path[len(name) :] if field else path


def _bad_request(violations: list[FieldViolation]) -> BadRequest:
    details = BadRequest()
    for violation in violations:
        details.field_violations.add(field=violation.field, description=violation.description)
    return details


def _status(refusal: _Refusal, details: BadRequest | RetryInfo | None = None) -> Status:
    status = Status(code=refusal.code.value[0], message=refusal.message)
    if details is not None:
        status.details.add().Pack(details)
    return status
