"""Who may call a server by gRPC, and what each caller may do."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    GetAnalyticsEventRequest,
    ListAnalyticsEventsRequest,
    WriteAnalyticsEventsRequest,
)
from data_analytics.v1.refusal_pb2 import ListRefusalsRequest
from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest
from server.access.key import format_key, make_id, parse_key
from server.access.key import make_key as new_key
from server.messages.wording import EVENT_NOT_PERMITTED
from server.transport import TRANSPORTS
from tests.support.access import (
    bearer,
    create,
    make_key,
    make_signer,
    providers_claims,
    revoke,
    sign,
    signers_claims,
    write_jwks,
)
from tests.support.database import count_events, query
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import Refusal, refused
from tests.support.requests import analytics_event, contact_event, lead_event, lead_search
from tests.support.until import until

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="module", params=TRANSPORTS)
def guarded(guarded_url: str, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Iterator[RunningServer]:
    """Yield a server, on either transport, whose callers need credentials."""
    provider = write_jwks(tmp_path_factory.mktemp("provider") / "jwks.json")
    with running_server(guarded_url, transport=request.param, auth=True, provider=provider) as running:
        yield running


@pytest.fixture
def other() -> str:
    """Return another customer than the test's own."""
    return f"other {uuid.uuid4()}"


def check_unauthenticated(refusal: Refusal) -> None:
    assert refusal.trailers["www-authenticate"] == "Bearer"
    assert (refusal.status.code, list(refusal.status.details)) == (16, [])


class Call(NamedTuple):
    """A way to make each RPC."""

    name: str
    make: Any


