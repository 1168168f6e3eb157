"""Strategies for anything that a gRPC caller can send: valid and invalid creates of all kinds, and their bytes."""

import uuid
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from data_analytics.v1.contact_analytics_service_pb2 import CreateContactAnalyticsEventRequest
from data_analytics.v1.lead_analytics_service_pb2 import CreateLeadAnalyticsEventRequest
from tests.support.contract import LIMITS, MAX_JSON

KINDS = (CreateAnalyticsEventRequest, CreateLeadAnalyticsEventRequest, CreateContactAnalyticsEventRequest)

# What COPY, SQL, JSON, C or terminals treat specially; right-to-left, combining, non-characters, astral planes.
TROUBLE = (
    *(
        "\\",
        "\\.",
        "\\N",
        "\\x00",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\b",
        "\x1a",
        "\x7f",
        "\x85",
        "'",
        '"',
        "`",
        "%s",
        "%(a)s",
    ),
    *(
        "$1",
        ";--",
        "{}",
        "NULL",
        "\\u0000",
        "\u2028",
        "\u202e\u05d0\u0661",
        "e\u0301\u0323",
        "\u200d",
        "\ufeff",
        "\ufffe",
    ),
    *("\uffff", "\U0001f469\u200d\U0001f680", "\U000e0001", "\U0010ffff", " ", "\u00a0", "\u00df\u0130\u03c2"),
)
_PIECES = st.sampled_from(TROUBLE) | st.characters(codec="utf-8", exclude_characters="\0")
_TEXT = st.lists(_PIECES, max_size=6).map("".join)
_SOME_TEXT = st.lists(_PIECES, min_size=1, max_size=6).map("".join)
_NUL = st.tuples(_TEXT, _TEXT).map("\0".join)


def _valid_text(limit: int) -> st.SearchStrategy[str]:
    longest = st.sampled_from(("x", "\\", "\t", "é", "\U0001f600")).map(lambda character: character * limit)
    return st.one_of(_SOME_TEXT, _SOME_TEXT, _SOME_TEXT, longest)


def _any_text(limit: int) -> st.SearchStrategy[str]:
    return st.one_of(
        _valid_text(limit), st.just(""), _NUL, _valid_text(limit + 1), st.sampled_from(("lead", "contact"))
    )


# None of these takes more digits than the limit: at most 91 before the point, or 86 after it.
FLOATS = st.floats(-1e90, 1e90).map(lambda number: number if abs(number) > 1e-70 else 0.0)
_VALID_NUMBERS = FLOATS | st.integers(-(2**60), 2**60).map(float)
_SCALARS = st.one_of(
    _TEXT.map(lambda text: Value(string_value=text)),
    _VALID_NUMBERS.map(lambda number: Value(number_value=number)),
    st.booleans().map(lambda truth: Value(bool_value=truth)),
    st.just(Value(null_value=0)),  # type: ignore[arg-type] # the stub wants the enum, the message takes its number
)
_INVALID = st.one_of(
    _NUL.map(lambda text: Value(string_value=text)),
    _NUL.map(lambda key: Value(struct_value=Struct(fields={key: Value(bool_value=True)}))),
    st.sampled_from((float("nan"), float("inf"), float("-inf"), 1e100, -5e-324)).map(
        lambda number: Value(number_value=number)
    ),
    st.just(Value()),
)


def _list(values: list[Value]) -> Value:
    return Value(list_value=ListValue(values=values))


def _object(fields: dict[str, Value]) -> Value:
    return Value(struct_value=Struct(fields=fields))


def _values(leaves: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3).map(_list) | st.dictionaries(_TEXT, inner, max_size=3).map(_object),
        max_leaves=6,
    )


def _nested(levels: int, kinds: str) -> Struct:
    """Nest `levels` objects (o) and lists (l), in the order of `kinds` from within."""
    value = Value(bool_value=True)
    for level in range(levels - 1):
        value = _object({"a": value}) if kinds[level % len(kinds)] == "o" else _list([value])
    return Struct(fields={"a": value})


