"""The JSON of a batch: what is wrong with one event costs that event alone, and reading goes in bounded steps."""

import json
import random
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
)
from server.messages.convert import ANALYTICS
from server.messages.explanations import Explanations
from server.messages.json_codec.batch import BatchReader
from server.messages.json_codec.split import MAX_VALUE_BYTES
from server.messages.refusals import InvalidRequest
from server.messages.wording import GIVEN_TWICE, NOT_A_LIST, NOT_AN_OBJECT, NOT_EXPLAINED
from storage import Event
from storage.event import TEXT_COUNT
from tests.support import json_oracle

STRICT = BatchReader(BatchCreateAnalyticsEventsRequest, ANALYTICS)
LENIENT = BatchReader(BatchCreateAnalyticsEventsRequest, ANALYTICS, ignore_unknown=True)
GOOD = b'{"customer_id":"c","user_id":"u","recording_id":"r","event_type":"v","entity_type":"lead","entity_id":"e"}'


def read(body: bytes, reader: BatchReader = STRICT) -> list[Event | InvalidRequest]:
    return [event for events in reader.read(body) for event in events]


def batch(*events: bytes) -> bytes:
    return b'{"events":[' + b",".join(events) + b"]}"


def with_member(member: bytes) -> bytes:
    return GOOD[:-1] + b"," + member + b"}"


def faults(event: Event | InvalidRequest) -> list[tuple[str, str]]:
    violations = event.violations if isinstance(event, InvalidRequest) else []
    return [(each.field, each.description) for each in violations]


def refuse(body: bytes, reader: BatchReader = STRICT) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        read(body, reader)
    return faults(caught.value)


@pytest.mark.parametrize("count", [1, 2, 64, 65, 100, 101, 999, 1_000])
@pytest.mark.parametrize("member", [b'"message":"m"', b'"message":""', b'"message":null', b'"message":"\\u003a"'])
def test_good_events_are_read_in_their_order(count: int, member: bytes) -> None:
    events = [with_member(member + b',"event_id":"%d"' % index) for index in range(count)]
    for body in (
        batch(*events),
        b' { "events" : [ ' + b" ,\n".join(events) + b" ] } ",
        b"\xef\xbb\xbf" + batch(*events),
    ):
        found = read(body)
        assert [event.event_id for event in found if isinstance(event, Event)] == list(map(str, range(count)))
        assert len({event.id for event in found if isinstance(event, Event)}) == count


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b'"message":5', [("message", "must be a string")]),
        (b'"message":"a\\j"', [("message", "is not valid JSON at line 1, column {}: \\j is not an escape")]),
        (
            b'"message":"\\ud800"',
            [("message", "is not valid JSON at line 1, column {}: \\ud800 is half of a surrogate pair")],
        ),
        (b'"message":"a\xff"', [("message", "is not valid JSON at line 1, column {}: the text is not UTF-8")]),
        (b'"message":01', [("message", "is not valid JSON at line 1, column {}: 01 is not a value")]),
        (b'"message":"a","message":"b"', [("message", GIVEN_TWICE)]),
        (b'"mesage":"a"', [("mesage", "is not a known field; did you mean message?")]),
        (
            b'"version_info":{"a":1e300}',
            [("version_info.a", "holds a number of more than 100 digits when written out")],
        ),
        (b'"version_info":{"a":{"b":1,"b":2}}', [("version_info.a.b", GIVEN_TWICE)]),
        (
            b'"version_info":' + b'{"a":' * 31 + b"1" + b"}" * 31,
            [("version_info" + ".a" * 30, "must be at most 30 levels deep")],
        ),
        (
            b'"version_info":' + b'{"a":' * 60 + b"1" + b"}" * 60,
            [("version_info" + ".a" * 30, "must be at most 30 levels deep")],
        ),
        (b'"user_id":"u" "message":"m"', None),
        (b'"message":"m",', [("", "is not valid JSON at line 1, column {}: no comma may stand before }}")]),
        (b'"event_id":"' + b"x" * 256 + b'"', [("event_id", "must be at most 255 characters")]),
        (b"'message':'m'", None),
    ],
    ids=lambda value: ascii(value[:40]) if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("position", [0, 1, 70, 204])
