"""The response to a batch, against one whose fields are set."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsResponse
from server.messages.batch_response import EventResult, to_batch_response
from server.messages.parse import MAX_EVENTS
from server.messages.refusals import FieldViolation
from storage import make_id_and_time

TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
STORED = st.builds(lambda replayed: (*make_id_and_time(), replayed), st.booleans())
RESULTS: Any = st.lists(STORED | st.lists(st.builds(FieldViolation, TEXT, TEXT), min_size=1, max_size=3), max_size=5)


def set_fields(results: Sequence[EventResult]) -> BatchCreateAnalyticsEventsResponse:
    response = BatchCreateAnalyticsEventsResponse()
    for index, result in enumerate(results):
        outcome = response.outcomes.add(index=index)
        if isinstance(result, tuple):
            outcome.stored.id, outcome.stored.created_at, outcome.stored.replayed = result
            response.stored_count += 1
        else:
            for field, description in result:
                outcome.refused.violations.add(field=field, description=description)
            response.refused_count += 1
    return response


@given(RESULTS)
def test_a_response_has_the_results_in_its_fields(results: list[EventResult]) -> None:
    assert to_batch_response(results) == set_fields(results)


@pytest.mark.parametrize("replayed", [False, True])
def test_the_largest_response_has_every_index(replayed: bool) -> None:
    results: list[EventResult] = [(*make_id_and_time(), replayed) for _ in range(MAX_EVENTS)]
    response = to_batch_response(results)
    assert response == set_fields(results)
    assert response.SerializeToString() == set_fields(results).SerializeToString()
