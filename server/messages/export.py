"""Exports: messages to queries, and the steps of an export to messages."""

import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_analytics.v1.export_pb2 import ExportAnalyticsEventsRequest, ExportAnalyticsEventsResponse, ExportEnd
from server.messages.listing import encode_record, read_selection, slice_events
from server.messages.page_token import seal, unseal
from server.messages.refusals import InvalidRequest
from server.messages.wording import NOT_THIS_RESUME_TOKEN
from storage import ExportQuery, Step

_ID_BYTES = 16

# As messages, so many take 5 ms.
_PART_EVENTS = 250


class ExportRequest(NamedTuple):
    """An export that a caller asks for."""

    query: ExportQuery
    asked: Sequence[str]
    """What its tokens belong to."""

    def make_token(self, last_id: str, until_id: str) -> str:
        """Return the token of what is to come of an export that ends at `until_id`, after `last_id`."""
        return seal(uuid.UUID(last_id).bytes + uuid.UUID(until_id).bytes, self.asked)


def to_export_request(request: ExportAnalyticsEventsRequest) -> ExportRequest:
    """Return the export that a message asks for.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    customer_id, filters, since_id, before_id, violations = selection = read_selection(request)
    asked = selection.list_asked("export")
    # No event has either bound as its id.
    query = ExportQuery(customer_id, filters, since_id, before_id)
    if request.resume_token and not violations:
        ids = unseal(request.resume_token, asked)
        if ids is None or len(ids) != 2 * _ID_BYTES:
            violations.append(NOT_THIS_RESUME_TOKEN)
        else:
            last_id, until_id = (str(uuid.UUID(bytes=each)) for each in (ids[:_ID_BYTES], ids[_ID_BYTES:]))
            query = query._replace(after_id=max(since_id, last_id), until_id=min(before_id, until_id))
    if violations:
        raise InvalidRequest(violations)
    return ExportRequest(query, asked)


class Progress:
    """How far an export has come."""

    def __init__(self, request: ExportRequest, until_id: str) -> None:
        """Begin to count the events of a response."""
        self.count = 0
        """How many events have been sent."""
        self._request = request
        self._until_id = until_id

    def make_token(self, last_id: str) -> str:
        """Return the token of what is to come after `last_id`."""
        return self._request.make_token(last_id, self._until_id)


def encode_step(progress: Progress, step: Step) -> Iterator[bytes]:
    """Yield the bytes of the responses that carry a step: one if it has no events."""
    for part in slice_events(step.events, _PART_EVENTS):
        events = step.events[part]
        progress.count += len(events)
        is_last = part.stop == len(step.events)
        response = ExportAnalyticsEventsResponse(
            events=map(encode_record, events),
            resume_token=progress.make_token(step.last_id if is_last else events[-1].id),
        )
        if is_last and step.is_last:
            response.end.CopyFrom(ExportEnd(count=progress.count))
        yield response.SerializeToString()
