"""Hostile events, through the real Envoy: they are stored as sent, or refused by the field that is at fault."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
import psycopg2.extras
import pytest

from tests.support.contract import LIMITS, MAX_DIGITS, count_digits
from tests.support.hostile import TROUBLE
from tests.support.http import Answer, Http, violations
from tests.support.json_faults import list_faults
from tests.support.stack import Stack

LEAD = "/api/v1/lead_analytics"
SEARCH = "/api/v1/lead_analytics/search"
FIELDS = sorted(LIMITS.keys() - {"contact_id", "entity_id", "idempotency_key"})
GOOD = {"customer_id": "hostile", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
TOO_DEEP = "must be at most 30 levels deep"
Row = Callable[[Answer], dict[str, Any]]


@pytest.fixture(scope="module")
def row(stack: Stack) -> Iterator[Row]:
    """Return a function that reads the row of an answer's event, every number in `version_info` as a Decimal."""
    with closing(psycopg2.connect(stack.database_url, cursor_factory=psycopg2.extras.RealDictCursor)) as connection:
        connection.autocommit = True
        psycopg2.extras.register_default_jsonb(connection, loads=read_exactly)

        def read(answer: Answer) -> dict[str, Any]:
            assert answer.status == 201, answer
            identifier = answer.json["partitionKey"].partition("|")[2]
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM analytics_event WHERE id = %s", (identifier,))
                (found,) = cursor.fetchall()
                return dict(found)

        yield read


