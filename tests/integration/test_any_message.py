"""Any message that a gRPC caller can send is either stored and found again, or refused with its faults named.

CHAOS_CASES is the number of messages that each test sends, and half of it the number of batches.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import grpc
import psycopg2
import psycopg2.extras
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
    CreateAnalyticsEventRequest,
)
from data_analytics.v1.contact_analytics_service_pb2 import SearchContactAnalyticsEventsRequest
from data_analytics.v1.event_pb2 import AnalyticsEvent, ContactAnalyticsEvent, LeadAnalyticsEvent
from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsRequest
from tests.support import contract, hostile, requests
from tests.support.in_process import Client, RunningServer
from tests.support.refusals import Refusal

CASES = int(os.environ.get("CHAOS_CASES") or 60)
chaos = settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
few = settings(chaos, max_examples=CASES // 2 + 1)
pytestmark = pytest.mark.timeout(60 + CASES)

ANSWERS = dict(zip(hostile.KINDS, (AnalyticsEvent, LeadAnalyticsEvent, ContactAnalyticsEvent), strict=True))
BATCH = BatchCreateAnalyticsEventsRequest
MAX_OBJECT_BYTES = 128 << 10  # Of `version_info`.
UNREADABLE = {""}


class Service:
    """The service's gRPC API, and the table that it writes to."""

    def __init__(self, client: Client, cursor: Any) -> None:
        self._client = client
        self._cursor = cursor

    def send(self, kind: Any, data: bytes, key: str = "") -> Any:
        """Send bytes in the place of a message of `kind`; return the answer, or a refusal's fields as a set."""
        answer: Any = BatchCreateAnalyticsEventsResponse if kind is BATCH else ANSWERS[kind]
        (path,) = (
            f"/{service.full_name}/{method.name}"
            for service in kind.DESCRIPTOR.file.services_by_name.values()
            for method in service.methods
            if method.input_type is kind.DESCRIPTOR and not method.client_streaming
        )
        call: Any = self._client.channel.unary_unary(path, response_deserializer=answer.FromString)
        refusal = Refusal()
        try:
            return call(data, timeout=10, metadata=(("idempotency-key", key),) if key else ())
        except grpc.RpcError as error:
            refusal.error = error
        assert refusal.error.code() == grpc.StatusCode.INVALID_ARGUMENT, refusal.error
        return set(refusal.violations)

    def find_by_key(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Return the row that is stored under the event's idempotency key, if there is one."""
        key = event["customer_id"], event["idempotency_key"]
        self._cursor.execute(
            "SELECT * FROM analytics_event WHERE customer_id = %s AND idempotency_key = %s AND idempotency_key <> ''",
            key,
        )
        rows = self._cursor.fetchall()
        return dict(rows[0]) if rows else None

    def check_stored(self, expected: dict[str, Any], identifier: str, created_at: str) -> None:
        """Check that the event is in the table as it was sent, and that a search finds it."""
        self._cursor.execute("SELECT * FROM analytics_event WHERE id = %s", (identifier,))
        (row,) = self._cursor.fetchall()
        assert {name: row[name] for name in expected} == expected
        asked: dict[str, Any] = {name: expected[name] for name in ("customer_id", "user_id")}
        # A page of 20 of the longest messages would exceed the limit of a gRPC client.
        asked |= {"recording_id": [expected["recording_id"]], "page_size": 10}
        found: Any
        if expected["entity_type"] == "lead":
            lead = SearchLeadAnalyticsEventsRequest(**asked, lead_id=expected["entity_id"])
            found = self._client.leads.SearchLeadAnalyticsEvents(lead, timeout=10)
        else:
            contact = SearchContactAnalyticsEventsRequest(**asked, contact_id=expected["entity_id"])
            found = self._client.contacts.SearchContactAnalyticsEvents(contact, timeout=10)
        records = [
            {each.name: getattr(record, each.name) for each in record.DESCRIPTOR.fields} for record in found.recordings
        ]
        assert {
            **{name: expected[name] for name in records[0] if name in expected},
            **dict.fromkeys(("created_at", "updated_at"), created_at),
        } in records


@pytest.fixture(scope="session")
def service(server: RunningServer, database_url: str) -> Iterator[Service]:
    connection = psycopg2.connect(database_url, cursor_factory=psycopg2.extras.RealDictCursor)
    connection.autocommit = True
    # PostgreSQL prints 1e308 with all its digits, which Python would read as an integer.
    psycopg2.extras.register_default_jsonb(connection, loads=lambda text: json.loads(text, parse_int=float))
    with connection.cursor() as cursor:
        yield Service(server.client, cursor)
    connection.close()


def check_create(service: Service, kind: Any, data: bytes, key: str = "") -> None:
    """Send the bytes of a create of that kind, and check the answer and what is stored against the contract."""
    if len(data) > MAX_OBJECT_BYTES and service.send(kind, data, key) == {"version_info"}:
        # Its bytes are too many, which is known before it is parsed. Parsed, they may be fewer, or malformed.
        return
    try:
        sent = kind.FromString(data)
    except DecodeError:
        assert service.send(kind, data, key) == UNREADABLE
        return
    faults, expected = contract.find_faults(sent, key), contract.expected_row(sent, key)
    before = None if faults else service.find_by_key(expected)
    if before and any(before[name] != value for name, value in expected.items()):
        faults = {"idempotency-key" if key else "idempotency_key"}
    answer = service.send(kind, data, key)
    if answer == UNREADABLE and contract.measure_depth(sent.version_info) > contract.GUARANTEED_DEPTH:
        return
    assert (answer if isinstance(answer, set) else set()) == faults
    if faults:
        return
    identifier = answer.partition_key.partition("|")[2]
    assert before is None or identifier == str(before["id"])
    service.check_stored(expected, identifier, answer.created_at)
    answered = {each.name: getattr(answer, each.name) for each in answer.DESCRIPTOR.fields}
    entity_names = {"entity_id", "lead_id", "contact_id"} & answered.keys()
    assert answered["sort_key"] == expected["customer_id"]
    assert {expected["entity_id"]} == {answered[name] for name in entity_names}
    assert all(answered[name] == expected[name] for name in answered if name in expected)
    if expected["idempotency_key"]:
        assert service.send(kind, data, key) == answer


@chaos
@given(hostile.creates(), hostile.KEYS)
@example(requests.lead_event("c", user_id="", version_info={"a": "\0"}), "k" * 256)
@example(requests.analytics_event("c", version_info=Struct(fields={"a": Value()})), "")
def test_any_create_is_stored_or_refused_for_its_faults(service: Service, event: Any, key: str) -> None:
    key = hostile.make_unique(key)
    if within := getattr(event, "idempotency_key", ""):
        event.idempotency_key = within = hostile.make_unique(within)
        if key and within.isascii() and within.isprintable():
            key = within  # A client sends no other text as metadata, so the two would differ.
    check_create(service, type(event), event.SerializeToString(), key)


@chaos
@given(hostile.mutated(hostile.creates()))
def test_any_bytes_are_stored_or_refused_for_their_faults(service: Service, mutated: tuple[Any, bytes]) -> None:
    kind, data = mutated
    check_create(service, kind, data)


@few
@given(st.lists(hostile.creates((CreateAnalyticsEventRequest,)), min_size=1, max_size=5))
def test_each_event_of_any_batch_is_stored_or_refused_for_its_faults(service: Service, events: list[Any]) -> None:
    for event in events:
        event.idempotency_key = hostile.make_unique(event.idempotency_key)
    answer = service.send(BATCH, BATCH(events=events).SerializeToString())
    if answer == UNREADABLE and any(
        contract.measure_depth(event.version_info) > contract.GUARANTEED_DEPTH for event in events
    ):
        return
    assert [outcome.index for outcome in answer.outcomes] == list(range(len(events)))
    for event, outcome in zip(events, answer.outcomes, strict=True):
        assert {violation.field for violation in outcome.refused.violations} == contract.find_faults(event)
        assert outcome.HasField("stored") != outcome.HasField("refused")
        if outcome.HasField("stored"):
            service.check_stored(contract.expected_row(event), outcome.stored.id, outcome.stored.created_at)


@few
@given(
    hostile.mutated(
        st.lists(hostile.creates((CreateAnalyticsEventRequest,)), max_size=3).map(lambda e: BATCH(events=e))
    )
)
def test_any_bytes_in_place_of_a_batch_are_answered_or_refused(service: Service, mutated: tuple[Any, bytes]) -> None:
    _, data = mutated
    answer = service.send(BATCH, data)
    try:
        sent = BATCH.FromString(data)
    except DecodeError:
        assert answer == UNREADABLE
        return
    if not sent.events:
        assert answer == {"events"}
    elif answer != UNREADABLE:
        assert len(answer.outcomes) == len(sent.events)
