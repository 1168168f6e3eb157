"""Hostile requests, through the real Envoy: they are stored as sent, or refused in the same form as all others."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.extras
import pytest

from tests.support.contract import LIMITS
from tests.support.hostile import TROUBLE
from tests.support.http import Answer, Http, violations
from tests.support.stack import Stack

LEAD = "/api/v1/lead_analytics"
BATCH = "/api/v1/analytics_events:batch"
SEARCH = "/api/v1/lead_analytics/search"
FIELDS = sorted(LIMITS.keys() - {"contact_id", "entity_id", "idempotency_key"})
GOOD = {"customer_id": "hostile", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
Row = Callable[[Answer], dict[str, Any]]


@pytest.fixture(scope="module")
def row(stack: Stack) -> Iterator[Row]:
    """Return a function that reads the row of an answer's event, every number in `version_info` as a float."""
    with closing(psycopg2.connect(stack.database_url, cursor_factory=psycopg2.extras.RealDictCursor)) as connection:
        connection.autocommit = True
        psycopg2.extras.register_default_jsonb(connection, loads=lambda text: json.loads(text, parse_int=float))

        def read(answer: Answer) -> dict[str, Any]:
            assert answer.status == 201, answer
            identifier = answer.json["partitionKey"].partition("|")[2]
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM analytics_event WHERE id = %s", (identifier,))
                (found,) = cursor.fetchall()
                return dict(found)

        yield read


def with_json(field: str, value: str | bytes) -> bytes:
    """Return a valid event with one more field, whose value is sent as these bytes."""
    text = value.encode() if isinstance(value, str) else value
    return json.dumps(GOOD)[:-1].encode() + b',"' + field.encode() + b'":' + text + b"}"


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


@pytest.mark.parametrize(
    "text",
    [
        *(rb"\ud800", rb"\udc00", rb"a\udfffb", rb"\ude00\ud83d", rb"\ud800\ud800", rb"\ud83d\u0041", rb"\ud8"),
        *(b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\x80", b"\xff", b"\xf4\x90\x80\x80", b"\xe2\x82"),
    ],
)
def test_invalid_unicode_is_refused_in_every_place(http: Http, text: bytes) -> None:
    for body in (
        with_json("message", b'"' + text + b'"'),
        with_json("version_info", b'{"a":"' + text + b'"}'),
        with_json("version_info", b'{"' + text + b'":1}'),
        with_json("version_info", b'{"a":[{"b":"' + text + b'"}]}'),
        with_json("message", b'"","' + text + b'":1'),
    ):
        assert set(violations(http.post(LEAD, body))) == {""}, body


@pytest.mark.parametrize("text", ["%ED%A0%80", "%C0%80", "%FF", "%F4%90%80%80", "%00"])
@pytest.mark.parametrize("name", ["customer_id", "user_id", "lead_id", "recording_id"])
def test_invalid_text_in_a_search_is_refused(http: Http, name: str, text: str) -> None:
    asked = {**dict.fromkeys(("customer_id", "user_id", "lead_id", "recording_id"), "x"), name: f"a{text}b"}
    at_fault = violations(http("GET", f"{SEARCH}?{'&'.join(f'{each}={value}' for each, value in asked.items())}"))
    assert set(at_fault) == {"" if text != "%00" else "recording_id[0]" if name == "recording_id" else name}


def test_a_nul_is_refused_in_every_field(http: Http) -> None:
    assert set(violations(http.post(LEAD, dict.fromkeys(FIELDS, "a\0b")))) == set(FIELDS)
    for name in FIELDS:
        for nul in ("\0", "a\0", "\0b"):
            assert set(violations(http.post(LEAD, {**GOOD, name: nul}))) == {name}
    for path in (b'{"a":{"b\\u0000":1}}', b'{"\x00":1}', b'{"a":"\x00"}', b'{"a":[[{"b":["\\u0000"]}]]}'):
        assert set(violations(http.post(LEAD, with_json("version_info", path)))) == {"version_info"}


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        *(("1e308", 1e308), ("1.7976931348623157e308", 1.7976931348623157e308), ("-1e308", -1e308), ("5e-324", 5e-324)),
        *(("1e-400", 0.0), ("-0.0", 0.0), ("0.1", 0.1), ("1E5", 1e5), ("1" + "0" * 308, 1e308)),
        *(("9007199254740991", 2.0**53 - 1), ("9007199254740993", 2.0**53), ("-9007199254740993", -(2.0**53))),
        *(("9223372036854775808", 2.0**63), ("18446744073709551616", 2.0**64)),
        *(("1e309", None), ("-1e309", None), ("9" * 400, None), ("NaN", None), ("-Infinity", None), ("01", None)),
        *(("0x10", None), (".5", None), ("+1", None), ("1e", None)),
    ],
)
def test_a_number_is_stored_as_a_double_or_refused(http: Http, row: Row, number: str, stored: float | None) -> None:
    answer = http.post(LEAD, with_json("version_info", f'{{"a":[{number}]}}'))
    if stored is None:
        assert set(violations(answer)) == {""}
    else:
        assert row(answer)["version_info"] == {"a": [stored]}


