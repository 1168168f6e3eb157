"""What is kept of a refusal: the rule and the name of the field, and not a character of what was sent."""

import json
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import example, given
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest, CreateAnalyticsEventRequest
from server.access.caller import NotPermitted, Unauthenticated
from server.access.rates import OverRate
from server.messages.convert import ANALYTICS, LEAD
from server.messages.faults import Fault, find_event_fault, find_fault, format_violations, is_about_request, strip
from server.messages.json_codec.batch import BatchReader
from server.messages.json_codec.create import CreateReader
from server.messages.refusals import FieldViolation, InvalidRequest, MalformedMessage, MessageTooLarge
from server.messages.wording import EVENT_NOT_PERMITTED, KEY_IN_PROGRESS, KEY_REUSED
from storage import DatabaseUnavailable, KeyInProgress, UserBlocked

# Characters that no rule has.
SECRET = "~^§ж"
REQUIRED = {"customer_id": "c", "user_id": "u", "recording_id": "r", "event_type": "view"}
ENTITY = {"entity_type": "lead", "entity_id": "l"}
secrets = st.text(SECRET, min_size=1, max_size=30)
names = secrets | st.sampled_from([*REQUIRED, *ENTITY, "message", "version_info", "lead_id"])
values = st.recursive(
    secrets | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(secrets, inner, max_size=3),
    max_leaves=8,
)
junk = st.lists(st.sampled_from([*SECRET, *'"\\{}[]:,\n\x01', "\\u0000", "\\ud800", "1e999", "nul"]), max_size=6)

reader = CreateReader(ANALYTICS)
batch_reader = BatchReader(BatchCreateAnalyticsEventsRequest, ANALYTICS)


def read(body: bytes) -> Fault | None:
    """Return what is kept of the refusal of a body, or None if it is not refused."""
    try:
        reader.read(body)
    except InvalidRequest as error:
        return find_fault(error)
    return None


def read_batch(body: bytes) -> list[Fault]:
    """Return what is kept of the refusals of a batch."""
    faults = []
    try:
        for events in batch_reader.read(body):
            faults += [find_event_fault(each.violations) for each in events if isinstance(each, InvalidRequest)]
    except InvalidRequest as error:
        return [find_fault(error)]
    return faults


@given(st.dictionaries(names, values), junk, st.integers(0, 200))
@example({**REQUIRED, **ENTITY, "message": SECRET}, ["\\", "~"], 150)
@example({**REQUIRED, **ENTITY, SECRET: SECRET}, [], 0)
@example({**REQUIRED, **ENTITY, "version_info": {SECRET: {f"{SECRET}\0": 1}}}, [], 0)
@example({**REQUIRED, **ENTITY, "message": f"{SECRET}\0", "entity_type": SECRET}, [], 0)
def test_nothing_that_was_sent_is_kept(event: dict[str, Any], inserted: list[str], place: int) -> None:
    text = json.dumps(event, ensure_ascii=False)
    body = (text[:place] + "".join(inserted) + text[place:]).encode()
    for fault in (read(body), *read_batch(b'{"events":[%b]}' % body)):
        if fault is not None:
            assert all(violation.description for violation in fault.violations)
            printed = json.dumps([fault.code, fault.violations], ensure_ascii=False)
            assert not set(SECRET) & set(printed), printed
            assert "\\u0000" not in format_violations(fault.violations)


@given(st.dictionaries(secrets, secrets), secrets)
def test_nothing_of_a_message_is_kept(info: dict[str, str], text: str) -> None:
    fields = {**REQUIRED, "entity_type": text, "entity_id": text * 100, "message": f"{text}\0"}
    event = CreateAnalyticsEventRequest(**fields)  # type: ignore[arg-type] # all of these are texts
    event.version_info.CopyFrom(Struct())
    event.version_info.update({**info, "x" * 20_000: text})
    with pytest.raises(InvalidRequest) as caught:
        ANALYTICS.to_event(event)
    fault = find_fault(caught.value)
    assert {violation.field for violation in fault.violations} >= {"entity_type", "message", "version_info"}
    printed = json.dumps(fault.violations, ensure_ascii=False)
    assert not set(SECRET) & set(printed), printed
    assert "\\u0000" not in printed


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        ("recording_id", "recording_id"),
        ("recording_id[3]", "recording_id"),
        ("version_info.tools[0].secret", "version_info"),
        ("leadId", "?"),
        ("secret.message", "?"),
        ("", ""),
        ("events[12]", "events"),
        ("idempotency-key", "idempotency-key"),
    ],
)
def test_a_field_is_named_if_it_is_known(field: str, kept: str) -> None:
    assert strip([FieldViolation(field, "value is required")]) == [(kept, "value is required")]