def test_what_is_wrong_with_one_event_costs_that_event_alone(
    bad: bytes, expected: list[tuple[str, str]] | None, position: int
) -> None:
    events = [GOOD] * 205
    events[position] = with_member(bad)
    body = batch(*events)
    found = read(body)
    assert [index for index, event in enumerate(found) if isinstance(event, InvalidRequest)] == [position]
    if expected is not None:
        # The places are those in the whole body.
        fault = next((body.index(mark) for mark in (b"\\j", b"\\ud", b"\xff", b"01", b",}") if mark in body), 0)
        assert faults(found[position]) == [(field, text.format(fault + 1)) for field, text in expected]


def test_a_place_is_that_in_the_whole_body() -> None:
    body = b'{"events":[\n' + GOOD + ',\n {"message":"é",\n"user_id":"\\x"}, 5\n]}'.encode()
    _, second, third = read(body)
    assert ("user_id", "is not valid JSON at line 4, column 12: \\x is not an escape") in faults(second)
    assert faults(third) == [("", NOT_AN_OBJECT)]


@pytest.mark.parametrize("element", [b"5", b"null", b'"x"', b"[]", b"true", b"nul", b"'a'", b"[{}]", b"\x00", b"{} {}"])
def test_what_is_no_event_is_told_by_its_index(element: bytes) -> None:
    found = read(batch(GOOD, element, GOOD))
    assert [isinstance(event, Event) for event in found] == [True, False, True]


@pytest.mark.parametrize(
    ("body", "field", "fault"),
    [
        (b"", "", NOT_AN_OBJECT),
        (b"[]", "", NOT_AN_OBJECT),
        (b"{}", "events", "value is required"),
        (b'{"events":[]}', "events", "value is required"),
        (b'{"events":[ ]}', "events", "value is required"),
        (b'{"events":null}', "events", "value is required"),
        (b'{"events":{}}', "events", NOT_A_LIST),
        (b'{"events":5}', "events", NOT_A_LIST),
        (b'{"events":[{}],"events":[{}]}', "events", GIVEN_TWICE),
        (b'{"events":[{}],"\\u0065vents":null}', "events", GIVEN_TWICE),
        (b'{"event":[{}]}', "event", "is not a known field; did you mean events?"),
        (b'{"events":[{}],"x":{"events":[{}]}}', "x", "is not a known field"),
        (batch(*[b"{}"] * 1_001), "events", "must contain no more than 1000 item(s)"),
        (batch(*[b"{}"] * 500_000), "events", "must contain no more than 1000 item(s)"),
        (b'{"events":[{},]}', "", "line 1, column 15: expected a value, found ]}"),
        (b'{"events":[,{}]}', "", "line 1, column 12: expected a value, found ,{}]}"),
        (b'{"events":[{}}', "", "line 1, column 14: expected a comma or ], found }"),
        (b'{"events":[{}]', "", "line 1, column 15: expected a comma or }, found the end"),
        (b'{"events":[{}', "", "line 1, column 14: expected a comma or ], found the end"),
        (b'{"events":[5 {"a":[}}]}', "events[0]", "line 1, column 20: expected brackets that match, found }"),
        (b'{"events":[{}[}]}', "events[0]", "line 1, column 15: expected brackets that match, found }"),
        (b'{"events":[{]}', "", "line 1, column 14: expected a comma or ], found }"),
        (b'{"events":[{"a":[}]}]}', "", "line 1, column 20: expected a comma or ], found }]}"),
        (b'{"events":[{"a":[}}]}', "events[0]", "line 1, column 18: expected brackets that match, found }"),
        (b'{"events":[{}]}]', "", "line 1, column 16: expected nothing after the object, found ]"),
        (b'{"events":[{}]} {}', "", "line 1, column 17: expected nothing after the object, found {}"),
        (b'{"events":[{"a":"]}', "", "line 1, column 17: the string has no end"),
        (b'{"events" [{}]}', "", "line 1, column 11: expected a colon, found [{}]}"),
        (b"{events:[{}]}", "", "line 1, column 2: expected a name in double quotes, found events:[{}]}"),
        (b'{"events":[{}],}', "", "line 1, column 16: expected a name in double quotes, found }"),
        (b'{"eve\\nts\\j":[{}]}', "", "line 1, column 10: \\j is not an escape"),
    ],
    ids=lambda value: ascii(value[:40]),
)
def test_a_batch_is_refused_as_a_whole_only_where_it_is_none(body: bytes, field: str, fault: str) -> None:
    described = f"is not valid JSON at {fault}" if fault.startswith("line") else fault
    assert (field, described) in refuse(body)


