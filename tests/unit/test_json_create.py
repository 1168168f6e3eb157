"""The JSON of one create: what is stored, and the words of every refusal."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from data_analytics.v1.event_pb2 import PageMeta, StoredEvent
from server.messages.convert import ANALYTICS, CONTACT, LEAD, CreateKind
from server.messages.json_codec.create import CreateReader
from server.messages.json_codec.fields import FieldReader
from server.messages.json_codec.names import print_ignored
from server.messages.refusals import MAX_VIOLATIONS, InvalidRequest
from storage import TEXT_COUNT, Event

KINDS: Sequence[CreateKind[Any]] = (ANALYTICS, LEAD, CONTACT)
STRICT = {kind: CreateReader(kind) for kind in KINDS}
LENIENT = {kind: CreateReader(kind, ignore_unknown=True) for kind in KINDS}

GOOD = {"customer_id": "c", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
REQUIRED = "value is required"
LIMIT = "must be at most 255 characters"


def read(body: bytes | str | object, key: str = "", kind: CreateKind[Any] = LEAD) -> Event:
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    event, ignored = STRICT[kind].read(data, key)
    assert not ignored
    return event


def refuse(body: bytes | str | object, key: str = "", kind: CreateKind[Any] = LEAD) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        read(body, key, kind)
    return [(violation.field, violation.description) for violation in caught.value.violations]


def with_member(name: str, value: str | bytes) -> bytes:
    """A good event with one more member, whose value is sent as it stands."""
    text = value.encode() if isinstance(value, str) else value
    return json.dumps(GOOD)[:-1].encode() + b',"' + name.encode() + b'":' + text + b"}"


def test_every_field_reaches_the_event() -> None:
    sent = {name: f"{name} é" for name in ANALYTICS.text_fields} | {"entity_type": "contact"}
    event = read({**sent, "version_info": {"a": [1]}}, kind=ANALYTICS)
    assert dict(zip(Event._fields[:TEXT_COUNT], event[:TEXT_COUNT], strict=True)) == sent
    assert event.version_info == '{"a":[1]}'


@pytest.mark.parametrize(("kind", "name"), [(LEAD, "lead"), (CONTACT, "contact")])
def test_the_entity_has_either_name_or_both_if_they_are_equal(kind: CreateKind[Any], name: str) -> None:
    others = {field: value for field, value in GOOD.items() if field != "lead_id"}
    for entity in ({f"{name}_id": "e"}, {"entity_id": "e"}, {f"{name}_id": "e", "entity_id": "e"}):
        assert read({**others, **entity}, kind=kind)[4:6] == (name, "e")
    unequal = f"{name}_id and entity_id must be equal when both are sent"
    assert refuse({**others, f"{name}_id": "e", "entity_id": "f"}, kind=kind) == [
        (f"{name}_id", unequal),
        ("entity_id", unequal),
    ]
    assert refuse(others, kind=kind) == [(f"{name}_id", f"one of {name}_id and entity_id is required")]


def test_null_is_absent_and_an_empty_text_is_none() -> None:
    for nothing in (None, ""):
        assert read({**GOOD, "message": nothing, "event_id": nothing}).message == ""
        assert refuse({**GOOD, "user_id": nothing}) == [("user_id", REQUIRED)]
    assert read({**GOOD, "version_info": None}).version_info is None
    assert read({**GOOD, "version_info": {}}).version_info == "{}"


def test_a_byte_order_mark_is_passed_over_once_and_only_at_the_front() -> None:
    good = json.dumps(GOOD).encode()
    assert read(b"\xef\xbb\xbf" + good).customer_id == "c"
    for body in (b"\xef\xbb\xbf\xef\xbb\xbf" + good, good + b"\xef\xbb\xbf", b" \xef\xbb\xbf" + good, b"\xef\xbb\xbf"):
        assert refuse(body)
    described = "is not valid JSON at line 1, column 12: expected a colon, found 1"
    assert refuse(b'\xef\xbb\xbf{"message" 1}') == [("message", described)]


def test_the_key_is_a_field_or_a_header_and_both_agree() -> None:
    for kind, entity in ((LEAD, "lead_id"), (CONTACT, "contact_id")):
        body = {**GOOD, entity: "e", "idempotency_key": "k"}
        if kind is CONTACT:
            del body["lead_id"]
        assert read(body, kind=kind).idempotency_key == "k"
        assert read(body, "k", kind).idempotency_key == "k"
        assert refuse(body, "other", kind) == [
            ("idempotency_key", "must be equal to the idempotency-key header when both are sent")
        ]
    assert read(GOOD, "k").idempotency_key == "k"
    assert [field for field, _ in refuse({}, "\x7f")][-1] == "idempotency-key"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        *(("leadId", "lead_id"), ("lead-id", "lead_id"), ("LEAD_ID", "lead_id"), ("costumer_id", "customer_id")),
        *(("userid", "user_id"), ("versionInfo", "version_info"), ("event_id ", "event_id"), ("mesage", "message")),
        *(("idempotency-key", "idempotency_key"), ("contact_id", ""), ("", ""), ("zzz", ""), ("m" * 200, "")),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest_known_one(name: str, nearest: str) -> None:
    (violation,) = refuse({**GOOD, name: {"a": [1, "b"]}})
    assert violation[0] == (name if len(name) < 100 else "m" * 99 + "…")
    assert violation[1] == "is not a known field" + (f"; did you mean {nearest}?" if nearest else "")


def test_an_unknown_field_may_be_ignored_and_is_told_of() -> None:
    body = {"extra": {"a": [{}]}, **GOOD, "leadId": 1, "message": "m"}
    event, ignored = LENIENT[LEAD].read(json.dumps(body).encode())
    assert (event.entity_id, event.message, list(ignored)) == ("l", "m", ["extra", "leadId"])
    assert LENIENT[LEAD].read(json.dumps(GOOD).encode())[1] == ()


@pytest.mark.parametrize(
    ("value", "field", "fault"),
    [
        ('{"a":1,"a":2}', "extra.a", "is given more than once"),
        ("[1,2", "extra", "is not valid JSON at line 1, column {}: expected a comma or ], found }}"),
        ("NaN", "extra", "is not valid JSON at line 1, column {}: NaN is not a value"),
        ('"\\ud800"', "extra", "is not valid JSON at line 1, column {}: \\ud800 is half of a surrogate pair"),
        ("[" * 31 + "]" * 31, "extra" + "[0]" * 30, "must be at most 30 levels deep"),
    ],
)
def test_what_is_ignored_is_json_all_the_same(value: str, field: str, fault: str) -> None:
    body = with_member("extra", value)
    with pytest.raises(InvalidRequest) as caught:
        LENIENT[LEAD].read(body)
    ((found, description),) = caught.value.violations
    column = len(body) - len(value) + {"[1,2": 4, '"\\ud800"': 1}.get(value, 0)
    assert (found, description) == (field, fault.format(column))


def test_the_header_of_ignored_fields_is_printable_and_bounded() -> None:
    assert print_ignored(["a", "b", "a"]) == "a, b"
    assert print_ignored(["é\r\nset-cookie: x", "a,b"]) == "\\u00e9\\u000d\\u000aset-cookie: x, a\\u002cb"
    long = print_ignored(f"name{number}" for number in range(10**9))
    assert len(long) <= 1_003
    assert long.endswith(", ...")


def test_all_faults_come_at_once_under_the_names_of_json() -> None:
    body = (
        b'{"customer_id":5,\n "lead_id":["l"], "user_id":"CORP\\jdoe", "leadID":1,\n'
        b' "message":"a\\u0000b", "event_id":"' + b"x" * 256 + b'",\n'
        b' "version_info":{"a":{"b":[1e300,"\\u0000"]}, "c":NaN, "c":[[],]},}'
    )
    at = "is not valid JSON at line {}, column {}: {}"
    assert refuse(body, "k" * 256) == [
        ("customer_id", "must be a string"),
        ("lead_id", "must be a string"),
        ("user_id", at.format(2, 34, "\\j is not an escape")),
        ("leadID", "is not a known field; did you mean lead_id?"),
        ("", at.format(4, 65, "no comma may stand before }")),
        ("recording_id", REQUIRED),
        ("event_type", REQUIRED),
        ("event_id", LIMIT),
        ("message", "contains substring `\0`"),
        ("version_info.a.b[0]", "holds a number of more than 100 digits when written out"),
        ("version_info.a.b[1]", "holds U+0000, which the database cannot store"),
        ("version_info.c", at.format(4, 50, "NaN is not a value")),
        ("version_info.c", "is given more than once"),
        ("version_info.c", at.format(4, 62, "no comma may stand before ]")),
        ("idempotency-key", "must be at most 255 printable ASCII characters"),
    ]


def test_no_more_faults_are_looked_for_than_are_told() -> None:
    assert len(refuse(dict.fromkeys(map(str, range(1_000))))) == MAX_VIOLATIONS


def test_a_fault_of_either_name_of_the_entity_is_no_missing_entity() -> None:
    others = {field: value for field, value in GOOD.items() if field != "lead_id"}
    assert refuse({**others, "entity_id": 5}) == [("entity_id", "must be a string")]
    assert refuse({**others, "entity_id": 5, "lead_id": "l" * 256}) == [
        ("entity_id", "must be a string"),
        ("lead_id", LIMIT),
    ]


@pytest.mark.parametrize(
    ("body", "field", "fault"),
    [
        ("", "", "must be a JSON object"),
        (" \n", "", "must be a JSON object"),
        ("[]", "", "must be a JSON object"),
        ("null", "", "must be a JSON object"),
        ("{", "", "line 1, column 2: expected a name in double quotes, found the end"),
        ("{} {}", "", "line 1, column 4: expected nothing after the object, found {"),
        ("{'a':1}", "", "line 1, column 2: expected a name in double quotes, found 'a'"),
        ('{"message":"m"', "", "line 1, column 15: expected a comma or }, found the end"),
        ('{"message":"m', "message", "line 1, column 12: the string has no end"),
        ("{\"message\":'m'}", "message", "line 1, column 12: 'm' is not a value"),
        ('{"message":}', "message", "line 1, column 12: expected a value, found }"),
        ('{"message" "m"}', "message", 'line 1, column 12: expected a colon, found "'),
        ('{"message":"m" "user_id":"u"}', "", 'line 1, column 16: expected a comma or }, found "'),
        ('{"é":\n\n  "\t"}', "é", "line 3, column 4: the control character U+0009 must be escaped"),
        (b'{"message":"\xc3\xa9\xff"}', "message", "line 1, column 14: the text is not UTF-8"),
        (b'{"message":"\xed\xa0\x80"}', "message", "line 1, column 13: the text is not UTF-8"),
        ('{"message":"\\udc00"}', "message", "line 1, column 13: \\udc00 is half of a surrogate pair"),
        ('{"message":"\\u12"}', "message", "line 1, column 13: \\u is not an escape"),
        ('{"mess\\age":"m"}', "", "line 1, column 7: \\a is not an escape"),
        ('{"version_info":{"a":[1}}', "version_info.a", "line 1, column 24: expected a comma or ], found }"),
        ('{"version_info":{"a":012}}', "version_info.a", "line 1, column 22: 012 is not a value"),
        ('{"version_info":{"a":/**/1}}', "version_info.a", "line 1, column 22: /**/1 is not a value"),
        ('{"version_info":"1.2"}', "version_info", "must be a JSON object"),
        ('{"version_info":[]}', "version_info", "must be a JSON object"),
        ('{"version_info":tru}', "version_info", "line 1, column 17: tru is not a value"),
    ],
)
def test_a_fault_is_told_with_its_field_or_its_place(body: bytes | str, field: str, fault: str) -> None:
    described = f"is not valid JSON at {fault}" if fault.startswith("line") else fault
    assert (field, described) in refuse(body)


def test_after_a_text_that_breaks_off_no_field_is_called_missing() -> None:
    assert len(refuse('{"customer_id":"c","user_id":"u')) == 1


def test_a_name_is_shown_in_printable_characters_and_cut_off() -> None:
    (violation,) = refuse({**GOOD, "a\r\n\x1b[31m\u202e": 1})
    assert violation[0] == "a\\u000d\\u000a\\u001b[31m\\u202e"
    nested: Any = 1e300
    for _ in range(29):
        nested = {"n" * 99: nested}
    ((path, _),) = refuse({**GOOD, "version_info": {"a": nested}})
    assert len(path) == 301
    assert path.startswith("version_info.a.nnn")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        *(("1.50", "1.50"), ("-0", "-0"), ("1E5", "1E5"), ("1e99", "1e99"), ("0.1e-98", "0.1e-98")),
        *(("12345678901234567890123", "12345678901234567890123"), ("9" * 100, "9" * 100), ("0e999", "0e999")),
        *(("1e100", None), ("1e300", None), ("1e-100", None), ("9" * 101, None), ("1e999999999999999999999", None)),
    ],
)
def test_a_number_is_kept_as_it_was_sent(sent: str, stored: str | None) -> None:
    body = with_member("version_info", f'{{ "a" : [ {sent} ] }}')
    if stored is None:
        assert refuse(body) == [("version_info.a[0]", "holds a number of more than 100 digits when written out")]
    else:
        assert read(body).version_info == f'{{"a":[{stored}]}}'


@pytest.mark.parametrize(("opening", "closing", "times"), [('{"a":', "}", 29), ("[", "]", 29), ('{"a":[', "]}", 14)])
def test_thirty_levels_are_stored_and_one_more_is_refused(opening: str, closing: str, times: int) -> None:
    most = '{"a":' + opening * times + "1" + closing * times + "}"
    assert read(with_member("version_info", most)).version_info == most
    deeper = '{"a":' + "[[" + most + "]]}"
    assert {fault for _, fault in refuse(with_member("version_info", deeper))} == {"must be at most 30 levels deep"}


@pytest.mark.parametrize(("filling", "size"), [("x", 1), ("é", 2), ("\\\\", 2), ("\\u0001", 6), ("\\u0041", 1)])
def test_sixteen_kibibytes_are_stored_and_one_byte_more_is_refused(filling: str, size: int) -> None:
    room = 16_384 - len('{"a":"","b":""}')
    text = '{{ "a": "{}", "b": "{}" }}'
    rest = "b" * (room % size)
    assert (
        len(str(read(with_member("version_info", text.format(filling * (room // size), rest))).version_info).encode())
        == 16_384
    )
    over = with_member("version_info", text.format(filling * (room // size), rest + "b"))
    assert refuse(over) == [("version_info", "must be at most 16384 bytes as JSON")]


@pytest.mark.parametrize("unit", ["0,", "[],", "{},", '"",', "[0],"])
def test_an_object_of_the_greatest_size_is_no_fault_beside_another(unit: str) -> None:
    most = '{"a":[' + unit * ((16_384 - 10) // len(unit)) + "0]}"
    assert refuse(with_member("version_info", most)[:-1] + b',"message":5}') == [("message", "must be a string")]
    assert read(with_member("version_info", most)).version_info == most


def test_an_object_of_more_parts_than_bytes_allowed_is_too_large() -> None:
    for count in (8_185, 8_200, 400_000):
        body = with_member("version_info", '{"a":[' + "0," * count + "0]}")
        if count < 8_190:
            assert len(str(read(body).version_info)) < 16_384
        else:
            assert refuse(body) == [("version_info", "must be at most 16384 bytes as JSON")]


@pytest.mark.parametrize(
    "text", [r'{"\u0000":1}', r'{"a":"x\u0000"}', r'{"a":[{"b":"\\\u0000"}]}', r'{"a":{"\u0000b":[]}}']
)
def test_a_nul_in_version_info_is_refused_with_its_path(text: str) -> None:
    ((path, description),) = refuse(with_member("version_info", text))
    assert path.startswith("version_info.")
    assert description == "holds U+0000, which the database cannot store"


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert read(with_member("version_info", r'{"a":"\\u0000"}')).version_info == r'{"a":"\\u0000"}'


@pytest.mark.parametrize("name", ["message", "version_info"])
def test_what_may_be_taken_for_a_second_member_is_none(name: str) -> None:
    # Colons in texts, escaped or not, and what looks like members.
    text = '"a:\\":\\u003a\\",\\"message\\":\\"b"'
    value = text if name == "message" else f"{{{text}:{text}}}"
    event = read(with_member(name, value))
    assert json.loads(value) == (event.message if name == "message" else json.loads(str(event.version_info)))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"message":"","message":""}', "message"),
        ('{"message":null,"message":null}', "message"),
        ('{"message":"a","user_id":"","message":""}', "message"),
        ('{"message":"a:\\u003a","m\\u0065ssage":"b"}', "message"),
        ('{"version_info":{},"version_info":{}}', "version_info"),
        ('{"version_info":{"a":1,"\\u0061":1}}', "version_info.a"),
        ('{"version_info":{"x":[{"b":1},{"b":1,"b":1}]}}', "version_info.x[1].b"),
        ('{"version_info":{"":1,"":{}}}', "version_info."),
    ],
)
def test_a_name_that_stands_twice_is_refused_at_any_depth(body: str, path: str) -> None:
    assert (path, "is given more than once") in refuse(body)


def test_a_message_that_the_reader_does_not_support_is_an_error() -> None:
    for message, texts in ((StoredEvent, ["id", "created_at"]), (PageMeta, []), (Struct, [])):
        descriptor: Any = message.DESCRIPTOR
        with pytest.raises(NotImplementedError):
            FieldReader(descriptor, texts)
