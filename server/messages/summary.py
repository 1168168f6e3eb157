"""Summaries: messages to queries, and groups of events to messages."""

import time
from collections.abc import Iterator, Sequence

from data_analytics.v1.summary_pb2 import (
    SummarizeAnalyticsEventsRequest,
    SummarizeAnalyticsEventsResponse,
    SummaryRow,
)
from server.messages.listing import read_selection
from server.messages.refusals import InvalidRequest
from server.messages.wording import SUMMARY_TOO_LONG
from storage import Group, Summary, SummaryQuery
from storage.ids import DAY_MILLISECONDS, get_milliseconds, make_bound

DEFAULT_TOP = 100

_TIMES = {"since", "until"}

_DEFAULT_MILLISECONDS = 30 * DAY_MILLISECONDS
_MAX_MILLISECONDS = 400 * DAY_MILLISECONDS

# One more than there may be is enough to be refused. Half a million would each be looked at.
_SEEN_GROUPS = 3

# As in `server.messages.search`.
_PART_CHARACTERS = 512 << 10

# What a group takes besides its values.
_GROUP_CHARACTERS = 100


def to_summary_query(request: SummarizeAnalyticsEventsRequest) -> SummaryQuery:
    """Return the summary that a message asks for.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    del request.by[_SEEN_GROUPS:]
    customer_id, filters, since_id, before_id, violations = read_selection(request)
    # Without an end, events count whose server has a clock that is ahead of this one's.
    end = get_milliseconds(before_id) if request.until else time.time_ns() // 1_000_000
    if not request.since:
        since_id = make_bound(end - _DEFAULT_MILLISECONDS)
    elif end - get_milliseconds(since_id) > _MAX_MILLISECONDS and not _TIMES.intersection(
        violation.field for violation in violations
    ):
        violations.append(SUMMARY_TOO_LONG)
    if violations:
        raise InvalidRequest(violations)
    top = request.top if request.HasField("top") else DEFAULT_TOP
    return SummaryQuery(customer_id, filters, since_id, before_id, tuple(request.by), top)


def encode_summary(query: SummaryQuery, summary: Summary) -> Iterator[bytes]:
    """Yield the bytes of the response that carries `summary`, in parts."""
    for part in slice_groups(summary.groups):
        response = SummarizeAnalyticsEventsResponse(
            rows=[SummaryRow(**group._asdict()) for group in summary.groups[part]]
        )
        if part.start == 0:
            response.by.extend(query.by)
            response.events, response.users, response.more = summary.events, summary.users, summary.more
        # Parsers read messages that follow each other as one, with the rows of them all.
        yield response.SerializeToString()


def slice_groups(groups: Sequence[Group]) -> Iterator[slice]:
    """Yield the places of groups that are printed at once: at least one, though it may be empty."""
    start = size = 0
    for index, group in enumerate(groups):
        size += sum(map(len, group.values)) + _GROUP_CHARACTERS
        if size > _PART_CHARACTERS:
            yield slice(start, index + 1)
            start, size = index + 1, 0
    if start < len(groups) or not groups:
        yield slice(start, len(groups))
