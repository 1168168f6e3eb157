"""A search, from the query of its URL to a query of storage."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import FieldDescriptor

from server.messages import refusals
from server.messages.compiled_rules import get_field_rules
from server.messages.convert import SearchRequest, to_query
from server.messages.json_codec.names import find_nearest, print_name
from server.messages.refusals import MAX_VIOLATIONS, FieldViolation, InvalidRequest
from storage import Query

# recording_id[]=a and recording_id[0]=a mean recording_id=a.
_LIST_SUFFIX = re.compile(r"\[[0-9]*\]\Z")
_INTEGER = re.compile(r"[+-]?0*([0-9]{1,10})")
_MAX_INTEGER = 2**31 - 1


class ReadQuery(NamedTuple):
    """What a URL asks to find."""

    query: Query
    ignored: Sequence[str]
    """The names of its parameters that are not known, if these are ignored."""


class QueryReader:
    """The reader of one kind of search."""

    def __init__(self, request: type[SearchRequest], entity_type: str, *, ignore_unknown: bool = False) -> None:
        """Compile the reader.

        Args:
            request: the message that the RPC takes.
            entity_type: what it searches for, "lead" or "contact".
            ignore_unknown: whether parameters that are not known are ignored, in place of refused.

        Raises:
            NotImplementedError: the message has a field that this class does not support.
        """
        descriptor: Any = request.DESCRIPTOR
        self._request: Any = request
        self._entity_type = entity_type
        self._ignore_unknown = ignore_unknown
        self._fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
        self._parsers = {field.name: _find_parser(field) for field in descriptor.fields}
        self._known = frozenset(field.json_name for field in descriptor.fields)
        self._max_items = {
            field.name: get_field_rules(field).repeated.max_items for field in descriptor.fields if field.is_repeated
        }

    def read(self, path: str) -> ReadQuery:
        """Return the query that the URL `path?query` asks for.

        Raises:
            InvalidRequest: a parameter is not known, stands twice, or breaks a rule. The violations have the names of
                JSON.
        """
        values: dict[str, Any] = {}
        violations: list[FieldViolation] = []
        ignored: list[str] = []
        for raw_name, raw_value in _split(path):
            name, field = self._find_field(raw_name)
            if field is None:
                if self._ignore_unknown:
                    ignored.append(name)
                elif len(violations) < MAX_VIOLATIONS:
                    violations.append(_describe_unknown(name, self._known))
                continue
            try:
                self._add(field, values, raw_value)
            except _Fault as fault:
                if len(violations) < MAX_VIOLATIONS:
                    index = f"[{len(values[field.name])}]" if field.is_repeated else ""
                    violations.append(FieldViolation(field.json_name + index, fault.description))
        faulty = {violation.field for violation in violations}
        request = self._request(**values)
        entity_id = getattr(request, f"{self._entity_type}_id")
        try:
            query = to_query(request, self._entity_type, entity_id)
        except InvalidRequest as error:
            violations += [each for each in map(self._rename, error.violations) if each.field not in faulty]
        if violations:
            raise InvalidRequest(violations)
        return ReadQuery(query, ignored)

    def _find_field(self, raw_name: str) -> tuple[str, FieldDescriptor | None]:
        """Return the decoded name of a parameter, and its field, or None if it is not known."""
        try:
            name = _decode(raw_name)
        except UnicodeDecodeError:
            return raw_name, None
        field = self._fields.get(name)
        if field is None and name.endswith("]"):
            field = self._fields.get(_LIST_SUFFIX.sub("", name))
            if field is not None and not field.is_repeated:
                field = None
        return name, field

    def _add(self, field: FieldDescriptor, values: dict[str, Any], raw_value: str) -> None:
        """Add the value of a parameter to `values`. Raise _Fault if it is not one of its type."""
        if field.is_repeated:
            items = values.setdefault(field.name, [])
            if len(items) <= self._max_items[field.name]:  # One too many is enough to be refused.
                items.append(self._parsers[field.name](raw_value))
        elif field.name in values:
            raise _Fault(refusals.GIVEN_TWICE)
        else:
            values[field.name] = None  # What is given twice is found even if the first is at fault.
            values[field.name] = self._parsers[field.name](raw_value)

    def _rename(self, violation: FieldViolation) -> FieldViolation:
        name, bracket, rest = violation.field.partition("[")
        return violation._replace(field=self._fields[name].json_name + bracket + rest)


class _Fault(Exception):
    """A value that is not of the type of its parameter."""

    def __init__(self, description: str) -> None:
        super().__init__()
        self.description = description


def refuse_parameters(path: str) -> None:
    """Check that the URL of a call that takes a body has no parameters.

    Raises:
        InvalidRequest: it has.
    """
    if "?" in path:
        names = [_try_decode(name) for name, _ in _split(path)[:MAX_VIOLATIONS]]
        if names:
            raise InvalidRequest([_describe_unknown(name, frozenset()) for name in names])


def _split(path: str) -> list[tuple[str, str]]:
    """Return the parameters of a URL as they are written, without those that are nothing."""
    query = path.partition("?")[2]
    return [(name, value) for name, _, value in (each.partition("=") for each in query.split("&") if each)]


def _describe_unknown(name: str, known: frozenset[str]) -> FieldViolation:
    # A parameter without a name is shown as what is there of it.
    return FieldViolation(print_name(name) or "=", refusals.describe_unknown("parameter", find_nearest(name, known)))


def _decode(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote_to_bytes(text).decode() if "%" in text or not text.isascii() else text


def _try_decode(name: str) -> str:
    try:
        return _decode(name)
    except UnicodeDecodeError:
        return name


def _parse_text(raw: str) -> str:
    try:
        return _decode(raw)
    except UnicodeDecodeError:
        raise _Fault(refusals.NOT_UTF8) from None


def _parse_boolean(raw: str) -> bool:
    text = _parse_text(raw)
    if text not in ("true", "false"):
        raise _Fault(refusals.NOT_A_BOOLEAN)
    return text == "true"


def _parse_integer(raw: str) -> int:
    text = _parse_text(raw)
    match = _INTEGER.fullmatch(text)
    if match is None or int(match[1]) > _MAX_INTEGER:
        raise _Fault(refusals.NOT_AN_INTEGER)
    return -int(match[1]) if text.startswith("-") else int(match[1])


_PARSERS: dict[int, Callable[[str], Any]] = {
    FieldDescriptor.TYPE_STRING: _parse_text,
    FieldDescriptor.TYPE_BOOL: _parse_boolean,
    FieldDescriptor.TYPE_INT32: _parse_integer,
}


def _find_parser(field: FieldDescriptor) -> Callable[[str], Any]:
    if field.type not in _PARSERS or (field.is_repeated and field.type != FieldDescriptor.TYPE_STRING):
        raise NotImplementedError(f"{field.full_name}: a type of parameter that is not supported")
    return _PARSERS[field.type]
