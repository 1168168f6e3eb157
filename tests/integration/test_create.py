"""Single creates by gRPC: how they are answered, and what is refused."""

import re
from typing import Any

import grpc
import pytest

from tests.support import requests
from tests.support.in_process import Client
from tests.support.refusals import refused

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def test_a_lead_event_is_answered_as_documented(client: Client, customer: str) -> None:
    answer = client.leads.CreateLeadAnalyticsEvent(
        requests.lead_event(customer, **requests.EVERY_OPTIONAL_FIELD), timeout=5
    )
    assert (answer.customer_id, answer.lead_id, answer.user_id) == (customer, "entity", "user")
    assert (answer.recording_id, answer.event_type, answer.event_id) == ("recording", "view", "view#1")
    assert (answer.tool_signature, answer.message) == ("vfp", "a message")
    assert answer.record_type == "lead_analytics_event"
    assert re.fullmatch(rf"Lead analytics event\|{UUID7}", answer.partition_key)
    assert answer.sort_key == customer
    assert TIME.fullmatch(answer.created_at)
    assert answer.updated_at == answer.created_at


def test_a_contact_event_is_answered_as_documented(client: Client, customer: str) -> None:
    answer = client.contacts.CreateContactAnalyticsEvent(requests.contact_event(customer), timeout=5)
    assert answer.contact_id == "entity"
    assert answer.record_type == "contact_analytics_event"
    assert re.fullmatch(rf"Contact analytics event\|{UUID7}", answer.partition_key)
    assert answer.message == ""


def test_an_analytics_event_is_answered_with_its_entity(client: Client, customer: str) -> None:
    request = requests.analytics_event(customer, entity_type="contact", entity_id="c1")
    answer = client.events.CreateAnalyticsEvent(request, timeout=5)
    assert (answer.entity_type, answer.entity_id) == ("contact", "c1")
    assert answer.record_type == "analytics_event"
    assert re.fullmatch(rf"Analytics event\|{UUID7}", answer.partition_key)


def test_a_lead_may_be_named_by_entity_id(client: Client, customer: str) -> None:
    request = requests.lead_event(customer, lead_id="", entity_id="l1")
    assert client.leads.CreateLeadAnalyticsEvent(request, timeout=5).lead_id == "l1"


def test_both_names_of_the_entity_are_accepted_when_they_agree(client: Client, customer: str) -> None:
    request = requests.contact_event(customer, contact_id="c1", entity_id="c1")
    assert client.contacts.CreateContactAnalyticsEvent(request, timeout=5).contact_id == "c1"


def test_both_names_of_the_entity_are_refused_when_they_differ(client: Client, customer: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        request = requests.lead_event(customer, lead_id="l1", entity_id="l2")
        client.leads.CreateLeadAnalyticsEvent(request, timeout=5)
    assert set(refusal.violations) == {"lead_id", "entity_id"}


def test_every_field_of_a_create_at_fault_is_named_at_once(client: Client) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        request = requests.lead_event(
            "",
            user_id="u" * 256,
            recording_id="a\0b",
            event_type="",
            lead_id="",
            message="m" * 65_537,
            event_environment_path="p" * 2_049,
            version_info={"a\0": 1},
        )
        client.leads.CreateLeadAnalyticsEvent(request, timeout=5)
    assert set(refusal.violations) == {
        "customer_id",
        "user_id",
        "recording_id",
        "event_type",
        "lead_id",
        "message",
        "event_environment_path",
        "version_info",
    }
    assert refusal.error.details() == refusal.status.message
    assert refusal.status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


@pytest.mark.parametrize("entity_type", ["", "account", "Lead", "lead "])
def test_an_entity_is_a_lead_or_a_contact(client: Client, customer: str, entity_type: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        client.events.CreateAnalyticsEvent(requests.analytics_event(customer, entity_type=entity_type), timeout=5)
    assert set(refusal.violations) == {"entity_type"}


def test_limits_count_characters_and_not_bytes(client: Client, customer: str) -> None:
    request = requests.lead_event(customer, lead_id="\U0001f600" * 255, message="\U0001f600" * 65_536)
    assert client.leads.CreateLeadAnalyticsEvent(request, timeout=5).message == request.message


def test_bytes_that_are_no_message_are_an_invalid_argument(client: Client) -> None:
    call: Any = client.channel.unary_unary("/data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent")
    for garbage in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe"):  # not a field; a string that is not UTF-8
        with refused(grpc.StatusCode.INVALID_ARGUMENT):
            call(garbage, timeout=5)


def test_a_version_info_nested_too_deep_to_parse_is_refused(client: Client, customer: str) -> None:
    # Deeper than a generated class can build: each level is a Struct in a Value in a map entry.
    value = b"\x1a\x01x"
    for _ in range(200):
        entry = b"\x0a\x01k\x12" + _length(value) + value
        struct = b"\x0a" + _length(entry) + entry
        value = b"\x2a" + _length(struct) + struct
    entry = b"\x0a\x01k\x12" + _length(value) + value
    struct = b"\x0a" + _length(entry) + entry
    data = requests.lead_event(customer).SerializeToString() + b"\x82\x01" + _length(struct) + struct
    call: Any = client.channel.unary_unary("/data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent")
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        call(data, timeout=5)


def test_a_create_over_a_mebibyte_is_refused(client: Client, customer: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer, message="m" * (1 << 20)), timeout=5)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def _length(data: bytes) -> bytes:
    length, encoded = len(data), b""
    while length > 127:
        encoded += bytes([length & 127 | 128])
        length >>= 7
    return encoded + bytes([length])
