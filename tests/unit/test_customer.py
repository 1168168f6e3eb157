"""Whose request it is, told from its bytes before it is read."""

import pytest

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest, WriteAnalyticsEventsRequest
from server.messages.customer import (
    find_customer,
    find_customer_in_json,
    find_customer_in_url,
    find_customer_of_batch,
    find_customer_of_search,
    find_reporter,
    find_reporter_in_json,
    find_reporter_of_batch,
)
from tests.support import requests

CUSTOMERS = ["c", "customer-1", "é" * 255, "\U0001f600" * 255]


@pytest.mark.parametrize("customer", CUSTOMERS)
def test_the_customer_of_each_kind_of_message_is_found(customer: str) -> None:
    rest = {**requests.EVERY_OPTIONAL_FIELD, "message": "m" * 60_000}
    event = requests.analytics_event(customer, **rest)
    assert find_customer(event.SerializeToString()) == customer
    assert find_customer(requests.lead_event(customer, **rest).SerializeToString()) == customer
    for batch in (BatchCreateAnalyticsEventsRequest, WriteAnalyticsEventsRequest):
        assert find_customer_of_batch(batch(events=[event] * 3).SerializeToString()) == customer
    for count in (1, 500):
        search = requests.lead_search(customer, recording_id=["r" * 255] * count)
        assert find_customer_of_search(search.SerializeToString()) == customer


@pytest.mark.parametrize(
    ("body", "customer"),
    [
        (b'{"customer_id":"acme"}', "acme"),
        (b'{"message":"m", "customer_id" :\n "acme" }', "acme"),
        (b'{"events":[{"user_id":"u","customer_id":"acme"},{"customer_id":"globex"}]}', "acme"),
        (rb'{"customer_id":"a\"b"}', r"a\"b"),
        (b'{"customer_id":5}', ""),
        (b'{"customer_id":"' + b"x" * 4_000 + b'"}', ""),
        (b" " * 100_000 + b'{"customer_id":"acme"}', ""),
        (b"", ""),
    ],
)
def test_the_customer_in_json_is_found(body: bytes, customer: str) -> None:
    assert find_customer_in_json(body) == customer


def test_the_customer_in_a_url_is_found() -> None:
    assert find_customer_in_url("/search?user_id=u&customer_id=acme&page=1") == "acme"
    assert find_customer_in_url("/search?my_customer_id=acme") == ""


@pytest.mark.parametrize("find", [find_customer, find_customer_of_batch, find_customer_of_search])
@pytest.mark.parametrize(
    "message",
    [b"", b"\x0a", b"\x0a\xff", b"\x0a\x00" * 500_000, b"\x08\x01\x0a\x01c", b"\xff"],
)
def test_bytes_without_a_customer_are_nobodys(find: object, message: bytes) -> None:
    assert callable(find)
    assert find(message) == ""


def test_what_is_not_utf8_is_somebodys() -> None:
    assert find_customer(b"\x0a\x02\xff\xfe") == "��"
    assert len(find_customer(b"\x0a\xff\xff\x3f" + b"c" * (1 << 20))) < 2_000


@pytest.mark.parametrize("customer", CUSTOMERS)
def test_who_reports_what_is_refused_is_found(customer: str) -> None:
    event = requests.analytics_event(customer, tool_signature="vfp", event_id="e", message="m" * 60_000)
    assert find_reporter(event.SerializeToString()) == (customer, "vfp")
    assert find_reporter(requests.lead_event(customer, event_id="e").SerializeToString()) == (customer, "")
    assert find_reporter_of_batch(BatchCreateAnalyticsEventsRequest(events=[event]).SerializeToString())[0] == customer
    assert find_reporter(b"\xff\xff") == find_reporter_of_batch(b"") == ("", "")


@pytest.mark.parametrize(
    ("body", "reporter"),
    [
        (rb'{"customer_id":"a\"\u00e4b", "tool_signature" : "vfp", "message":"', ('a"äb', "vfp")),
        (rb'{"customer_id":"CORP\jdoe","tool_signature":"vfp"}', ("", "vfp")),
        (b'{"customer_id":"a\xff","tool_signature":5}', ("", "")),
        (b'{"customer_id":"a\nb"}', ("", "")),
        (b"", ("", "")),
    ],
)
def test_who_reports_what_is_refused_is_found_in_json(body: bytes, reporter: tuple[str, str]) -> None:
    assert find_reporter_in_json(body) == reporter


@pytest.mark.parametrize(
    ("body", "reporter"),
    [
        ('{"customer_id":"c","tool_signature":"t","a":}', ("c", "t")),
        (
            '{"version_info":{"customer_id":"other","tool_signature":"x"},"customer_id":"c","tool_signature":"t"}',
            ("c", "t"),
        ),
        ('{"version_info":{"customer_id":"other","tool_signature":"x","a":},"customer_id":"c"}', ("c", "")),
        ('{"a":[{"customer_id":"other"}],"customer_id":"c"', ("c", "")),
        ('{"a":"customer_id","customer_id":"c"', ("c", "")),
        ('{"events":[{"version_info":{"customer_id":"other"},"customer_id":"c"},{"tool_signature":"t"}]}', ("c", "")),
        ('{"a":[{"customer_id":"other"}],"events":[{"customer_id":"c","tool_signature":"t"}]}', ("c", "t")),
        ('{"version_info":{"customer_id":"other"', ("", "")),
        ("[" * 20_000 + '{"customer_id":"other"', ("", "")),
        ('{"customer_id":["other"]}', ("", "")),
        ("", ("", "")),
    ],
)
def test_only_the_fields_of_an_event_say_whose_refusal_it_is(body: str, reporter: tuple[str, str]) -> None:
    found = find_reporter_in_json(body.encode())
    assert (found.customer_id, found.tool_signature) == reporter
