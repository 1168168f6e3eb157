import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from server.messages.version_info import (
    MAX_DEPTH,
    MAX_VERSION_INFO_BYTES,
    InvalidVersionInfo,
    format_version_info,
    has_too_many_digits,
)
from tests.support import contract
from tests.support.hostile import FLOATS

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ASCII = st.characters(codec="ascii")
JSON = st.recursive(
    st.none() | st.booleans() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def struct(content: dict[str, Any]) -> Struct:
    return ParseDict(content, Struct())


@settings(max_examples=60)
@given(st.dictionaries(TEXT, JSON, max_size=3))
def test_the_text_is_json_of_the_same_object(content: dict[str, Any]) -> None:
    assert json.loads(format_version_info(struct(content))) == MessageToDict(struct(content)) == content


def test_whole_numbers_are_printed_as_the_caller_wrote_them() -> None:
    content = {"a": 3, "b": 2.5, "c": -7, "d": 2**53 - 1, "e": 0}
    # The order of a map is not kept, in the wire format as in jsonb.
    printed = format_version_info(struct(content)).strip("{}").split(",")
    assert sorted(printed) == ['"a":3', '"b":2.5', '"c":-7', '"d":9007199254740991', '"e":0']


def test_sixteen_kibibytes_are_taken_and_one_byte_more_is_refused() -> None:
    most = {"k": "x" * (MAX_VERSION_INFO_BYTES - len('{"k":""}'))}
    assert len(format_version_info(struct(most))) == MAX_VERSION_INFO_BYTES
    with pytest.raises(InvalidVersionInfo, match="16384 bytes"):
        format_version_info(struct({"k": most["k"] + "x"}))


def test_the_limit_counts_bytes_of_utf8() -> None:
    with pytest.raises(InvalidVersionInfo):
        format_version_info(struct({"k": "é" * (MAX_VERSION_INFO_BYTES // 2)}))


@pytest.mark.parametrize(
    "content",
    [{"a\0": 1}, {"a": "\0"}, {"a": ["x", {"b": "\0"}]}, {"a": {"b\0": None}}],
)
def test_a_nul_anywhere_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidVersionInfo, match=r"U\+0000"):
        format_version_info(struct(content))


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert json.loads(format_version_info(struct({"a": "\\u0000"}))) == {"a": "\\u0000"}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_write_is_refused(number: float) -> None:
    with pytest.raises(InvalidVersionInfo, match="finite"):
        format_version_info(Struct(fields={"a": Value(number_value=number)}))


@pytest.mark.parametrize(
    ("number", "fits"), [(9e99, True), (1e100, False), (-1e100, False), (1e-84, True), (1e-100, False)]
)
def test_a_number_has_at_most_a_hundred_digits_when_written_out(number: float, fits: bool) -> None:
    if fits:
        assert json.loads(format_version_info(struct({"a": number}))) == {"a": number}
    else:
        with pytest.raises(InvalidVersionInfo, match="100 digits"):
            format_version_info(struct({"a": number}))


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,99})(\.[0-9]{1,99})?([eE][+-]?[0-9]{1,4})?", fullmatch=True, alphabet=ASCII)


@settings(deadline=None)
@given(NUMBERS)
def test_the_digits_of_a_number_are_those_that_decimal_counts(number: str) -> None:
    assert has_too_many_digits(number) == (contract.count_digits(number) > contract.MAX_DIGITS)


def test_an_exponent_without_end_is_too_long_and_costs_nothing() -> None:
    assert has_too_many_digits("1e" + "9" * 10_000)
    assert has_too_many_digits("1E-" + "9" * 10_000)
    assert not has_too_many_digits("1e" + "0" * 10_000)


@pytest.mark.parametrize("kinds", ["o", "l", "ol"])
def test_thirty_levels_are_taken_and_one_more_is_refused(kinds: str) -> None:
    nested = nest(MAX_DEPTH, kinds)
    assert json.loads(format_version_info(nested)) == MessageToDict(nested)
    with pytest.raises(InvalidVersionInfo, match="30 levels"):
        format_version_info(nest(MAX_DEPTH + 1, kinds))


def nest(levels: int, kinds: str) -> Struct:
    content: Any = True
    for level in range(levels - 1):
        content = {"a": content} if kinds[level % len(kinds)] == "o" else [content]
    return struct({"a": content})


def test_a_value_that_is_not_set_is_refused() -> None:
    with pytest.raises(InvalidVersionInfo, match="not set"):
        format_version_info(Struct(fields={"a": Value()}))


def test_no_refusal_quotes_what_it_refuses() -> None:
    with pytest.raises(InvalidVersionInfo) as caught:
        format_version_info(struct({"secret": "\0 secret"}))
    assert "secret" not in str(caught.value)
