"""Watches: messages to queries, and the steps of a watch to messages."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_analytics.v1.watch_pb2 import WatchAnalyticsEventsRequest, WatchAnalyticsEventsResponse
from server.messages.listing import encode_record, read_selection, slice_events
from server.messages.refusals import InvalidRequest
from server.messages.watch_token import TokenMaker, read_token
from server.messages.wording import NOT_THIS_RESUME_TOKEN, RESUME_TOKEN_TOO_OLD
from storage import ListQuery, Watched, WatchPosition
from storage.ids import DAY_MILLISECONDS

# How many events one step has at most.
_STEP_EVENTS = 200


class WatchRequest(NamedTuple):
    """A watch that a caller asks for."""

    query: ListQuery
    asked: Sequence[str]
    """What its tokens belong to."""
    position: WatchPosition | None
    """Where it goes on, unless it begins now."""

    def make_token(self, position: WatchPosition) -> str:
        """Return the token of a position, or "" if it would be too long."""
        return TokenMaker(position, self.asked).make()


def to_watch_request(request: WatchAnalyticsEventsRequest) -> WatchRequest:
    """Return the watch that a message asks for.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    customer_id, filters, since_id, before_id, violations = selection = read_selection(request)
    asked = selection.list_asked("watch")
    position = None
    if request.resume_token and not violations:
        position = read_token(request.resume_token, asked)
        if position is None:
            violations.append(NOT_THIS_RESUME_TOKEN)
        elif position.mark_at < time.time() * 1_000 - DAY_MILLISECONDS:
            violations.append(RESUME_TOKEN_TOO_OLD)
    if violations:
        raise InvalidRequest(violations)
    return WatchRequest(ListQuery(customer_id, filters, since_id, before_id, _STEP_EVENTS), asked, position)


def encode_sign(_: str, request: WatchRequest, position: WatchPosition) -> bytes:
    """Return the bytes of a response without events."""
    return WatchAnalyticsEventsResponse(resume_token=request.make_token(position)).SerializeToString()


def encode_watched(request: WatchRequest, watched: Watched) -> Iterator[bytes]:
    """Yield the bytes of the responses that carry a step. Each has the position behind its events."""
    for part in slice_events(watched.events):
        events = watched.events[part]
        is_last = part.stop == len(watched.events)
        position = watched.position if is_last else watched.interval._replace(last_id=events[-1].id)
        response = WatchAnalyticsEventsResponse(
            events=map(encode_record, events), resume_token=request.make_token(position)
        )
        yield response.SerializeToString()
