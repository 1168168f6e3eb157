"""`google.rpc.Status` as JSON, with its details, in the form that callers of JSON get for every refusal."""

from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

_encode = msgspec.json.Encoder().encode


def format_status(status: Status) -> bytes:
    """Return a status as JSON."""
    details = [_format_detail(detail) for detail in status.details]
    return _encode({"code": status.code, "message": status.message, "details": details})


def _format_detail(detail: AnyMessage) -> dict[str, Any]:
    for kind, to_fields in _DETAILS.items():
        if detail.Is(kind.DESCRIPTOR):
            return {"@type": detail.type_url, **to_fields(kind.FromString(detail.value))}
    printed: dict[str, Any] = MessageToDict(detail)
    return printed


def _list_violations(details: Any) -> dict[str, Any]:
    return {
        "fieldViolations": [
            {"field": violation.field, "description": violation.description} for violation in details.field_violations
        ]
    }


def _show_delay(details: Any) -> dict[str, Any]:
    return {"retryDelay": details.retry_delay.ToJsonString()}


_DETAILS: dict[Any, Callable[[Any], dict[str, Any]]] = {BadRequest: _list_violations, RetryInfo: _show_delay}
