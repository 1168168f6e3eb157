"""Bodies that are not quite JSON, through the real Envoy: every fault is named by its field and its place."""

import json
from typing import Any

import pytest

from tests.support.http import Http, violations
from tests.support.json_faults import HERE, find_place, list_faults

LEAD = "/api/v1/lead_analytics"
GOOD = {"customer_id": "strict", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}


def with_member(member: bytes) -> bytes:
    """Return a valid event with one more member, which is sent as these bytes."""
    return json.dumps(GOOD)[:-1].encode() + b"," + member + b"}"


# Of each, the only fault of syntax is at the mark.
FAULTS = [
    # Strings.
    (rb'"message":"CORP^^\jdoe"', "message"),
    (rb'"message":"^^\x41"', "message"),
    (rb'"message":"^^\u12"', "message"),
    (rb'"message":"^^\U00000041"', "message"),
    (rb'"message":"\\^^\'"', "message"),
    (b'"message":"a^^\nb"', "message"),
    (b'"message":"^^\tb"', "message"),
    (b'"message":"^^\x00"', "message"),
    (b"\"message\":^^'a'", "message"),
    ('"message":"\U0001f600é^^\\j"'.encode(), "message"),
    (b'"message":^^"a', "message"),
    (b'"version_info":{"a":["^^\\q"]}', "version_info.a[0]"),
    (b'"version_info":{"^^\\q":1}', "version_info"),
    (b'"unknown":{"a":"^^\\q"}', "unknown.a"),
    # Scalars.
    *((b'"message":^^' + scalar, "message") for scalar in (b"NaN", b"nul", b"True", b"None", b"undefined", b"a")),
    *(
        (b'"version_info":{"a":[0,^^' + scalar + b"]}", "version_info.a[1]")
        for scalar in (b"NaN", b"Infinity", b"-Infinity", b"01", b"-01", b"0x10", b".5", b"1.", b"+1", b"1e", b"1e+")
    ),
    *((b'"version_info":{"a":^^' + scalar + b"}", "version_info.a") for scalar in (b"-", b"--1", b"1_0", b"1e5.0")),
    # Objects and lists.
    (b'"version_info":{"a":1^^,}', "version_info"),
    (b'"version_info":{"a":[1^^,]}', "version_info.a"),
    (b'"version_info":{"a":[1,^^,2]}', "version_info.a[1]"),
    (b'"version_info":{"a":[1 ^^2]}', "version_info.a"),
    (b'"version_info":{"a":1 ^^"b":2}', "version_info"),
    (b'"version_info":{^^a:1}', "version_info"),
    (b'"version_info":{^^1:1}', "version_info"),
    (b'"version_info":{"a" ^^1}', "version_info.a"),
    (b'"version_info":{"a":^^}', "version_info.a"),
    (b'"version_info":{"a":[^^}', "version_info.a[0]"),
    (b'"version_info":{"a":[1^^}', "version_info.a"),
    # Around the fields.
    (b'"message":"a"^^,', ""),
    (b'^^,"message":"a"', ""),
    (b'"message":"a" ^^"event_id":"b"', ""),
    (b"^^'message':\"a\"", ""),
    (b'^^message:"a"', ""),
    (b'"message" ^^"a"', "message"),
    (b'"message"^^=>"a"', "message"),
    (b'"message":^^', "message"),
    (b'"message":"a"^^/**/', ""),
    (b'"^^\\q":"a"', ""),
    (b'"message":"a"} ^^{', ""),
    (b'"message":"a"}^^]', ""),
]


@pytest.mark.parametrize(("member", "field"), FAULTS, ids=[ascii(member) for member, _ in FAULTS])
def test_text_that_is_no_json_is_refused_by_its_field_and_place(http: Http, member: bytes, field: str) -> None:
    body, place = find_place(with_member(member))
    found = list_faults(http.post(LEAD, body))
    assert [(name, text[: len(place)]) for name, text in found if text.startswith("is not valid")] == [(field, place)]


