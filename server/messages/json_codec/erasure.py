"""What callers of JSON send about erasures: the body of one that begins, and the URL that asks for a receipt.

Erasures are rare, so their bodies are read by the walk through JSON that finds every fault. Fields that are not known
are refused even where `UNKNOWN_FIELDS=ignore` lets others pass: a filter that is misspelt must not erase more.
"""

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from data_analytics.v1.analytics_event_service_pb2 import EraseAnalyticsEventsRequest, GetErasureRequest
from server.messages import wording
from server.messages.erasure import to_erasure, to_receipt_id
from server.messages.json_codec.create import strip_bom
from server.messages.json_codec.names import Path, find_nearest, print_path
from server.messages.json_codec.places import Place
from server.messages.json_codec.query import ParameterReader, read_with_id
from server.messages.json_codec.tokens import is_scalar
from server.messages.json_codec.walk import Budget, Exhausted, Stop, Walker
from server.messages.refusals import FieldViolation, InvalidRequest
from storage import Erasure

# More than any request that keeps the limits takes.
_MAX_TOKENS = 2_000

_REQUEST: Any = EraseAnalyticsEventsRequest
_FIELDS: dict[str, FieldDescriptor] = {field.json_name: field for field in _REQUEST.DESCRIPTOR.fields}
_KNOWN = frozenset(_FIELDS)
# 7.0 is an integer, as JSON Schema and protobuf have it.
_INTEGER = re.compile(r"(-?(?:0|[1-9][0-9]{0,9}))(?:\.0{1,20})?")
_MAX_INTEGER = 2**31 - 1

_receipt_reader = ParameterReader(GetErasureRequest, to_receipt_id)


def read_erasure(body: bytes) -> Erasure:
    """Return what a body asks to erase.

    Raises:
        InvalidRequest: the body is not JSON, or breaks a rule.
    """
    walker = Walker(strip_bom(body).decode("utf-8", "surrogateescape"), Place(1, 1), Budget(_MAX_TOKENS))
    values: dict[str, Any] = {}
    try:
        _read_members(walker, values)
    except Stop:
        pass
    except Exhausted:
        walker.faults.append((None, wording.TOO_MANY_PARTS))
    if walker.faults:
        raise InvalidRequest([FieldViolation(print_path(path), text) for path, text in walker.faults])
    return to_erasure(_REQUEST(**values))


def read_receipt_id(url: str) -> tuple[str, str]:
    """Return the customer and the id of the receipt that a URL asks for.

    Raises:
        InvalidRequest: a parameter is not known, stands twice, or breaks a rule.
    """
    ids, _ = read_with_id(_receipt_reader, url)
    return ids


def _read_members(walker: Walker, values: dict[str, Any]) -> None:
    if walker.peek() != "{":
        walker.add(None, wording.NOT_AN_OBJECT)
        return
    for name, path in walker.read_members(None):
        field = _FIELDS.get(name or "")
        if field is not None:
            value = _READERS[field.type](walker, path)
            if value is not None:
                values[field.name] = value
        else:
            if name is not None:
                walker.add(path, wording.describe_unknown("field", find_nearest(name, _KNOWN)))
            _pass_value(walker, path)
    if walker.peek():
        walker.stop(None, wording.NOTHING)


def _read_text(walker: Walker, path: Path) -> str | None:
    if walker.peek() == '"':
        return walker.read_string(path)
    _refuse_unless_null(walker, path, wording.NOT_A_STRING)
    return None


def _read_boolean(walker: Walker, path: Path) -> bool | None:
    if walker.peek() and walker.match_scalar() in ("true", "false"):
        return walker.read_scalar(path) == "true"
    _refuse_unless_null(walker, path, wording.NOT_A_BOOLEAN)
    return None


def _read_integer(walker: Walker, path: Path) -> int | None:
    walker.peek()
    scalar = walker.match_scalar()
    match = _INTEGER.fullmatch(scalar)
    if match is not None and abs(int(match[1])) <= _MAX_INTEGER:
        walker.read_scalar(path)
        return int(match[1])
    _refuse_unless_null(walker, path, wording.NOT_AN_INTEGER)
    return None


_READERS: dict[int, Callable[[Walker, Path], Any]] = {
    FieldDescriptor.TYPE_STRING: _read_text,
    FieldDescriptor.TYPE_BOOL: _read_boolean,
    FieldDescriptor.TYPE_INT32: _read_integer,
}


def _refuse_unless_null(walker: Walker, path: Path, description: str) -> None:
    """Pass a value that is not of its field's type: null is the same as an absent field, and any other is a fault."""
    is_value = walker.peek() in ('"', "{", "[") or is_scalar(walker.match_scalar())
    if is_value and walker.match_scalar() != "null":
        walker.add(path, description)
    _pass_value(walker, path)


def _pass_value(walker: Walker, path: Path) -> None:
    first = walker.peek()
    if first == '"':
        walker.read_string(path)
    elif first in ("{", "["):
        walker.pass_brackets(path)
    else:
        walker.read_scalar(path)