def read_exactly(text: str) -> Any:
    """Return what a JSON text holds, every number as a Decimal."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def with_version_info(text: str | bytes) -> bytes:
    """Return a valid event with a `version_info` that is sent as this text."""
    value = text.encode() if isinstance(text, str) else text
    return json.dumps(GOOD)[:-1].encode() + b',"version_info":' + value + b"}"


@pytest.mark.parametrize("text", TROUBLE, ids=ascii)
def test_text_of_every_kind_is_stored_and_found_in_every_field(http: Http, row: Row, customer: str, text: str) -> None:
    sent: dict[str, Any] = {name: f"{text}{name}{text}" for name in FIELDS}
    sent |= {"customer_id": text + customer + text, "version_info": {text: [text, {text: text}]}}
    for ascii_only in (True, False):
        answer = http.post(LEAD, json.dumps(sent, ensure_ascii=ascii_only).encode())
        stored = row(answer)
        assert {name: stored["entity_id" if name == "lead_id" else name] for name in sent} == sent
        assert {name: answer.json[name] for name in sent if name in answer.json}.items() <= sent.items()
        asked = {name: sent[name] for name in ("customer_id", "user_id", "lead_id", "recording_id")}
        found = http.search(SEARCH, **asked, pageSize=1).json["recordings"][0]
        assert found.pop("entity_id") == sent["lead_id"]
        assert all(found[name] == sent[name] for name in found if name in sent)
        assert found["created_at"] == answer.json["created_at"]


@pytest.mark.parametrize("name", FIELDS)
def test_a_nul_is_refused_in_every_text(http: Http, name: str) -> None:
    for nul in ("\0", "a\0", "\0b"):
        assert set(violations(http.post(LEAD, {**GOOD, name: nul}))) == {name}
    assert set(violations(http.post(LEAD, dict.fromkeys(FIELDS, "a\0b")))) == set(FIELDS)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (rb'{"a":"\u0000"}', "version_info.a"),
        (rb'{"a":{"b\u0000":1}}', r"version_info.a.b\u0000"),
        (rb'{"a":[[{"b":["c",true,"\u0000d"]}]]}', "version_info.a[0][0].b[2]"),
        (rb'{"a":"\\\u0000"}', "version_info.a"),
    ],
)
def test_a_nul_in_a_version_info_is_refused_by_its_path(http: Http, text: bytes, field: str) -> None:
    assert list_faults(http.post(LEAD, with_version_info(text))) == [
        (field, "holds U+0000, which the database cannot store")
    ]


def test_a_backslash_before_u0000_is_no_nul(http: Http, row: Row) -> None:
    stored = row(http.post(LEAD, with_version_info(rb'{"a":"\\u0000","\\\\u0000":1}')))["version_info"]
    assert stored == {"a": r"\u0000", r"\\u0000": 1}


NUMBERS = [
    *("0", "0.0", "0.10", "1E5", "1e+5", "1e-5", "12.50e1", "-1.5E-3", "100.00", "9" * 100, "-" + "9" * 100),
    *("9007199254740993", "-9007199254740993", "18446744073709551617", "0.1000000000000000055511151231257827"),
    *("1e99", "1e-99", "0." + "0" * 98 + "1", "9" * 50 + "." + "9" * 50, "0.00001e104", "12345678901234567890e80"),
]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_stored_with_all_its_digits(http: Http, row: Row, number: str) -> None:
    stored = row(http.post(LEAD, with_version_info(f'{{"a":[{number}]}}')))["version_info"]["a"][0]
    assert format(stored, "f") == format(Decimal(number), "f")


def test_a_zero_loses_no_more_than_its_sign(http: Http, row: Row) -> None:
    stored = row(http.post(LEAD, with_version_info('{"a":[-0,-0.00,0e-2]}')))["version_info"]["a"]
    assert [str(number) for number in stored] == ["0", "0.00", "0.00"]


TOO_LONG = [
    *("1e100", "-1e100", "1e-100", "1e308", "5e-324", "1e309", "1e-400", "9" * 101, "0." + "0" * 99 + "1"),
    *("9" * 50 + "." + "9" * 51, "1" + "0" * 400, "1e999999999999999999999", "1e-999999999999999999999"),
]


@pytest.mark.parametrize("number", TOO_LONG)
def test_a_number_of_over_100_digits_is_refused_by_its_path(http: Http, number: str) -> None:
    assert len(number) > 20 or count_digits(number) > MAX_DIGITS
    assert list_faults(http.post(LEAD, with_version_info(f'{{"a":[0,{{"b":{number}}}]}}'))) == [
        ("version_info.a[1].b", "holds a number of more than 100 digits when written out")
    ]


@pytest.mark.parametrize(
    ("opening", "end", "times"), [('{"a":', "}", 30), ("[", "]", 29), ('[{"a":', "}]", 14), ('{"a":{"b":[', "]}}", 10)]
)
def test_a_version_info_of_thirty_levels_is_stored(http: Http, row: Row, opening: str, end: str, times: int) -> None:
    text = opening * times + "1" + end * times
    text = text if text.startswith("{") else f'{{"a":{text}}}'
    assert row(http.post(LEAD, with_version_info(text)))["version_info"] == json.loads(text)


@pytest.mark.parametrize("times", [30, 31, 100, 1_000, 5_000])
@pytest.mark.parametrize(("opening", "end", "level"), [('{"a":', "}", ".a"), ("[", "]", "[0]")])
def test_deeper_levels_are_refused_by_the_path_of_the_first(
    http: Http, opening: str, end: str, level: str, times: int
) -> None:
    nested = '{"a":' + opening * times + "1" + end * times + "}"
    refused = list_faults(http.post(LEAD, with_version_info(nested)))
    assert refused[0] == ("version_info.a" + level * 29, TOO_DEEP)
    assert {field for field, _ in refused[1:]} <= {"version_info"}  # Its size, if that is over the limit too.


def test_a_hundred_thousand_levels_are_refused_without_an_error(http: Http) -> None:
    for opening, end in (("[", "]"), ('{"a":', "}"), ("[", ""), ('{"a":', "")):
        nested = '{"a":' + opening * 100_000 + "1" + end * 100_000 + "}"
        assert ("version_info.a" + ("[0]" if opening == "[" else ".a") * 29, TOO_DEEP) in list_faults(
            http.post(LEAD, with_version_info(nested))
        )


@pytest.mark.parametrize(("filling", "size"), [("x", 1), ("\u00e9", 2), ("\\", 2), ("\x01", 6)])
def test_a_version_info_is_stored_to_the_last_byte(http: Http, row: Row, filling: str, size: int) -> None:
    wide = dict.fromkeys(map(str, range(1_000)), 0)
    left = 16_384 - len(json.dumps({"wide": wide, "a": "", "b": ""}, separators=(",", ":")))
    most = {"wide": wide, "a": filling * (left // size), "b": "b" * (left % size)}
    assert row(http.post(LEAD, {**GOOD, "version_info": most}))["version_info"] == most
    over = http.post(LEAD, {**GOOD, "version_info": {**most, "b": "b" * (left % size + 1)}})
    assert set(violations(over)) == {"version_info"}