def _of_size(size: int, filling: str) -> Struct:
    """Return an object of `size` bytes as JSON, or one byte less: 8 of them surround the filling."""
    if filling == "0":
        return Struct(fields={"a" * (1 + size % 2): _list([Value(number_value=0)] * ((size - 6 - size % 2) // 2))})
    return Struct(fields={"a": Value(string_value=filling * ((size - 8) // len(filling.encode())))})


_SMALL = st.dictionaries(_TEXT, _values(_SCALARS), max_size=3).map(lambda fields: Struct(fields=fields))
_WITH_INVALID = st.dictionaries(_TEXT, _values(_SCALARS | _INVALID), min_size=1, max_size=3).map(
    lambda each: Struct(fields=each)
)
_DEEP = st.builds(_nested, st.integers(15, 33), st.sampled_from(("o", "l", "ol", "ool")))
_LARGE = st.builds(_of_size, st.integers(MAX_JSON - 3, MAX_JSON + 3), st.sampled_from(("x", "é", "0")))
_WIDE = st.integers(500, 2_000).map(lambda count: Struct(fields={f"k{n}": Value(number_value=n) for n in range(count)}))
_VERSION_INFOS = st.one_of(st.none(), _SMALL, _SMALL, _WITH_INVALID, _DEEP, _LARGE, _WIDE)


@st.composite
def creates(draw: st.DrawFn, kinds: tuple[Any, ...] = KINDS) -> Any:
    """Draw a create that is valid, except that up to two of its fields may hold anything."""
    kind = draw(st.sampled_from(kinds))
    names = {field.name for field in kind.DESCRIPTOR.fields} - {"version_info"}
    own = {"lead_id", "contact_id"} & names
    entity = draw(st.sampled_from(sorted({"entity_id", *own})))
    chosen = {"customer_id", "user_id", "recording_id", "event_type", entity}
    chosen |= draw(st.sets(st.sampled_from(sorted(names - own - {"entity_id", "entity_type"})), max_size=4))
    fields: dict[str, Any] = {name: draw(_valid_text(LIMITS[name])) for name in sorted(chosen)}
    if "entity_type" in names:
        fields["entity_type"] = draw(st.sampled_from(("lead", "contact")))
    elif draw(st.booleans()):
        fields |= dict.fromkeys(("entity_id", *own), fields[entity])
    for name in draw(st.one_of(st.just(()), st.lists(st.sampled_from(sorted(names)), max_size=2))):
        fields[name] = draw(_any_text(LIMITS.get(name, 255)))
    return kind(**fields, version_info=draw(_VERSION_INFOS))


KEYS = st.one_of(
    st.just(""),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    st.sampled_from(("k" * 255, "k" * 256, "~" * 1_000, "'; --", "\\N", ", ")),
)
"""Idempotency keys that a gRPC client accepts as metadata."""


def make_unique(key: str) -> str:
    """Return a key like `key` that no other event has: as long, if it is long, and empty if it is empty."""
    unique = uuid.uuid4().hex
    return key and (key[: -len(unique)] if len(key) > 100 else key) + unique


_UNKNOWN = st.sampled_from(
    (b"\xf8\x7f\x01", b"\xfa\x7f\x03abc", b"\xfb\x7f\xfc\x7f", b"\xfd\x7f1234", b"\xf9\x7f12345678")  # field 2047
)
# Mostly ASCII: in a text, another ASCII byte makes another valid text.
_BYTE = st.integers(0, 127).map(lambda code: bytes([code])) | st.binary(min_size=1, max_size=1)
_JUNK = _UNKNOWN | (
    st.binary(max_size=12)
    | _UNKNOWN
    | st.sampled_from((b"\x0a\x02\xff\xfe", b"\x0a\x03\xed\xa0\x80", b"\0", b"\x80" * 11))
)


@st.composite
def mutated(draw: st.DrawFn, message: st.SearchStrategy[Any]) -> tuple[Any, bytes]:
    """Draw a message's type, and its bytes after damage: cut off, overwritten, spliced, with unknown fields."""
    sent = draw(message)
    data: bytes = sent.SerializeToString()
    for _ in range(draw(st.integers(1, 2))):
        offset = draw(st.integers(0, min(len(data), 200)))
        match draw(st.sampled_from(("append", "append", "twice", "overwrite", "overwrite", "insert", "remove", "cut"))):
            case "cut":
                data = data[:offset]
            case "overwrite":
                data = data[:offset] + draw(_BYTE) + data[offset + 1 :]
            case "insert":
                data = data[:offset] + draw(_JUNK) + data[offset:]
            case "append":
                data += draw(_JUNK)
            case "remove":
                data = data[:offset] + data[offset + draw(st.integers(1, 5)) :]
            case "twice":
                data += data
    return type(sent), data