UNICODE = [
    *(rb"\ud800", rb"\udc00", rb"\udfffb", rb"\ude00\ud83d", rb"\ud800\ud800", rb"\ud83d\u0041", rb"\ud8"),
    *(b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\x80", b"\xff", b"\xf4\x90\x80\x80", b"\xe2\x82"),
]


@pytest.mark.parametrize("text", UNICODE, ids=ascii)
def test_invalid_unicode_is_refused_in_every_place(http: Http, text: bytes) -> None:
    for member, field in (
        (b'"message":"a' + HERE + text + b'"', "message"),
        (b'"version_info":{"a":"' + HERE + text + b'"}', "version_info.a"),
        (b'"version_info":{"a' + HERE + text + b'":1}', "version_info"),
        (b'"version_info":{"a":[{"b":"' + HERE + text + b'"}]}', "version_info.a[0].b"),
        (b'"message":"","a' + HERE + text + b'":1', ""),
        (b'"unknown":{"a":["' + HERE + text + b'"]}', "unknown.a[0]"),
    ):
        body, place = find_place(with_member(member))
        found = list_faults(http.post(LEAD, body))
        assert [name for name, description in found if description.startswith(place)] == [field], body


MANY_FAULTS = rb"""{
 "user_id": "u^^\j",
 "recording_id": 5, "colour": {"red": [^^nul]},

	"version_info": {"a": [1, {"b": ^^NaN}, 1e100], "c": "\u0000"^^,},
 "user_id": "u"^^,
}"""


@pytest.mark.parametrize(
    ("path", "required"),
    [
        ("/api/v1/analytics_events", {"entity_type", "entity_id"}),
        (LEAD, {"lead_id"}),
        ("/api/v1/contact_analytics", {"contact_id"}),
    ],
)
def test_every_fault_is_told_at_once_with_its_line_and_column(http: Http, path: str, required: set[str]) -> None:
    body, places = MANY_FAULTS, []
    while HERE in body:
        body, place = find_place(body)
        places.append(place)
    found = list_faults(http.post(path, body))
    expected = [
        ("user_id", places[0] + r"\j is not an escape"),
        ("recording_id", "must be a string"),
        ("colour", "is not a known field"),
        ("colour.red[0]", places[1] + "nul is not a value"),
        ("version_info.a[1].b", places[2] + "NaN is not a value"),
        ("version_info.a[2]", "holds a number of more than 100 digits when written out"),
        ("version_info.c", "holds U+0000, which the database cannot store"),
        ("version_info", places[3] + "no comma may stand before }"),
        ("user_id", "is given more than once"),
        ("", places[4] + "no comma may stand before }"),
    ]
    assert set(expected) <= set(found)
    assert {field for field, _ in found} == {field for field, _ in expected} | {"customer_id", "event_type"} | required


TWICE = [
    (b'"message":"a","message":"a"', "message"),
    (b'"message":null,"message":"a"', "message"),
    (rb'"message":"a","\u006dessage":"b"', "message"),
    (b'"user_id":"u"', "user_id"),
    (b'"version_info":{},"version_info":{}', "version_info"),
    (b'"version_info":{"a":1,"a":1}', "version_info.a"),
    (rb'"version_info":{"a":1,"\u0061":2}', "version_info.a"),
    (b'"version_info":{"b":{"a":1,"c":2,"a":{}}}', "version_info.b.a"),
    (b'"version_info":{"b":[{"":1},{"":1,"":2}]}', "version_info.b[1]."),
]


@pytest.mark.parametrize(("member", "field"), TWICE, ids=[ascii(member) for member, _ in TWICE])
def test_a_name_that_stands_twice_is_refused_at_any_depth(http: Http, member: bytes, field: str) -> None:
    assert list_faults(http.post(LEAD, with_member(member))) == [(field, "is given more than once")]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        *(("leadid", "lead_id"), ("leadId", "lead_id"), ("LEAD_ID", "lead_id"), ("costumer_id", "customer_id")),
        *(("Message", "message"), ("versionInfo", "version_info"), ("idempotency-key", "idempotency_key")),
        *(("colour", ""), ("", ""), ("x" * 5_000, ""), ("\u0130\U0001f600", "")),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(http: Http, name: str, nearest: str) -> None:
    ((field, description),) = list_faults(http.post(LEAD, {**GOOD, name: "a"}))
    assert field == name if len(name) < 100 else (len(field) <= 100 and name.startswith(field[:-1]))
    assert description == "is not a known field" + (f"; did you mean {nearest}?" if nearest else "")


def test_a_name_that_cannot_be_printed_is_shown_as_json_escapes_it(http: Http) -> None:
    for name in ("\n", "\u200b", "\U000e0001", "a\U0010fffeb", "\x85"):
        ((field, _),) = list_faults(http.post(LEAD, {**GOOD, name: "a"}))
        assert json.loads(f'"{field}"') == name
        assert field.isprintable()


def test_a_field_of_another_route_is_unknown(http: Http) -> None:
    assert set(violations(http.post("/api/v1/contact_analytics", GOOD))) == {"lead_id", "contact_id"}
    assert "entity_type" in violations(http.post(LEAD, {**GOOD, "entity_type": "lead"}))


def test_null_is_absent_and_a_byte_order_mark_is_passed_over(http: Http) -> None:
    optional: dict[str, Any] = dict.fromkeys(("message", "entity_id", "version_info", "idempotency_key"))
    for mark in (b"", b"\xef\xbb\xbf"):
        answer = http.post(LEAD, mark + json.dumps({**GOOD, **optional}).encode())
        assert (answer.status, answer.json["message"]) == (201, "")
        required = violations(http.post(LEAD, mark + json.dumps(dict.fromkeys(GOOD)).encode()))
        assert required.keys() == GOOD.keys()


def test_white_space_is_that_of_json_and_no_other(http: Http) -> None:
    text = json.dumps(GOOD)
    assert http.post(LEAD, f" \t\r\n{text}\n\r\t ".replace(":", " :\n").encode()).status == 201
    for space in ("\u00a0", "\x0b", "\x0c", "\u2028", "\ufeff"):
        body, place = find_place((text + HERE.decode() + space).encode())
        assert violations(http.post(LEAD, body))[""].startswith(place)
