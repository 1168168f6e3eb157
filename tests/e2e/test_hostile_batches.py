"""Hostile batches, through the real Envoy: what is wrong with one event costs that event alone."""

import json

import pytest

from tests.support.database import query
from tests.support.http import Http
from tests.support.json_faults import find_place, list_faults, list_outcomes
from tests.support.stack import Stack

BATCH = "/api/v1/analytics_events:batch"
NOT_AN_OBJECT = "must be a JSON object"
DIGITS = "holds a number of more than 100 digits when written out"
TOO_DEEP = "must be at most 30 levels deep"


def print_event(customer: str) -> bytes:
    """Return the JSON of a valid event."""
    required = {"user_id": "u", "recording_id": "r", "event_type": "view", "entity_type": "lead", "entity_id": "l"}
    return json.dumps({"customer_id": customer, **required}).encode()


def print_batch(*events: bytes) -> bytes:
    """Return the JSON of a batch, of events as they are sent, each on a line of its own."""
    return b'{"events":[\n' + b",\n".join(events) + b"\n]}"


# A member of an event, and the path and the description of its fault: that of its place, if there is a mark.
FAULTS = [
    (b'"message":5', "message", "must be a string"),
    (b'"message":["a"]', "message", "must be a string"),
    (b'"message":"\\u0000"', "message", "contains substring `\0`"),
    (b'"message":"' + b"m" * 65_537 + b'"', "message", "must be at most 65536 characters"),
    (b'"message":"^^\\j"', "message", ""),
    (b'"message":"^^\\ud800"', "message", ""),
    (b'"message":"a^^\xff"', "message", ""),
    (b'"message":"a^^\n"', "message", ""),
    (b'"message":^^nul', "message", ""),
    (b"\"message\":^^'a'", "message", ""),
    (b'"message":"a"^^,', "", ""),
    (b'"message":"a" ^^"event_id":"b"', "", ""),
    (b'"message":"a"} ^^{', "", ""),
    (b'^^message:"a"', "", ""),
    (b'"message" ^^"a"', "message", ""),
    (b'"mesage":"a"', "mesage", "is not a known field; did you mean message?"),
    (b'"lead_id":"l"', "lead_id", "is not a known field"),
    (b'"user_id":"v"', "user_id", "is given more than once"),
    (b'"version_info":{"a":1,"b":{"c":1,"c":1}}', "version_info.b.c", "is given more than once"),
    (b'"version_info":"a: b"', "version_info", NOT_AN_OBJECT),
    (b'"version_info":{"a":[1,1e999]}', "version_info.a[1]", DIGITS),
    (b'"version_info":{"a":[1,^^NaN]}', "version_info.a[1]", ""),
    (b'"version_info":{"a":' + b"[" * 30 + b"]" * 30 + b"}", "version_info.a" + "[0]" * 29, TOO_DEEP),
    (b'"version_info":{"a":' + b"[" * 900 + b"]" * 900 + b"}", "version_info.a" + "[0]" * 29, TOO_DEEP),
    (b'"version_info":{"a":' + b"[" * 7_000 + b"]" * 7_000 + b"}", "version_info.a" + "[0]" * 29, TOO_DEEP),
    (b'"version_info":{"a":"' + b"a" * 16_384 + b'"}', "version_info", "must be at most 16384 bytes as JSON"),
]


@pytest.mark.parametrize(("member", "field", "description"), FAULTS, ids=[ascii(fault[0])[:40] for fault in FAULTS])
def test_a_fault_costs_its_event_alone(
    http: Http, stack: Stack, customer: str, member: bytes, field: str, description: str
) -> None:
    good = print_event(customer)
    body = print_batch(good, good[:-1] + b"," + member + b"}", good)
    if not description:
        body, description = find_place(body)
    before, bad, after = list_outcomes(http.post(BATCH, body))
    assert (before, after) == (None, None)
    assert bad is not None
    assert [(name, text[: len(description)]) for name, text in bad] == [(field, description)]
    assert count_events(stack, customer) == 2


def test_the_faults_of_many_events_are_told_by_their_indexes(http: Http, stack: Stack, customer: str) -> None:
    good = print_event(customer)
    events = [event for member, _, _ in FAULTS for event in (good, good[:-1] + b"," + member + b"}")]
    body = print_batch(*events)
    expected: list[tuple[str, str] | None] = []
    for _, field, description in FAULTS:
        if not description:
            body, description = find_place(body)
        expected += [None, (field, description)]
    outcomes = list_outcomes(http.post(BATCH, body))
    for found, fault in zip(outcomes, expected, strict=True):
        if fault is None:
            assert found is None
        else:
            assert found is not None
            assert [(name, text[: len(fault[1])]) for name, text in found] == [fault]
    assert count_events(stack, customer) == len(FAULTS)