@pytest.mark.parametrize(
    ("description", "kept"),
    [
        ("is not a known field; did you mean lead_id?", "is not a known field; did you mean lead_id?"),
        ("is not valid JSON at line 2, column 5: \\j is not an escape", ": what is there is not an escape"),
        ("is not valid JSON at line 2, column 5: nul is not a value", ": what is there is not a value"),
        ("is not valid JSON at line 2, column 5: a is not a value is not a value", ": what is there is not a value"),
        (
            "is not valid JSON at line 2, column 5: \\ud800 is half of a surrogate pair",
            ": what is there is half of a surrogate pair",
        ),
        ("is not valid JSON at line 2, column 5: expected a comma or }, found b, found c", ": expected a comma or }"),
        ("is not valid JSON at line 2, column 5: the string has no end", ": the string has no end"),
        ("is not valid JSON at line 2, column 5: no comma may stand before }", ": no comma may stand before }"),
        ("is not valid JSON at line 2, column 5: the control character U+0007 must be escaped", ""),
        ("is not valid JSON at line 2, column 5: whatever may come\nlater", ""),
        ("contains substring `\0`", "contains substring `U+0000`"),
    ],
)
def test_a_description_keeps_its_rule_and_no_quotation(description: str, kept: str) -> None:
    ((_, stripped),) = strip([FieldViolation("", description)])
    assert stripped.removeprefix("is not valid JSON at line 2, column 5") == kept


@pytest.mark.parametrize(
    ("error", "code", "field"),
    [
        (NotPermitted(), "PERMISSION_DENIED", ""),
        (OverRate(), "RESOURCE_EXHAUSTED", ""),
        (MessageTooLarge(), "RESOURCE_EXHAUSTED", ""),
        (MalformedMessage(), "INVALID_ARGUMENT", ""),
        (KeyInProgress(), "ABORTED", ""),
        (UserBlocked(), "INVALID_ARGUMENT", "user_id"),
        (ValueError("a secret"), "INTERNAL", ""),
    ],
)
def test_every_refusal_has_a_code_and_says_why(error: Exception, code: str, field: str) -> None:
    fault = find_fault(error)
    assert is_about_request(error)
    ((named, description),) = fault.violations
    assert (fault.code, named) == (code, field)
    assert description
    assert "secret" not in description


@pytest.mark.parametrize("error", [Unauthenticated(), DatabaseUnavailable("a secret")])
def test_what_says_nothing_about_the_request_is_not_kept(error: Exception) -> None:
    assert not is_about_request(error)


def test_the_code_of_an_event_tells_what_kind_of_refusal_it_is() -> None:
    codes = [find_event_fault([each]).code for each in (EVENT_NOT_PERMITTED, KEY_IN_PROGRESS, KEY_REUSED)]
    assert codes == ["PERMISSION_DENIED", "ABORTED", "INVALID_ARGUMENT"]


def test_many_faults_are_kept_as_far_as_there_is_room() -> None:
    many = [FieldViolation("message", f"rule {number} {'x' * 300}") for number in range(30)]
    assert 0 < len(strip(many)) < 7
    assert len(format_violations(strip(many))) < 4_000
    assert strip([FieldViolation("message", "once")] * 3) == [("message", "once")]


def test_a_refusal_knows_who_reported_the_event() -> None:
    bodies = [
        b'{"customer_id":"c","tool_signature":"vfp"}',
        b'{"tool_signature":"vfp","user_id":"CORP\\jdoe","customer_id":"c"}',
        b'{"customer_id":"c","tool_signature":"vfp","message":"',
    ]
    for body in bodies:
        with pytest.raises(InvalidRequest) as caught:
            CreateReader(LEAD).read(body)
        assert caught.value.reporter == ("c", "vfp")
