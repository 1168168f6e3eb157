"""Which callers may list events and get one, and the events of which users they see."""

import uuid
from collections.abc import Iterator

import grpc
import pytest

from data_analytics.v1.analytics_event_service_pb2 import GetAnalyticsEventRequest, ListAnalyticsEventsRequest
from server.access.caller import ERASE, READ, WRITE
from tests.support.access import bearer, create, make_key
from tests.support.in_process import RunningServer, running_server
from tests.support.refusals import refused

DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="module")
def guarded(guarded_url: str) -> Iterator[RunningServer]:
    """Yield a server whose callers need credentials."""
    with running_server(guarded_url, auth=True) as running:
        yield running


def list_ids(server: RunningServer, key: str, customer: str, **fields: str) -> list[str]:
    request = ListAnalyticsEventsRequest(customer_id=customer)
    for name, value in fields.items():
        setattr(request, name, value)
    answer = server.client.events.ListAnalyticsEvents(request, timeout=5, metadata=tuple(bearer(key).items()))
    return [event.id for event in answer.events]


def get_user(server: RunningServer, key: str, customer: str, event_id: str) -> str:
    """Return the user of an event."""
    request = GetAnalyticsEventRequest(customer_id=customer, id=event_id)
    return server.client.events.GetAnalyticsEvent(request, timeout=5, metadata=tuple(bearer(key).items())).user_id


def store(server: RunningServer, key: str, customer: str, user: str) -> str:
    """Store an event of a user and return its id."""
    answer = create(server, customer, key, user_id=user)
    return str(answer.partition_key).partition("|")[2]


def test_a_caller_lists_the_events_of_its_customer_alone(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    key = make_key(guarded_url, "secret", customer)
    event_id = store(guarded, key, customer, "user")
    assert list_ids(guarded, key, customer) == [event_id]
    assert get_user(guarded, key, customer, event_id) == "user"
    stranger = make_key(guarded_url, "secret", f"{customer} other")
    for of in (customer, "a customer that does not exist"):
        with refused(DENIED):
            list_ids(guarded, stranger, of)
        with refused(DENIED):
            get_user(guarded, stranger, of, event_id)


def test_a_caller_of_some_users_sees_their_events_alone(
    guarded: RunningServer, guarded_url: str, customer: str
) -> None:
    whole = make_key(guarded_url, "secret", customer)
    own, others = (store(guarded, whole, customer, user) for user in ("user", "other"))
    key = make_key(guarded_url, "secret", customer, "--user", "user")
    assert list_ids(guarded, key, customer, user_id="user") == [own]
    assert get_user(guarded, key, customer, own) == "user"
    for fields in ({}, {"user_id": "other"}, {"user_id": "user "}, {"event_type": "view"}):
        with refused(DENIED):
            list_ids(guarded, key, customer, **fields)
    for event_id in (others, str(uuid.uuid4())):
        with refused(grpc.StatusCode.NOT_FOUND):
            get_user(guarded, key, customer, event_id)


@pytest.mark.parametrize("scope", [WRITE, ERASE])
def test_a_caller_without_the_scope_to_read_lists_nothing(
    guarded: RunningServer, guarded_url: str, customer: str, scope: str
) -> None:
    key = make_key(guarded_url, "secret", customer, "--scope", scope)
    with refused(DENIED):
        list_ids(guarded, key, customer)
    with refused(DENIED):
        get_user(guarded, key, customer, str(uuid.uuid4()))
    reader = make_key(guarded_url, "secret", customer, "--scope", READ)
    assert list_ids(guarded, reader, customer) == []
