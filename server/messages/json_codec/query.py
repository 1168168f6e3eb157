"""A search, from the query of its URL to a query of storage."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from google.protobuf.descriptor import FieldDescriptor

from server.messages import wording
from server.messages.compiled_rules import get_field_rules
from server.messages.json_codec.names import find_nearest, print_name
from server.messages.refusals import MAX_VIOLATIONS, FieldViolation, InvalidRequest
from server.messages.search import SearchRequest, to_query
from storage import Query

T = TypeVar("T")

# recording_id[]=a and recording_id[0]=a mean recording_id=a.
_LIST_SUFFIX = re.compile(r"\[[0-9]*\]\Z")
_INTEGER = re.compile(r"[+-]?0*([0-9]{1,10})")
_MAX_INTEGER = 2**31 - 1


class _Parameter(NamedTuple):
    """A parameter that is known."""

    name: str
    """The name of its field."""
    json_name: str
    parse: Callable[[str], Any]
    max_items: int
    """How often it may stand. 0 if it has one value."""


# Twice as many as a search can need. An unknown name takes 30 µs to describe.
_MAX_PARAMETERS = 1_000


class ParameterReader(Generic[T]):
    """The reader of one kind of request that is a URL."""

    def __init__(self, request: Any, convert: Callable[[Any], T], *, ignore_unknown: bool = False) -> None:
        """Compile the reader.

        Args:
            request: the message that the RPC takes.
            convert: returns what such a message asks for, or raises InvalidRequest.
            ignore_unknown: whether parameters that are not known are ignored, in place of refused.

        Raises:
            NotImplementedError: the message has a field that this class does not support.
        """
        descriptor: Any = request.DESCRIPTOR
        self._request = request
        self._convert = convert
        self._ignore_unknown = ignore_unknown
        # As everywhere in the JSON of protobuf, a field may have the name that it has in the proto.
        self._parameters = {
            name: _make_parameter(field) for field in descriptor.fields for name in (field.name, field.json_name)
        }
        self._known = frozenset(field.json_name for field in descriptor.fields)

    def read(self, path: str) -> tuple[T, Sequence[str]]:
        """Return what the URL `path?query` asks for, and the names of the parameters that were ignored.

        Raises:
            InvalidRequest: a parameter is not known, stands twice, or breaks a rule. The violations have the names of
                JSON.
        """
        values: dict[str, Any] = {}
        faults: dict[FieldViolation, None] = {}  # Each once, however often a parameter stands.
        ignored: list[str] = []
        text = path.partition("?")[2]
        if text.count("&") > _MAX_PARAMETERS:
            raise InvalidRequest([wording.TOO_MANY_PARAMETERS])
        for each in text.split("&"):
            name, _, value = each.partition("=")
            parameter = self._parameters.get(name) or self._find_parameter(name)
            if parameter is not None:
                fault = _add(parameter, values, value)
                if fault is not None:
                    faults[fault] = None
            elif each and self._ignore_unknown:
                ignored.append(_try_decode(name))
            elif each and len(faults) < MAX_VIOLATIONS:
                faults[_describe_unknown(_try_decode(name), self._known)] = None
        violations = list(faults)
        request = self._request(**values)
        try:
            wanted = self._convert(request)
        except InvalidRequest as error:
            faulty = {violation.field for violation in violations}
            violations += [each for each in map(self._rename, error.violations) if each.field not in faulty]
        if violations:
            raise InvalidRequest(violations)
        return wanted, ignored

    def _find_parameter(self, raw_name: str) -> _Parameter | None:
        """Return the parameter of a name that is encoded, or written as the name of a list."""
        name = _try_decode(raw_name)
        parameter = self._parameters.get(name)
        if parameter is None and name.endswith("]"):
            parameter = self._parameters.get(_LIST_SUFFIX.sub("", name))
            if parameter is not None and not parameter.max_items:
                return None
        return parameter

    def _rename(self, violation: FieldViolation) -> FieldViolation:
        name, bracket, rest = violation.field.partition("[")
        return violation._replace(field=self._parameters[name].json_name + bracket + rest)


def read_with_id(reader: ParameterReader[T], url: str) -> tuple[T, Sequence[str]]:
    """Return what `reader` reads of the URL `path/id?query`, in which the parameter `id` is part of the path."""
    path, _, query = url.partition("?")
    return reader.read(f"?id={path.rpartition('/')[2].replace('+', '%2B')}&{query}")


def replace_parameter(url: str, name: str, value: str) -> str:
    """Return the URL `path?query` with a parameter that has this value, in place of the one that it may have.

    Args:
        url: the URL.
        name: the name in JSON. The parameter may also have that of the proto.
        value: the value.
    """
    path, _, query = url.partition("?")
    names = {name, re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", name)}
    others = [each for each in query.split("&") if unquote_plus(each.partition("=")[0]) not in names]
    return f"{path}?{'&'.join([*others, f'{name}={quote(value)}'])}"


class QueryReader(ParameterReader[Query]):
    """The reader of one kind of search, which returns queries."""

    def __init__(self, request: type[SearchRequest], entity_type: str, *, ignore_unknown: bool = False) -> None:
        """Compile the reader.

        Args:
            request: the message that the RPC takes.
            entity_type: what it searches for, "lead" or "contact".
            ignore_unknown: whether parameters that are not known are ignored, in place of refused.
        """
        super().__init__(
            request,
            lambda message: to_query(message, entity_type, getattr(message, f"{entity_type}_id")),
            ignore_unknown=ignore_unknown,
        )


def _add(parameter: _Parameter, values: dict[str, Any], raw: str) -> FieldViolation | None:
    """Add the value of a parameter to `values`. Return what is wrong with it, if anything is."""
    name, json_name, parse, max_items = parameter
    if max_items:
        items = values.setdefault(name, [])
        if len(items) > max_items:  # One too many is enough to be refused.
            return None
        json_name = f"{json_name}[{len(items)}]"
        items.append("")
    elif name in values:
        return FieldViolation(json_name, wording.GIVEN_TWICE)
    else:
        values[name] = None
    try:
        value = parse(raw)
    except _Fault as fault:
        return FieldViolation(json_name, fault.description)
    if max_items:
        items[-1] = value
    else:
        values[name] = value
    return None


class _Fault(Exception):
    """A value that is not of the type of its parameter."""

    def __init__(self, description: str) -> None:
        super().__init__()
        self.description = description


KEY_PARAMETER = "key="
"""How the parameter begins by which a page gives its key where it can send no headers."""


def find_keys(path: str) -> list[str]:
    """Return the keys of a caller in the URL `path?query`."""
    parameters = path.partition("?")[2].split("&")
    return [each.removeprefix(KEY_PARAMETER) for each in parameters if each.startswith(KEY_PARAMETER)]


def refuse_parameters(path: str) -> None:
    """Check that the URL of a call that takes a body has no parameters, except one `key`, a publishable one.

    Raises:
        InvalidRequest: it has.
    """
    parameters = [each for each in path.partition("?")[2].split("&") if each]
    if not parameters:
        return
    others = [each for each in parameters if not each.startswith(f"{KEY_PARAMETER}pk_")]
    faults = [_describe_unknown(_try_decode(each.partition("=")[0]), frozenset()) for each in others[:MAX_VIOLATIONS]]
    if len(parameters) - len(others) > 1:
        faults.append(FieldViolation(KEY_PARAMETER.removesuffix("="), wording.GIVEN_TWICE))
    if faults:
        raise InvalidRequest(faults)


def _describe_unknown(name: str, known: frozenset[str]) -> FieldViolation:
    # A parameter without a name is shown as what is there of it.
    return FieldViolation(print_name(name) or "=", wording.describe_unknown("parameter", find_nearest(name, known)))


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
        raise _Fault(wording.NOT_UTF8) from None


def _parse_boolean(raw: str) -> bool:
    text = _parse_text(raw)
    if text not in ("true", "false"):
        raise _Fault(wording.NOT_A_BOOLEAN)
    return text == "true"


def _parse_integer(raw: str) -> int:
    text = _parse_text(raw)
    match = _INTEGER.fullmatch(text)
    if match is None or int(match[1]) > _MAX_INTEGER:
        raise _Fault(wording.NOT_AN_INTEGER)
    return -int(match[1]) if text.startswith("-") else int(match[1])


_PARSERS: dict[int, Callable[[str], Any]] = {
    FieldDescriptor.TYPE_STRING: _parse_text,
    FieldDescriptor.TYPE_BOOL: _parse_boolean,
    FieldDescriptor.TYPE_INT32: _parse_integer,
}


def _make_parameter(field: FieldDescriptor) -> _Parameter:
    if field.type not in _PARSERS or (field.is_repeated and field.type != FieldDescriptor.TYPE_STRING):
        raise NotImplementedError(f"{field.full_name}: a type of parameter that is not supported")
    max_items = get_field_rules(field).repeated.max_items
    if field.is_repeated and not max_items:
        raise NotImplementedError(f"{field.full_name}: a list without a limit is not supported")
    return _Parameter(field.name, field.json_name, _PARSERS[field.type], max_items)