CALLS = [
    Call("lead", lambda c, m: c.leads.CreateLeadAnalyticsEvent(lead_event("c"), timeout=5, metadata=m)),
    Call("contact", lambda c, m: c.contacts.CreateContactAnalyticsEvent(contact_event("c"), timeout=5, metadata=m)),
    Call("event", lambda c, m: c.events.CreateAnalyticsEvent(analytics_event("c"), timeout=5, metadata=m)),
    Call("search", lambda c, m: c.leads.SearchLeadAnalyticsEvents(lead_search("c"), timeout=5, metadata=m)),
    Call(
        "batch",
        lambda c, m: c.events.BatchCreateAnalyticsEvents(
            BatchCreateAnalyticsEventsRequest(events=[analytics_event("c")]), timeout=5, metadata=m
        ),
    ),
    Call(
        "list",
        lambda c, m: c.events.ListAnalyticsEvents(ListAnalyticsEventsRequest(customer_id="c"), timeout=5, metadata=m),
    ),
    Call(
        "get",
        lambda c, m: c.events.GetAnalyticsEvent(
            GetAnalyticsEventRequest(customer_id="c", id=str(uuid.uuid4())), timeout=5, metadata=m
        ),
    ),
    Call("refusals", lambda c, m: c.events.ListRefusals(ListRefusalsRequest(customer_id="c"), timeout=5, metadata=m)),
    Call(
        "summary",
        lambda c, m: c.events.SummarizeAnalyticsEvents(
            SummarizeAnalyticsEventsRequest(customer_id="c"), timeout=5, metadata=m
        ),
    ),
    Call("stream", lambda c, m: list(c.events.WriteAnalyticsEvents(iter([]), timeout=5, metadata=m))),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_no_rpc_is_answered_without_credentials(guarded: RunningServer, call: Call) -> None:
    for metadata in (
        [],
        [("authorization", "")],
        [("authorization", "Bearer ")],
        [("authorization", "Basic YTpi")],
        [("authorization", f"Bearer {'a' * 9_000}")],
    ):
        with refused(UNAUTHENTICATED) as refusal:
            call.make(guarded.client, metadata)
        check_unauthenticated(refusal)


def test_health_checks_need_no_credentials(guarded: RunningServer) -> None:
    assert guarded.client.is_serving()


def test_a_secret_key_writes_and_reads_its_customer(
    guarded: RunningServer, guarded_url: str, customer: str, other: str
) -> None:
    key = make_key(guarded_url, "secret", customer)
    create(guarded, customer, key)
    metadata = tuple(bearer(key).items())
    found = guarded.client.leads.SearchLeadAnalyticsEvents(lead_search(customer), timeout=5, metadata=metadata)
    assert found.meta.row_count == 1
    for refuse in (
        lambda: create(guarded, other, key),
        lambda: guarded.client.leads.SearchLeadAnalyticsEvents(lead_search(other), timeout=5, metadata=metadata),
    ):
        with refused(PERMISSION_DENIED) as refusal:
            refuse()
        assert list(refusal.status.details) == []
    assert count_events(guarded_url, other) == 0


def test_a_refusal_is_the_same_whether_the_customer_exists(
    guarded: RunningServer, guarded_url: str, customer: str, other: str
) -> None:
    existing = make_key(guarded_url, "secret", other)
    create(guarded, other, existing, idempotency_key="theirs")
    key = make_key(guarded_url, "secret", customer)
    refusals = []
    for target, idempotency_key in ((other, "theirs"), (other, ""), (f"no {other}", "theirs")):
        with refused(PERMISSION_DENIED) as refusal:
            create(guarded, target, key, idempotency_key=idempotency_key)
        refusals.append((refusal.status, refusal.trailers))
    assert refusals[0] == refusals[1] == refusals[2]


def test_each_scope_allows_its_own_calls_and_no_others(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    reader = make_key(guarded_url, "secret", customer, "--scope", "events:read")
    writer = make_key(guarded_url, "publishable", customer)
    create(guarded, customer, writer)
    metadata = tuple(bearer(reader).items())
    found = guarded.client.leads.SearchLeadAnalyticsEvents(lead_search(customer), timeout=5, metadata=metadata)
    assert found.meta.row_count == 1
    with refused(PERMISSION_DENIED):
        create(guarded, customer, reader)
    with refused(PERMISSION_DENIED):
        guarded.client.leads.SearchLeadAnalyticsEvents(
            lead_search(customer), timeout=5, metadata=tuple(bearer(writer).items())
        )


def test_a_key_of_some_users_writes_and_reads_no_others(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer, "--user", "user", "--user", "second")
    create(guarded, customer, key)
    create(guarded, customer, key, user_id="second")
    with refused(PERMISSION_DENIED):
        create(guarded, customer, key, user_id="third")
    with refused(PERMISSION_DENIED):
        guarded.client.leads.SearchLeadAnalyticsEvents(
            lead_search(customer, user_id="third"), timeout=5, metadata=tuple(bearer(key).items())
        )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_signers_token_writes_for_its_subject_alone(
    guarded: RunningServer, guarded_url: str, customer: str, other: str, algorithm: str, tmp_path: Path
) -> None:
    signer = make_signer(guarded_url, tmp_path, customer, algorithm)
    token = sign(signers_claims("user", customers="*", scope="events:read events:erase"), signer, algorithm)
    create(guarded, customer, token)
    with refused(PERMISSION_DENIED):
        create(guarded, customer, token, user_id="another")
    with refused(PERMISSION_DENIED):
        create(guarded, other, token)
    with refused(PERMISSION_DENIED):
        guarded.client.leads.SearchLeadAnalyticsEvents(
            lead_search(customer), timeout=5, metadata=tuple(bearer(token).items())
        )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_providers_token_does_what_its_claims_say(
    guarded: RunningServer, guarded_url: str, customer: str, other: str, algorithm: str
) -> None:
    token = sign(providers_claims([customer, "x"], aud=["else", "analytics"]), algorithm, algorithm)
    create(guarded, customer, token)
    with refused(PERMISSION_DENIED):
        create(guarded, other, token)
    everywhere = sign(providers_claims("*", scope="openid events:read"), algorithm, algorithm)
    metadata = tuple(bearer(everywhere).items())
    found = guarded.client.leads.SearchLeadAnalyticsEvents(lead_search(customer), timeout=5, metadata=metadata)
    assert found.meta.row_count == 1
    with refused(PERMISSION_DENIED):
        create(guarded, customer, everywhere)


def test_in_a_batch_anothers_event_is_refused_alone(
    guarded: RunningServer, guarded_url: str, customer: str, other: str
) -> None:
    key = make_key(guarded_url, "secret", customer)
    events = [analytics_event(customer), analytics_event(other), analytics_event(""), analytics_event(customer)]
    answer = guarded.client.events.BatchCreateAnalyticsEvents(
        BatchCreateAnalyticsEventsRequest(events=events), timeout=5, metadata=tuple(bearer(key).items())
    )
    assert (answer.stored_count, answer.refused_count) == (2, 2)
    (violation,) = answer.outcomes[1].refused.violations
    assert (violation.field, violation.description) == EVENT_NOT_PERMITTED
    assert answer.outcomes[2].refused.violations[0].field == "customer_id"
    assert count_events(guarded_url, other) == 0


def test_a_stream_ends_when_its_key_is_revoked(
    guarded: RunningServer, guarded_url: str, customer: str, other: str
) -> None:
    key = make_key(guarded_url, "secret", customer)
    chunk = WriteAnalyticsEventsRequest(events=[analytics_event(customer), analytics_event(other)])
    seen = 0

    def chunks() -> Iterator[WriteAnalyticsEventsRequest]:
        end = time.monotonic() + 50
        while time.monotonic() < end:
            yield chunk
            time.sleep(0.1)

    call = guarded.client.events.WriteAnalyticsEvents(chunks(), timeout=55, metadata=tuple(bearer(key).items()))
    with refused(UNAUTHENTICATED):
        for answer in call:
            assert (answer.committed.stored_count, answer.committed.refused_count) == (1, 1)
            if not seen:
                revoke(guarded_url, key)
            seen += 1
    assert seen
    assert count_events(guarded_url, other) == 0


def test_a_revoked_key_is_refused_within_5_s(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer)
    create(guarded, customer, key)
    revoke(guarded_url, key)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            create(guarded, customer, key)
        except grpc.RpcError as error:
            assert error.code() == UNAUTHENTICATED  # noqa: PT017 - it is not known which call is refused
        time.sleep(0.05)
    with refused(UNAUTHENTICATED):
        create(guarded, customer, key)


def test_an_expired_key_is_refused(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer, "--expires", "2s")
    create(guarded, customer, key)
    until(lambda: not _is_accepted(guarded, customer, key))
    with refused(UNAUTHENTICATED):
        create(guarded, customer, key)


def _is_accepted(server: RunningServer, customer: str, key: str) -> bool:
    try:
        create(server, customer, key)
    except grpc.RpcError as error:
        assert error.code() == UNAUTHENTICATED  # noqa: PT017 - it is not known which call is refused
        return False
    return True


def test_two_credentials_are_refused(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer)
    pair = next(iter(bearer(key).items()))
    twice = ("authorization", f"Bearer {key}, Bearer {key}")
    for metadata in ((pair, pair), (pair, ("authorization", "")), (twice,)):
        with refused(UNAUTHENTICATED):
            guarded.client.leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=5, metadata=metadata)


def test_customers_are_compared_byte_by_byte(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    own = f"Café İ {customer}"
    key = make_key(guarded_url, "secret", own)
    create(guarded, own, key)
    for alike in (
        f"Cafe\u0301 İ {customer}",
        own.lower(),
        own.upper(),
        f"{own} ",
        f" {own}",
        own.replace(" ", "\u00a0"),
        f"{own}\u200b",
        own.replace("İ", "I"),
        own.replace("İ", "i\u0307"),
    ):
        with refused(PERMISSION_DENIED):
            create(guarded, alike, key)
        assert count_events(guarded_url, alike) == 0


def test_the_last_of_a_repeated_field_is_the_one_that_counts(
    guarded: RunningServer, guarded_url: str, customer: str, other: str
) -> None:
    key = make_key(guarded_url, "secret", customer)
    # On the wire, the last of two values of a field counts.
    call: Any = guarded.client.channel.unary_unary(
        "/data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent",
        request_serializer=None,
        response_deserializer=None,
    )
    own, theirs = lead_event(customer).SerializeToString(), lead_event(other).SerializeToString()
    metadata = tuple(bearer(key).items())
    call(theirs + own, timeout=5, metadata=metadata)
    with refused(PERMISSION_DENIED):
        call(own + theirs, timeout=5, metadata=metadata)
    assert (count_events(guarded_url, customer), count_events(guarded_url, other)) == (1, 0)


def test_the_log_says_what_is_wrong_with_a_key_without_its_secret(
    guarded: RunningServer, guarded_url: str, customer: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = make_key(guarded_url, "secret", customer, "--scope", "events:read")
    revoked = make_key(guarded_url, "secret", customer)
    revoke(guarded_url, revoked)
    with caplog.at_level("DEBUG", "server"):
        for credentials in (revoked, key[:-1] + ("0" if key[-1] != "0" else "1")):
            with refused(UNAUTHENTICATED):
                create(guarded, customer, credentials)
        with refused(grpc.StatusCode.PERMISSION_DENIED):
            create(guarded, customer, key)
    parsed, parsed_revoked = parse_key(key), parse_key(revoked)
    assert parsed is not None
    assert parsed_revoked is not None
    reasons = [getattr(record, "reason", "") for record in caplog.records if record.getMessage() == "not admitted"]
    assert reasons == [
        f"{parsed_revoked.id} is revoked",
        "the key has a typing error: its form or its checksum is wrong",
        f"{parsed.id} lacks events:write",
    ]
    for record in caplog.records:
        for secret in (parsed.secret, parsed_revoked.secret):
            assert secret not in repr(vars(record))


def test_it_does_not_show_what_is_wrong_with_a_key(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    key, revoked = make_key(guarded_url, "secret", customer), make_key(guarded_url, "secret", customer)
    revoke(guarded_url, revoked)
    expired = make_key(guarded_url, "secret", customer, "--expires", "1s")
    time.sleep(1)
    parsed = parse_key(key)
    assert parsed is not None
    wrong = format_key(new_key(parsed.id))
    unknown = format_key(new_key(make_id("secret")))
    refusals = []
    for credentials in (revoked, expired, wrong, unknown):
        with refused(UNAUTHENTICATED) as refusal:
            create(guarded, customer, credentials)
        refusals.append((refusal.status, refusal.trailers))
    assert all(each == refusals[0] for each in refusals)


def test_a_key_is_noted_as_used(guarded: RunningServer, guarded_url: str, customer: str) -> None:
    key = make_key(guarded_url, "secret", customer)
    create(guarded, customer, key)
    used = "SELECT last_used_at = date_trunc('hour', now()) FROM access_key WHERE customer_id = %s"
    until(lambda: query(guarded_url, used, customer) == [(True,)])
