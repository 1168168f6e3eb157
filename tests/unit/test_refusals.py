"""Every error as the status that a caller gets."""

from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo

from data_analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsRequest,
)
from server.messages import refusals
from server.messages.refusals import FieldViolation, InvalidRequest
from server.messages.statuses import is_bug, make_status
from server.messages.wording import EVENT_REFUSED
from storage import EventRefused, KeyInProgress, PageTooLarge, StorageError

CREATE: Any = CreateLeadAnalyticsEventRequest.DESCRIPTOR
SEARCH: Any = SearchLeadAnalyticsEventsRequest.DESCRIPTOR


def find_violations(status: Any) -> list[tuple[str, str]]:
    details = BadRequest()
    (detail,) = status.details
    assert detail.Unpack(details)
    return [(violation.field, violation.description) for violation in details.field_violations]


def test_an_event_that_the_database_refuses_is_an_invalid_argument() -> None:
    status = make_status(EventRefused(), CREATE)
    assert (status.code, status.message) == (3, "invalid request")
    assert find_violations(status) == [EVENT_REFUSED]


def test_a_field_is_named_as_json_names_it_for_callers_of_json() -> None:
    assert find_violations(make_status(PageTooLarge(), SEARCH))[0][0] == "page_size"
    assert find_violations(make_status(PageTooLarge(), SEARCH, use_json_names=True))[0][0] == "pageSize"
    in_list = InvalidRequest([FieldViolation("recording_id[3]", "is bad"), FieldViolation("idempotency-key", "is bad")])
    names = [field for field, _ in find_violations(make_status(in_list, SEARCH, use_json_names=True))]
    assert names == ["recording_id[3]", "idempotency-key"]


def test_a_refusal_that_may_be_retried_says_when() -> None:
    status = make_status(KeyInProgress(), CREATE)
    (detail,) = status.details
    retry = RetryInfo()
    assert detail.Unpack(retry)
    assert (status.code, retry.retry_delay.seconds) == (10, 1)


def test_a_bug_is_internal_and_quotes_nothing() -> None:
    error = ValueError("a customer's secret")
    assert is_bug(error)
    status = make_status(error, CREATE)
    assert (status.code, status.message, list(status.details)) == (13, "internal error", [])


@pytest.mark.parametrize("error", StorageError.__subclasses__())
def test_no_error_of_storage_is_taken_for_a_bug(error: type[Exception]) -> None:
    assert not is_bug(error())


def test_no_refusal_of_the_server_is_taken_for_a_bug() -> None:
    own = {kind for kind in vars(refusals).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert len(own) > 6
    assert not any(is_bug(kind([]) if kind is InvalidRequest else kind()) for kind in own)
