"""The law of access: no caller ever sees or writes an event outside its claims, through any door."""

import gzip
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from tests.support.access import bearer, make_key, make_signer, providers_claims, sign, signers_claims
from tests.support.database import query
from tests.support.http import Http
from tests.support.in_process import Client
from tests.support.requests import analytics_event, lead_event, lead_search
from tests.support.stack import Stack

CASES = int(os.environ.get("CHAOS_CASES") or 60)
TAG = uuid.uuid4().hex[:8]
# Some of them look alike.
CUSTOMERS = [f"{name}{TAG}" for name in ("acme", "ACME", "acme ", "Café", "Cafe\u0301", "globex", "globex\u200b")]
ACME, GLOBEX, CAFE = CUSTOMERS[0], CUSTOMERS[5], CUSTOMERS[3]
USERS = ["u1", "u2", "U1"]
WRITE, READ = "events:write", "events:read"

OK, UNAUTHENTICATED, FORBIDDEN = 200, 401, 403
STATUSES = {
    grpc.StatusCode.OK: OK,
    grpc.StatusCode.UNAUTHENTICATED: UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: FORBIDDEN,
}


class Holder(NamedTuple):
    """A caller: the credentials that it sends, and what these allow."""

    headers: tuple[tuple[str, str], ...]
    customers: list[str] | None = None
    """None means all of them."""
    scopes: tuple[str, ...] = ()
    users: list[str] | None = None
    is_known: bool = True

    def may(self, scope: str, customer: str, user: str) -> bool:
        """Return whether the claims allow it."""
        return (
            self.is_known
            and scope in self.scopes
            and (self.customers is None or any(customer == each for each in self.customers))
            and (self.users is None or any(user == each for each in self.users))
        )


class Target(NamedTuple):
    """One event that is to be stored."""

    customer: str
    user: str
    mark: str
    """What no other event has."""


class Doors:
    """The callers, and the ways in. Each method returns the status, and the events that are said to be stored."""

    def __init__(self, stack: Stack, direct: Client, through_envoy: Client, holders: list[Holder]) -> None:
        self.holders = holders
        self.url = stack.database_url
        self._http = Http(stack.http_port)
        self._clients = {"grpc": direct, "grpc through Envoy": through_envoy}

    def create(self, door: str, holder: Holder, target: Target) -> int:
        """Send one create."""
        if client := self._clients.get(door):
            event = lead_event(target.customer, user_id=target.user, event_id=target.mark)
            return self._status(
                lambda: client.leads.CreateLeadAnalyticsEvent(event, timeout=10, metadata=holder.headers)
            )
        body = {**_event(target), "lead_id": "entity"}
        answer = self._http.post("/api/v1/lead_analytics", *_dress(door, body, holder))
        return OK if answer.status == 201 else answer.status

    def create_many(self, door: str, holder: Holder, targets: list[Target]) -> tuple[int, list[Target]]:
        """Send a batch, or a chunk of a stream."""
        if client := self._clients.get(door):
            events = [analytics_event(each.customer, user_id=each.user, event_id=each.mark) for each in targets]
            answers: list[Any] = []
            chunk = WriteAnalyticsEventsRequest(events=events)
            batch = BatchCreateAnalyticsEventsRequest(events=events)

            def write() -> None:
                if door == "grpc":
                    call = client.events.WriteAnalyticsEvents(iter([chunk]), timeout=10, metadata=holder.headers)
                    answers.extend(answer.committed for answer in call)
                else:
                    answers.append(client.events.BatchCreateAnalyticsEvents(batch, timeout=10, metadata=holder.headers))

            status = self._status(write)
            outcomes = [outcome.HasField("stored") for answer in answers for outcome in answer.outcomes]
        else:
            body = {"events": [{**_event(each), "entity_type": "lead", "entity_id": "entity"} for each in targets]}
            answer = self._http.post("/api/v1/analytics_events:batch", *_dress(door, body, holder))
            status = answer.status
            outcomes = ["stored" in outcome for outcome in answer.json.get("outcomes", [])]
        return status, [target for target, stored in zip(targets, outcomes, strict=False) if stored]

    def find(self, door: str, holder: Holder, customer: str, user: str) -> tuple[int, set[str]]:
        """Search, and return the status and the marks of what is found."""
        if client := self._clients.get(door):
            search = lead_search(customer, user_id=user, page_size=1_000)
            pages: list[Any] = []
            status = self._status(
                lambda: pages.append(
                    client.leads.SearchLeadAnalyticsEvents(search, timeout=10, metadata=holder.headers)
                )
            )
            return status, {record.event_id for page in pages for record in page.recordings}
        parameters = urlencode(
            {
                "customer_id": customer,
                "user_id": user,
                "lead_id": "entity",
                "recording_id": "recording",
                "pageSize": 1000,
            }
        )
        answer = self._http("GET", f"/api/v1/lead_analytics/search?{parameters}", headers=dict(holder.headers))
        return answer.status, {record["event_id"] for record in answer.json.get("recordings", [])}

    @staticmethod
    def _status(call: Any) -> int:
        try:
            call()
        except grpc.RpcError as error:
            return STATUSES[error.code()]
        return OK