@pytest.mark.parametrize(
    ("opening", "end", "times"), [('{"a":', "}", 30), ("[", "]", 29), ('[{"a":', "}]", 9), ('{"a":{"b":[', "]}}", 6)]
)
def test_a_version_info_of_the_maximum_depth_is_stored(
    http: Http, row: Row, opening: str, end: str, times: int
) -> None:
    text = opening * times + "1" + end * times
    text = text if text.startswith("{") else f'{{"a":{text}}}'
    assert row(http.post(LEAD, with_json("version_info", text)))["version_info"] == json.loads(text, parse_int=float)


@pytest.mark.parametrize(
    ("opening", "end", "times"), [('{"a":', "}", 34), ('{"a":', "}", 1_000), ("[", "]", 50), ("[", "]", 100_000)]
)
def test_a_version_info_that_nests_too_deeply_is_refused(http: Http, opening: str, end: str, times: int) -> None:
    nested = '{"a":' + opening * times + "1" + end * times + "}"
    assert set(violations(http.post(LEAD, with_json("version_info", nested)))) == {""}


@pytest.mark.parametrize(("filling", "size"), [("x", 1), ("\u00e9", 2), ("\\", 2), ("\x01", 6)])
def test_a_version_info_is_stored_to_the_last_byte(http: Http, row: Row, filling: str, size: int) -> None:
    wide = dict.fromkeys(map(str, range(1_000)), 0)
    left = 16_384 - len(json.dumps({"wide": wide, "a": "", "b": ""}, separators=(",", ":")))
    most = {"wide": wide, "a": filling * (left // size), "b": "b" * (left % size)}
    assert row(http.post(LEAD, {**GOOD, "version_info": most}))["version_info"] == most
    over = http.post(LEAD, {**GOOD, "version_info": {**most, "b": "b" * (left % size + 1)}})
    assert set(violations(over)) == {"version_info"}


@pytest.mark.parametrize("twice", [b'{"a":1,"a":1}', b'{"b":{"a":1,"c":2,"a":{}}}', b'{"b":[{"":1},{"":1,"":2}]}'])
def test_a_repeated_key_in_a_version_info_is_refused(http: Http, twice: bytes) -> None:
    found = violations(http.post(LEAD, with_json("version_info", twice)))
    assert found == {"version_info": "has a key twice"}
    batch = b'{"events":[{"version_info":' + twice + b"}]}"
    assert violations(http.post(BATCH, batch)) == {"events[0].version_info": "has a key twice"}


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ("[{},5]", "events[1]"),
        ('["x"]', "events[0]"),
        ("true", "events"),
        ('[{"version_info":"a: b"}]', "events[0].version_info"),
    ],
)
def test_what_is_not_an_event_in_a_batch_is_named_by_its_index(http: Http, events: str, field: str) -> None:
    found = violations(http.post(BATCH, f'{{"events":{events}}}'.encode()))
    assert found == {field: "must be a JSON object"}


