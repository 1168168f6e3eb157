"""Requests against the rules of the protos."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.message import Message
from protovalidate import Validator

from server.messages.compiled_rules import message_rules

_validator = Validator()


class FieldViolation(NamedTuple):
    """One thing wrong with one field."""

    field: str
    """The path of the field in proto names, such as `page_size` or `recording_id[3]`."""
    description: str


class InvalidRequest(Exception):
    """A request breaks the rules: all of them that it breaks."""

    def __init__(self, violations: list[FieldViolation]) -> None:
        super().__init__()
        self.violations = violations


def violations_of(request: Message) -> list[FieldViolation]:
    """All that is wrong with `request` by its `buf.validate` annotations. Costs about 8 µs for a create."""
    found = _validator.collect_violations(request)
    return [each for violation in found for each in _translate(request, violation.proto)] if found else []


def check(request: Message) -> None:
    """Raises InvalidRequest if `request` breaks a rule."""
    if violations := violations_of(request):
        raise InvalidRequest(violations)


def _translate(request: Message, violation: Any) -> Iterator[FieldViolation]:
    if violation.field is None:
        yield from _translate_oneof(request)
        return
    path = ""
    for element in violation.field.elements:
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    yield FieldViolation(path, violation.message)


def _translate_oneof(request: Message) -> Iterator[FieldViolation]:
    """A broken rule over several fields, which protovalidate reports with no field at all: names the fields at fault.

    The only such rules here are of the kind "one of two names of the entity".
    """
    message: Any = request.DESCRIPTOR
    for rule in message_rules(message).oneof:
        sent = [name for name in rule.fields if getattr(request, name)]
        if not sent:
            yield FieldViolation(rule.fields[0], f"one of {' and '.join(rule.fields)} is required")
        elif len(sent) > 1:
            for name in sent:
                yield FieldViolation(name, f"{' and '.join(sent)} must be equal when both are sent")
