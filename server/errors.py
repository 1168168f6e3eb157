"""Exceptions to statuses, in one table. Whatever is not in it is a bug: INTERNAL, and a traceback in the log."""

import logging
from typing import NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from server.validation import FieldViolation, InvalidRequest
from storage import DatabaseUnavailable, EventRefused, PageTooLarge, QueueFull, SearchTimedOut

log = logging.getLogger(__name__)

# Set by envoy.yaml on what it has made of JSON: that caller knows the JSON names of the fields.
FROM_JSON = "x-from-json"

# The details of an error travel in trailers, of which a client takes 8 KiB: this many violations fit with room to
# spare, and only the items of `recording_id` can be more.
_MAX_VIOLATIONS = 30

_RETRY_AFTER_SECONDS = 1


class MalformedMessage(Exception):
    """The bytes of a request are not the message that the RPC takes."""


class _Refusal(NamedTuple):
    code: grpc.StatusCode
    message: str
    retry: bool = False


_TABLE: dict[type[Exception], _Refusal] = {
    MalformedMessage: _Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the request is not a message of the expected type"),
    EventRefused: _Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the database cannot store this event"),
    SearchTimedOut: _Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the search took too long"),
    QueueFull: _Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are waiting", retry=True),
    DatabaseUnavailable: _Refusal(grpc.StatusCode.UNAVAILABLE, "the database cannot be reached", retry=True),
}
_BUG = _Refusal(grpc.StatusCode.INTERNAL, "internal error")


async def abort(context: "grpc.aio.ServicerContext[object, object]", error: Exception, request: Descriptor) -> NoReturn:
    """Ends the RPC with the status that stands for `error`.

    Args:
        context: of the RPC.
        error: what its servicer raised.
        request: the type of its request, which knows the names of the fields.
    """
    violations = _violations(error)
    if violations:
        if any(key == FROM_JSON for key, _ in context.invocation_metadata() or ()):
            violations = [FieldViolation(_json_path(request, path), text) for path, text in violations]
        await _abort(context, _invalid(violations), _bad_request(violations))
    refusal = _TABLE.get(type(error), _BUG)
    if refusal is _BUG:
        log.error("unexpected error", exc_info=error, extra={"request": request.full_name})
    if refusal.retry:
        await _abort(context, refusal, RetryInfo(retry_delay=Duration(seconds=_RETRY_AFTER_SECONDS)))
    await _abort(context, refusal)


def _violations(error: Exception) -> list[FieldViolation]:
    match error:
        case InvalidRequest():
            return error.violations
        case PageTooLarge():
            return [FieldViolation("page_size", "the page is over 16 MiB as JSON: ask for fewer events at a time")]
        case _:
            return []


def _json_path(request: Descriptor, path: str) -> str:
    """`page_size` as JSON callers write it: pageSize. What follows the first name, as in `recording_id[3]`, stays."""
    name = path.partition("[")[0]
    return request.fields_by_name[name].json_name + path[len(name) :]


def _invalid(violations: list[FieldViolation]) -> _Refusal:
    names = ", ".join(dict.fromkeys(violation.field for violation in violations[:_MAX_VIOLATIONS]))
    return _Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"invalid request: {names}")


def _bad_request(violations: list[FieldViolation]) -> BadRequest:
    details = BadRequest()
    for violation in violations[:_MAX_VIOLATIONS]:
        details.field_violations.add(field=violation.field, description=violation.description)
    return details


async def _abort(
    context: "grpc.aio.ServicerContext[object, object]",
    refusal: _Refusal,
    details: BadRequest | RetryInfo | None = None,
) -> NoReturn:
    status = Status(code=refusal.code.value[0], message=refusal.message)
    if details is not None:
        packed = AnyMessage()
        packed.Pack(details)
        status.details.append(packed)
    metadata: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if refusal.retry:
        metadata.append(("retry-after", str(_RETRY_AFTER_SECONDS)))
    await context.abort(refusal.code, refusal.message, tuple(metadata))
    raise AssertionError("abort() returned")