def test_unknown_fields_may_be_ignored_and_are_counted() -> None:
    body = (
        b'{"source":{"a":[1]},"events":['
        + b",".join([with_member(b'"extra":[1,{"a":2}]'), GOOD, with_member(b'"extra":1,"more":{}')])
        + b'],"":null}'
    )
    reading = LENIENT.read(body)
    events = [event for part in reading for event in part]
    assert all(isinstance(event, Event) for event in events)
    assert reading.ignored == {"extra": 2, "more": 1, "source": 1, "": 1}
    assert {field for field, _ in refuse(body)} == {"source", ""}
    inner = [faults(event) for event in read(batch(with_member(b'"extra":1'), GOOD))]
    assert inner == [[("extra", "is not a known field")], []]


@pytest.mark.parametrize(
    "value", [b"[1,2", b"{1:2}", b'{"a":1,"a":2}', b'"\\j"', b"NaN", b'"' + b"x" * MAX_VALUE_BYTES + b'"']
)
def test_an_ignored_member_of_the_batch_is_json_and_not_large(value: bytes) -> None:
    assert refuse(b'{"events":[' + GOOD + b'],"x":' + value + b"}", LENIENT)


def test_a_batch_of_many_unknown_members_is_refused_without_end() -> None:
    for names in ([b"k%d" % number for number in range(100_000)], [b"k"] * 100_000):
        many = b'{"events":[' + GOOD + b"]" + b"".join(b',"%b":1' % name for name in names) + b"}"
        for reader in (STRICT, LENIENT):
            assert 1 <= len(refuse(many, reader)) <= 102


def test_not_every_name_of_millions_that_are_ignored_is_kept() -> None:
    events = [
        with_member(b",".join(b'"k%d":1' % (100 * index + number) for number in range(100))) for index in range(50)
    ]
    reading = LENIENT.read(batch(*events))
    assert sum(len(part) for part in reading) == 50
    assert len(reading.ignored) == 101
    assert (reading.ignored["k7"], reading.ignored["…"]) == (1, 4_900)


def test_an_event_over_a_mebibyte_is_refused_alone() -> None:
    padded = GOOD[:-1] + b" " * MAX_VALUE_BYTES + b"}"
    for others in ([GOOD], [GOOD, b'{"message":"\\j"}']):
        found = read(batch(padded, *others))
        assert faults(found[0]) == [("", "must be at most 1 MiB, as the body of a single event")]
        assert isinstance(found[1], Event)


def test_events_beyond_the_budget_are_refused_and_told_to_be_sent_alone() -> None:
    bad = with_member(b'"version_info":{"a":[' + b"0," * 8_000 + b'"\\u0000"]}')
    found = read(batch(*[bad] * 100, GOOD, with_member(b'"message":5'), GOOD))
    said = [faults(event) for event in found]
    assert said[0] == [("version_info.a[8000]", "holds U+0000, which the database cannot store")]
    assert said[99] == said[101] == [("", NOT_EXPLAINED)]
    assert [isinstance(event, Event) for event in found] == [False] * 100 + [True, False, True]


@pytest.mark.parametrize(
    ("bad", "violation"),
    [
        (GOOD.replace(b'"user_id":"u"', b'"user_id":5') + b" ", ("user_id", "must be a string")),
        (GOOD.replace(b'"user_id":"u"', b'"user_id":""'), ("user_id", "value is required")),
    ],
)
def test_of_a_thousand_bad_events_the_first_hundred_are_explained(bad: bytes, violation: tuple[str, str]) -> None:
    found = read(batch(*[bad] * 999, GOOD))
    said = [faults(event) for event in found[:-1]]
    assert said == [[violation]] * 100 + [[("", NOT_EXPLAINED)]] * 899
    assert isinstance(found[-1], Event)