def _event(target: Target) -> dict[str, object]:
    return {
        "customer_id": target.customer,
        "user_id": target.user,
        "recording_id": "recording",
        "event_type": "view",
        "event_id": target.mark,
    }


def _dress(door: str, body: Mapping[str, object], holder: Holder) -> tuple[bytes, dict[str, str]]:
    """Return a body and its headers as they come through this door."""
    data, headers = json.dumps(body).encode(), dict(holder.headers)
    if door == "large json":
        data += b" " * 20_000
    if door == "gzip":
        return gzip.compress(data), {**headers, "content-encoding": "gzip"}
    return data, headers


DOORS = st.sampled_from(["json", "large json", "gzip", "grpc", "grpc through Envoy"])


@pytest.fixture(scope="module")
def doors(guarded: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    url, directory = guarded.database_url, tmp_path_factory.mktemp("signer")
    holders = _make_holders(url, directory)
    with (
        grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as direct,
        grpc.insecure_channel(f"127.0.0.1:{guarded.http_port}") as through_envoy,
    ):
        yield Doors(guarded, Client(direct), Client(through_envoy), holders)


def _make_holders(url: str, directory: Path) -> list[Holder]:
    def hold(credentials: str, *claims: Any) -> Holder:
        return Holder(tuple(bearer(credentials).items()), *claims)

    def token(customers: object, scope: str) -> str:
        return sign(providers_claims(customers, scope, exp=4_000_000_000), "RS256")

    signer = make_signer(url, directory, ACME, "ES256")
    return [
        hold(make_key(url, "publishable", ACME), [ACME], (WRITE,)),
        hold(make_key(url, "publishable", GLOBEX, "--user", "u1"), [GLOBEX], (WRITE,), ["u1"]),
        hold(make_key(url, "secret", ACME), [ACME], (WRITE, READ)),
        hold(make_key(url, "secret", GLOBEX, "--scope", READ), [GLOBEX], (READ,)),
        hold(make_key(url, "secret", CAFE, "--user", "U1", "--user", "u2"), [CAFE], (WRITE, READ), ["U1", "u2"]),
        hold(sign(signers_claims("u1"), signer, "ES256"), [ACME], (WRITE,), ["u1"]),
        hold(token([ACME, CUSTOMERS[4]], f"{WRITE} {READ}"), [ACME, CUSTOMERS[4]], (WRITE, READ)),
        hold(token("*", READ), None, (READ,)),
        hold(token("*", f"openid {WRITE} {READ}"), None, (WRITE, READ)),
        hold(token([], f"{WRITE} {READ}"), [], (WRITE, READ)),
        hold(token(CUSTOMERS, "events"), CUSTOMERS, ()),
        Holder((), is_known=False),
        hold("sk_x", None, (WRITE, READ))._replace(is_known=False),
        hold(make_key(url, "secret", ACME)[:-1], None, (WRITE, READ))._replace(is_known=False),
    ]


@settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_caller_sees_or_writes_an_event_outside_its_claims(doors: Doors, data: st.DataObject) -> None:
    stored: set[Target] = set()
    refused: set[Target] = set()
    for _ in range(data.draw(st.integers(1, 8))):
        holder, door = data.draw(st.sampled_from(doors.holders)), data.draw(DOORS)
        targets = [
            Target(data.draw(st.sampled_from(CUSTOMERS)), data.draw(st.sampled_from(USERS)), uuid.uuid4().hex)
            for _ in range(data.draw(st.integers(1, 3)))
        ]
        may_write = {each for each in targets if holder.may(WRITE, each.customer, each.user)}
        kind = data.draw(st.sampled_from(["create", "batch", "search"]))
        if kind == "create":
            may_write &= {targets[0]}
            status = doors.create(door, holder, targets[0])
            assert status == (OK if may_write else _refusal(holder)), (door, holder, targets[0])
        elif kind == "batch":
            status, said = doors.create_many(door, holder, targets)
            assert status == (OK if holder.is_known and WRITE in holder.scopes else _refusal(holder)), (door, holder)
            assert set(said) == may_write, (door, holder)
        else:
            may_write = set()
            customer, user, _ = targets[0]
            status, found = doors.find(door, holder, customer, user)
            if holder.may(READ, customer, user):
                assert status == OK
                assert {each.mark for each in stored if (each.customer, each.user) == (customer, user)} <= found
            else:
                assert (status, found) == (_refusal(holder), set()), (door, holder)
        stored |= may_write
        refused |= set(targets) - may_write
    marks = [each.mark for each in stored | refused]
    rows = query(
        doors.url, "SELECT customer_id, user_id, event_id FROM analytics_event WHERE event_id = ANY(%s)", marks
    )
    assert {Target(*row) for row in rows} == stored
    assert len(rows) == len(stored)


def _refusal(holder: Holder) -> int:
    return FORBIDDEN if holder.is_known else UNAUTHENTICATED