def count_events(stack: Stack, customer: str) -> int:
    ((count,),) = query(stack.database_url, "SELECT count(*) FROM analytics_event WHERE customer_id = %s", customer)
    return int(count)


@pytest.mark.parametrize("event", [b"null", b"5", b'"x"', b"[]", b"[{}]", b"true", b"1e999", b"5 5"])
def test_what_is_no_event_is_refused_by_its_index(http: Http, customer: str, event: bytes) -> None:
    good = print_event(customer)
    outcomes = list_outcomes(http.post(BATCH, print_batch(event, good, event, good, event)))
    refused = [("", NOT_AN_OBJECT)]
    assert outcomes == [refused, None, refused, None, refused]


def test_what_is_no_json_is_refused_by_its_index_and_place(http: Http, customer: str) -> None:
    good = print_event(customer)
    for event in (b"^^nul", b"^^'a'", b"^^//", b"^^\xff", b"^^\x00", b"^^+1"):
        body, place = find_place(print_batch(good, event, good))
        _, bad, _ = list_outcomes(http.post(BATCH, body))
        assert bad is not None
        assert [(field, text[: len(place)]) for field, text in bad] == [("", place)]
        body, place = find_place(b"\n " + event)
        assert [(field, text[: len(place)]) for field, text in list_faults(http.post(BATCH, body))] == [("", place)]


NO_LISTS = [
    (b'{"events":{}}', "events", "must be a list"),
    (b'{"events":true}', "events", "must be a list"),
    (b'{"events":"[]"}', "events", "must be a list"),
    (b'{"events":null}', "events", "value is required"),
    (b'{"events":[]}', "events", "value is required"),
    (b"{}", "events", "value is required"),
    (b"[]", "", NOT_AN_OBJECT),
    (b"null", "", NOT_AN_OBJECT),
    (b'{"events":[@],"events":[@]}', "events", "is given more than once"),
    (b'{"events":[@],"\\u0065vents":[]}', "events", "is given more than once"),
    (b'{"events":[@],"evnts":[]}', "evnts", "is not a known field; did you mean events?"),
    (b'{"Events":[@]}', "Events", "is not a known field; did you mean events?"),
]


@pytest.mark.parametrize(("body", "field", "description"), NO_LISTS)
def test_what_is_no_list_of_events_is_refused_whole(
    http: Http, stack: Stack, customer: str, body: bytes, field: str, description: str
) -> None:
    answer = http.post(BATCH, body.replace(b"@", print_event(customer)))
    assert list_faults(answer) == [(field, description)]
    assert count_events(stack, customer) == 0


BROKEN = [
    *((b'{"events":[@^^', ""), (b'{"events":[@]^^', ""), (b'{"events":[@^^}', ""), (b'{"events":[@]}^^]', "")),
    *((b'{"events":[@],^^}', ""), (b'{"events":[@,^^]}', ""), (b'{"events":[^^,@]}', ""), (b'{"events":[@,^^,@]}', "")),
    *((b'{"events":[@]} ^^{}', ""), (b"{^^events:[@]}", ""), (b'{"events"^^[@]}', "")),
    *((b'{"events":[@,{^^]]}', "events[1]"), (b'{"events":[@,{"a":[1^^}}]}', "events[1]")),
    *((b'{"events":[@,{"a":^^"b}]}', ""), (b'{"events":[@],"a":[}^^', "")),
]


@pytest.mark.parametrize(("marked", "field"), BROKEN)
def test_brackets_that_do_not_match_refuse_the_whole_batch(
    http: Http, stack: Stack, customer: str, marked: bytes, field: str
) -> None:
    body, place = find_place(marked.replace(b"@", print_event(customer)))
    assert [(name, text[: len(place)]) for name, text in list_faults(http.post(BATCH, body))] == [(field, place)]
    assert count_events(stack, customer) == 0


def test_a_batch_is_read_as_its_events_are_one_by_one(http: Http, stack: Stack, customer: str) -> None:
    numbers = b'{"n":[9007199254740993,1e99,0.10,-1.50E2]}'
    event = print_event(customer)[:-1] + b',"message":null,"version_info":' + numbers + b"}"
    spaced = (
        b"\xef\xbb\xbf \n" + print_batch(event).replace(b":", b" :\t").replace(b'"events"', rb'"\u0065vents"') + b"\r\n"
    )
    assert list_outcomes(http.post(BATCH, spaced)) == [None]
    assert http.post("/api/v1/analytics_events", event).status == 201
    stored = query(
        stack.database_url, "SELECT version_info::text, message FROM analytics_event WHERE customer_id = %s", customer
    )
    assert stored == [('{"n": [9007199254740993, 1' + "0" * 99 + ", 0.10, -150]}", "")] * 2