def test_the_explanations_of_a_batch_are_bounded_in_bytes() -> None:
    bad = with_member(b",".join(b'"%s%d":1' % (b"k" * 90, number) for number in range(30)))
    found = read(batch(*[bad] * 100))
    assert 64 << 10 < sum(len(text) for event in found for fault in faults(event) for text in fault) < 80 << 10


@pytest.mark.parametrize("size", [200, 2_000, 8_000])
@pytest.mark.parametrize("is_good", [True, False])
def test_a_large_batch_is_read_in_many_steps(size: int, *, is_good: bool) -> None:
    events = [with_member(b'"message":"' + b"x" * size + b'"')] * 990
    if not is_good:
        events[5] = b'{"message":"\\j"}'
    steps = list(STRICT.read(batch(*events)))
    assert sum(map(len, steps)) == 990
    assert max(map(len, steps)) <= 100
    assert len(steps) >= max(10, 990 * size // (512 << 10))


def split(text: bytes) -> list[bytes] | None:
    """The elements of a list by its brackets and strings, character by character, or None if they do not match."""
    elements, start, place, open_brackets, in_string = [], 0, 0, b"", False
    while place < len(text):
        character = text[place : place + 1]
        if character == b"\\" and text[place + 1 : place + 2] in (b"\\", b'"'):
            place += 1
        elif character == b'"':
            in_string = not in_string
        elif in_string:
            pass
        elif character in (b"{", b"["):
            open_brackets += character
        elif character in (b"}", b"]"):
            if open_brackets[-1:] != {b"}": b"{", b"]": b"["}[character]:
                return None
            open_brackets = open_brackets[:-1]
        elif character == b"," and not open_brackets:
            elements.append(text[start:place])
            start = place + 1
        place += 1
    elements.append(text[start:])
    is_list = not in_string and not open_brackets and place == len(text)
    return elements if is_list and all(element.strip(b" \t\n\r") for element in elements) else None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reader", [STRICT, LENIENT])
def test_mutated_batches_are_read_event_by_event(seed: int, reader: BatchReader) -> None:
    rng = random.Random(seed)
    names = reader.creates.fields.names
    whole = good = bad = 0
    for _ in range(1_000):
        events = [json_oracle.make_random_event(rng) for _ in range(rng.randint(1, 4))]
        text = b",".join(json_oracle.mutate(rng, event) if rng.random() < 0.4 else event for event in events)
        body = b'{"events":[' + text + b"]}"
        elements = split(text)
        if elements is None:
            whole += 1
            assert refuse(body, reader), body
            continue
        found = read(body, reader)
        assert len(found) == len(elements), body
        for event, element in zip(found, elements, strict=True):
            expected = json_oracle.read_strictly(element, names, ignore_unknown=reader is LENIENT)
            if expected is None:
                bad += 1
                assert faults(event), body
                continue
            good += 1
            texts = tuple(expected.texts.get(name, "") for name in names)
            violations = [tuple(each) for each in ANALYTICS.find_violations(texts)]
            assert faults(event) == violations, body
            if isinstance(event, Event):
                assert (event[:TEXT_COUNT], event.version_info) == (texts, expected.version_info), body
    assert min(whole, good, bad) > 100


def test_a_batch_is_read_as_json_format_reads_it() -> None:
    events: list[dict[str, Any]] = [json.loads(with_member(b'"version_info":{"a":[%d,null]}' % n)) for n in range(150)]
    request = ParseDict({"events": events}, BatchCreateAnalyticsEventsRequest())
    ours = read(json.dumps({"events": events}).encode())
    theirs = list(ANALYTICS.to_events(list(request.events), Explanations()))
    assert [event[:16] for event in ours if isinstance(event, Event)] == [
        event[:16] for event in theirs if isinstance(event, Event)
    ]


def test_a_message_that_is_no_list_of_these_creates_is_an_error() -> None:
    with pytest.raises(NotImplementedError):
        BatchReader(BatchCreateAnalyticsEventsResponse, ANALYTICS)