def test_a_null_in_a_batch_is_not_an_event(http: Http, customer: str) -> None:
    # The transcoder drops it, so the outcomes are numbered without it.
    good = {"customer_id": customer, "user_id": "u", "recording_id": "r", "event_type": "view"}
    events = [{**good, "entity_type": "lead", "entity_id": "l"}, None, {}]
    outcomes = http.post(BATCH, {"events": events}).json["outcomes"]
    assert [(outcome["index"], "stored" in outcome) for outcome in outcomes] == [(0, True), (1, False)]


def test_the_last_of_a_repeated_field_in_a_body_is_stored(http: Http, row: Row) -> None:
    # The transcoder has no option to refuse it, and the JSON standard leaves it open.
    assert row(http.post(LEAD, with_json("message", b'"one","message":"two"')))["message"] == "two"


@pytest.mark.parametrize(
    ("parameter", "page"),
    [
        *(("page=01", 1), ("page=%2B1", 1), ("page=%31", 1), ("page=2147483647", 2_147_483_647)),
        *(("page=+1", None), ("page=%201", None), ("page=1%20", None), ("page=1%00", None), ("page=-0", None)),
        *(("page=1e0", None), ("page=0x1", None), ("page=1_0", None), ("page=%D9%A1", None), ("page=1;--", None)),
        *(("page=99999999999999999999", None), ("page=NaN", None), ("page", None), (f"page={'1' * 10_000}", None)),
        *(("pageSize=1e3", None), ("pageSize=1E2", None), ("pageSize=10e-1", None), ("pageSize=10.0", None)),
        *(("pageSize=5&page_size=5", None), ("latest", None), ("latest=%ED%A0%80", None)),
    ],
)
def test_a_number_in_a_search_is_an_integer_or_refused(http: Http, parameter: str, page: int | None) -> None:
    answer = http("GET", f"{SEARCH}?customer_id=nobody&user_id=u&lead_id=l&recording_id=r&{parameter}")
    if page is None:
        assert set(violations(answer)) == {parameter.partition("=")[0]}
    else:
        assert answer.json["meta"]["page"] == page


@pytest.mark.parametrize("parameter", ["=", "=x", "=&page=1", "page=1&=page"])
def test_a_parameter_without_a_name_is_refused(http: Http, parameter: str) -> None:
    path = f"{SEARCH}?customer_id=nobody&user_id=u&lead_id=l&recording_id=r&{parameter}"
    assert set(violations(http("GET", path))) == {"="}
    assert set(violations(http.post(f"{LEAD}?=", GOOD))) == {"="}
    assert http.post(f"{LEAD}?", GOOD).status == 201  # The question mark alone is no parameter.


@pytest.mark.parametrize("size", [300, 9_000, 20_000, 150_000])
def test_huge_texts_are_refused_by_their_field(http: Http, size: int) -> None:
    # gRPC itself refuses over 8 KiB of metadata, in its own words: none of these may get that far.
    huge = "h" * size
    assert set(violations(http.post(LEAD, {}, {"idempotency-key": huge}))) >= {"idempotency-key", "customer_id"}
    for name in ("host", "expect", "te", "x-forwarded-for", "accept-encoding", "x-" + huge[:20_000]):
        assert http.post(LEAD, GOOD, {name: huge}).status == 201, name
    assert violations(http.post(f"{LEAD}?{huge}", GOOD))
    assert violations(http("GET", f"{SEARCH}?{huge}=1"))
    assert set(violations(http.search(SEARCH, customer_id=huge, user_id="u", lead_id="l", recording_id="r"))) == {
        "customer_id"
    }
    assert http.search(SEARCH, customer_id="c", user_id="u", lead_id="l", recording_id=huge[:255]).status == 200
