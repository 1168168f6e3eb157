"""What is kept of a refusal: the names of fields and the rules that they break, and nothing that a caller sent in them.

A refusal that its caller gets may quote the caller: the name of an unknown field, a key of an object, a few characters
of text that is not JSON. Here all of that is left out.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest

from data_analytics.v1.analytics_event_service_pb2 import DESCRIPTOR as ANALYTICS_EVENT_SERVICE
from data_analytics.v1.contact_analytics_service_pb2 import DESCRIPTOR as CONTACT_ANALYTICS_SERVICE
from data_analytics.v1.lead_analytics_service_pb2 import DESCRIPTOR as LEAD_ANALYTICS_SERVICE
from server.access.caller import Unauthenticated
from server.messages.json_codec.query import KEY_PARAMETER
from server.messages.refusals import KEY_METADATA, MAX_VIOLATIONS, FieldViolation
from server.messages.statuses import make_status
from server.messages.wording import (
    EVENT_NOT_PERMITTED,
    KEY_IN_PROGRESS,
    NOT_JSON,
    STRING_WITHOUT_END,
    TEXT_NOT_UTF8,
    UNMATCHED_BRACKETS,
    describe_half_pair,
    describe_last_comma,
    describe_no_escape,
    describe_no_value,
)
from storage import DatabaseUnavailable

UNKNOWN_FIELD = "?"
"""Stands for the name of a field that is not known."""

_MAX_CHARACTERS = 2_000

_SERVICES: list[Any] = [
    service
    for file in (ANALYTICS_EVENT_SERVICE, LEAD_ANALYTICS_SERVICE, CONTACT_ANALYTICS_SERVICE)
    for service in file.services_by_name.values()
]
_FIELDS = [field for service in _SERVICES for method in service.methods for field in method.input_type.fields]
_KNOWN = {"", KEY_METADATA, KEY_PARAMETER.removesuffix("="), *[name for f in _FIELDS for name in (f.name, f.json_name)]}
_NAME = re.compile(r"[^.\[]*")

_MALFORMED = re.compile(rf"({NOT_JSON} at line \d+, column \d+)(: .*)?", re.DOTALL)
_EXPECTED = re.compile(r": expected ([^,]+), found .*", re.DOTALL)
# What follows the place in a text that is not JSON, if it quotes nothing.
_FAULTS = {
    f": {fault}"
    for fault in (STRING_WITHOUT_END, TEXT_NOT_UTF8, UNMATCHED_BRACKETS, *map(describe_last_comma, ("}", "]")))
}
# How it ends, if it begins with what was found.
_ENDINGS = tuple(describe("").strip() for describe in (describe_no_value, describe_no_escape, describe_half_pair))


class Fault(NamedTuple):
    """What was wrong with a request."""

    code: str
    """The name of the status."""
    violations: list[FieldViolation]


def is_about_request(error: Exception) -> bool:
    """Return whether a refusal says anything about the request: not without credentials, nor without a database."""
    return not isinstance(error, Unauthenticated | DatabaseUnavailable)


def find_fault(error: Exception) -> Fault:
    """Return what is kept of the refusal of a request."""
    status = make_status(error, Empty.DESCRIPTOR)
    details = BadRequest()
    found = next((details.field_violations for detail in status.details if detail.Unpack(details)), ())
    violations = [FieldViolation(each.field, each.description) for each in found]
    return Fault(code_pb2.Code.Name(status.code), strip(violations or [FieldViolation("", status.message)]))


def find_event_fault(violations: Sequence[FieldViolation]) -> Fault:
    """Return what is kept of the refusal of one event of a batch or chunk."""
    code = _EVENT_CODES.get(violations[0], code_pb2.INVALID_ARGUMENT)
    return Fault(code_pb2.Code.Name(code), strip(violations))


_EVENT_CODES = {EVENT_NOT_PERMITTED: code_pb2.PERMISSION_DENIED, KEY_IN_PROGRESS: code_pb2.ABORTED}


def strip(violations: Sequence[FieldViolation]) -> list[FieldViolation]:
    """Return the violations without anything that a caller sent, each once, as far as there is room for them."""
    stripped: dict[FieldViolation, None] = {}
    room = _MAX_CHARACTERS
    for field, description in violations[:MAX_VIOLATIONS]:
        violation = FieldViolation(_strip_field(field), _strip_description(description))
        room -= len(violation.field) + len(violation.description)
        if room < 0:
            break
        stripped[violation] = None
    return list(stripped)


def format_violations(violations: Sequence[FieldViolation]) -> str:
    """Return violations as JSON, as they are stored."""
    return msgspec.json.encode([violation._asdict() for violation in violations]).decode()


def _strip_field(path: str) -> str:
    """Return the name of the field that a path leads into: what follows may be keys of the caller's."""
    match = _NAME.match(path)
    assert match is not None
    return match[0] if match[0] in _KNOWN else UNKNOWN_FIELD


def _strip_description(description: str) -> str:
    description = description.replace("\0", "U+0000")  # The rule names it. The database cannot store it.
    match = _MALFORMED.fullmatch(description)
    if match is None or match[2] is None or match[2] in _FAULTS:
        return description
    if expected := _EXPECTED.fullmatch(match[2]):
        return f"{match[1]}: expected {expected[1]}"
    ending = next((ending for ending in _ENDINGS if match[2].endswith(ending)), "")
    return f"{match[1]}: what is there {ending}" if ending else match[1]
