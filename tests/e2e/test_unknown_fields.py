"""A stack whose operator ignores unknown fields: they are dropped, and the answer names them. Nothing else changes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.database import query
from tests.support.http import Answer, Http, violations
from tests.support.json_faults import find_place, list_faults, list_outcomes
from tests.support.stack import Stack, running
from tests.support.template import Template
from tests.support.until import until

LEAD = "/api/v1/lead_analytics"
BATCH = "/api/v1/analytics_events:batch"
HEADER = "x-ignored-fields"
OWN = {"/api/v1/analytics_events": "entity_id", LEAD: "lead_id", "/api/v1/contact_analytics": "contact_id"}


@pytest.fixture(scope="module")
def lenient_stack(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Stack]:
    directory = template.copy_to(tmp_path_factory.mktemp("lenient"))
    with running(directory, UNKNOWN_FIELDS="ignore", WORKERS="1") as started:
        yield started.wait_until_up()


@pytest.fixture(scope="module")
def lenient(lenient_stack: Stack) -> Http:
    return Http(lenient_stack.http_port)


def make_minimal(path: str, customer: str) -> dict[str, Any]:
    event = {"customer_id": customer, "user_id": "u", "recording_id": "r", "event_type": "view", OWN[path]: "e"}
    return {**event, "entity_type": "lead"} if OWN[path] == "entity_id" else event


def without_ids(answer: Answer) -> dict[str, Any]:
    """Return the body of an answer to a create without what differs from one event to the next."""
    return {name: value for name, value in answer.json.items() if name not in VARYING}


VARYING = {"partitionKey", "created_at", "updated_at"}
UNKNOWN = {
    "colour": "red",
    "Message": 5,
    "a": {"b": [10**400, None, {"message": "m"}]},
    "x,y": [],
    "line\r\nset-cookie: a": None,
    "\u00e9": "\0",
}
NAMED = r"colour, Message, a, x\u002cy, line\u000d\u000aset-cookie: a, \u00e9"


@pytest.mark.parametrize("path", OWN)
def test_a_create_drops_unknown_fields_and_names_them(
    lenient: Http, lenient_stack: Stack, customer: str, path: str
) -> None:
    event = make_minimal(path, customer)
    plain = lenient.post(path, event)
    answer = lenient.post(path, {**UNKNOWN, **event})
    assert (plain.status, HEADER in plain.headers) == (201, False)
    assert (answer.status, answer.headers[HEADER]) == (201, NAMED)
    assert answer.headers.keys() - plain.headers.keys() == {HEADER}
    assert without_ids(answer) == without_ids(plain)
    columns = "entity_id, entity_type, message, version_info, idempotency_key"
    rows = query(lenient_stack.database_url, f"SELECT {columns} FROM analytics_event WHERE customer_id = %s", customer)
    assert rows[0] == rows[1]


def test_a_batch_names_each_ignored_field_once(lenient: Http, customer: str) -> None:
    event = make_minimal("/api/v1/analytics_events", customer)
    events = [{**event, "colour": "red"}, event, {**event, "lead_id": "l"}, {**event, "colour": 5, "user_id": 5}]
    answer = lenient.post(BATCH, {"source": {"events": 1}, "events": events, "sent_at": None})
    stored = [faults is None for faults in list_outcomes(answer)]
    assert stored == [True, True, True, False]
    assert sorted(answer.headers[HEADER].split(", ")) == ["colour", "lead_id", "sent_at", "source"]
    assert HEADER not in lenient.post(BATCH, {"events": [event]}).headers


@pytest.mark.parametrize("kind", ["lead", "contact"])
def test_a_search_names_ignored_parameters(lenient: Http, customer: str, kind: str) -> None:
    path = f"/api/v1/{kind}_analytics"
    assert lenient.post(path, make_minimal(path, customer)).status == 201
    asked = f"customer_id={customer.replace(' ', '+')}&user_id=u&{kind}_id=e&recording_id=r"
    plain = lenient("GET", f"{path}/search?{asked}")
    answer = lenient("GET", f"{path}/search?_=1&{asked}&colour=red&colour=blue&Page=2&%C3%A9=&{kind}_id[]=f")
    assert answer.body == plain.body
    assert answer.json["meta"]["rowCount"] == 1
    assert HEADER not in plain.headers
    assert answer.headers[HEADER] == rf"_, colour, Page, \u00e9, {kind}_id[]"


def test_the_header_is_of_bounded_length(lenient: Http, customer: str) -> None:
    event = make_minimal(LEAD, customer)
    for names in ({f"unknown{number}": 1 for number in range(1_000)}, {"n" * 100_000: 1}):
        header = lenient.post(LEAD, {**event, **names}).headers[HEADER]
        assert len(header) <= 1_000
        assert header.startswith(next(iter(names))[:90])


def test_an_unknown_field_changes_no_idempotency_key(lenient: Http, customer: str) -> None:
    event = {**make_minimal(LEAD, customer), "idempotency_key": "k"}
    first, again = lenient.post(LEAD, {**event, "attempt": 1}), lenient.post(LEAD, {**event, "retry": 2})
    assert (again.status, again.body) == (201, first.body)
    assert (again.headers["idempotency-replayed"], again.headers[HEADER]) == ("true", "retry")


STILL_REFUSED = [
    (b'"x":^^nul', "x"),
    (b'"x":["^^\\j"]', "x[0]"),
    (b'"x":1^^,', ""),
    (b'"x":1,"x":2', "x"),
    (b'"x":{"a":1,"a":2}', "x.a"),
    (b'"x":1,"user_id":"v"', "user_id"),
    (b'"x":1,"message":5', "message"),
    (b'"x":1,"version_info":{"a":1e999}', "version_info.a"),
]


@pytest.mark.parametrize(("member", "field"), STILL_REFUSED, ids=[ascii(member) for member, _ in STILL_REFUSED])
def test_every_other_fault_is_refused_as_before(lenient: Http, customer: str, member: bytes, field: str) -> None:
    body = json.dumps(make_minimal(LEAD, customer))[:-1].encode() + b"," + member + b"}"
    body, place = find_place(body) if b"^^" in body else (body, "")
    answer = lenient.post(LEAD, body)
    assert [(name, text[: len(place)]) for name, text in list_faults(answer)] == [(field, place)]
    assert HEADER not in answer.headers


def test_a_misspelt_required_field_is_missed(lenient: Http, customer: str) -> None:
    event = make_minimal(LEAD, customer)
    event["leadId"] = event.pop("lead_id")
    assert set(violations(lenient.post(LEAD, event))) == {"lead_id"}
    assert set(violations(lenient.post(BATCH, {"Events": []}))) == {"events"}


def test_ignored_fields_are_counted_in_the_log(lenient: Http, lenient_stack: Stack, customer: str) -> None:
    assert lenient.post(LEAD, {**make_minimal(LEAD, customer), "secret": 1}).status == 201
    lines = until(lambda: [line for line in lenient_stack.log.splitlines() if "unknown fields ignored" in line])
    assert all(json.loads(line.partition("| ")[2])["fields"] >= 1 for line in lines)
    assert "secret" not in lenient_stack.log
