"""The types that cross storage's border: events, outcomes, queries and pages, all immutable."""

import logging
import time
from typing import NamedTuple

import uuid_utils

from storage.errors import StorageError

log = logging.getLogger(__name__)

# By how much the time in a new id may be ahead of the clock. The library never goes back by itself, so that after a
# moment with a wrong clock it would give every event the time of that moment.
_MAX_LEAD_MILLISECONDS = 5_000

_WARNING_SECONDS = 60.0
_next_warning = 0.0


class Event(NamedTuple):
    """One event as it is stored.

    The field names are the column names of `storage.model.AnalyticsEvent`. The texts that callers send come first, so
    that one slice, `event[:TEXT_COUNT]`, has them all; an absent text is empty. A NamedTuple because every create makes
    one, and a dataclass takes three times as long to make.
    """

    customer_id: str
    user_id: str
    recording_id: str
    event_type: str
    entity_type: str
    """ "lead" or "contact"."""
    entity_id: str
    tool_signature: str
    event_id: str
    message: str
    javascript_local_time: str
    apex_local_time: str
    event_environment_path: str
    name_parser_event_id: str
    recommendation_model_event_id: str
    idempotency_key: str
    """Unique within a customer. Empty if the caller sent none."""
    version_info: str | None
    """A JSON object as text. None if the caller sent none."""
    id: str
    """A UUIDv7 in its usual text form."""
    created_at: str
    """In UTC to the millisecond, as RFC 3339 text such as 2018-09-03T17:06:05.719Z. The database takes text and the
    response is text, so no other form is made in between."""
    updated_at: str


TEXT_COUNT = Event._fields.index("version_info")
"""The number of leading fields of `Event` that are texts a caller sent."""

Outcome = Event | StorageError
"""The result of writing one event: the event as it is stored, or why it is not stored.

When the event's idempotency key was already stored, the outcome is the event stored first, whose id differs.
"""


class Place(NamedTuple):
    """Where in the order of its result a search goes on."""

    before_id: str
    """Only events count that sort after this id. It need not be the id of an event."""
    offset: int = 0
    """How many of those are passed over."""
    total: int | None = None
    """The number of events on all pages, if an earlier page has found it."""


class Query(NamedTuple):
    """A search. Every condition must hold."""

    customer_id: str
    entity_type: str
    """ "lead" or "contact"."""
    entity_id: str
    user_id: str
    recording_ids: list[str]
    """Any of these. Duplicates have no effect."""
    latest: bool
    """Whether to keep only the newest event of each recording."""
    page: int
    """Counted from 1."""
    page_size: int
    """In events, at least 1."""
    place: Place | None = None
    """Where the page begins, in place of its number."""
    as_of_id: str = ""
    """What the first page begins after, if there is a place."""


class Found(NamedTuple):
    """The part of an event that a search has to look up: the rest is in its query. The names are those of `Event`."""

    tool_signature: str
    recording_id: str
    event_type: str
    event_id: str
    message: str
    created_at: str
    updated_at: str


class Page(NamedTuple):
    """One page of a search's result."""

    events: list[Found]
    """Newest first."""
    total: int
    """The number of matching events on all pages."""
    next_id: str = ""
    """The id of the last event of the page, if the query has a place, and there is a next page."""


def make_id_and_time() -> tuple[str, str]:
    """Return a new event's id and, in the form of `Event.created_at`, the time inside that id.

    Because the time comes from the id, events sort the same by either. The ids of one process ascend even within a
    millisecond, and while its clock is set back by less than `_MAX_LEAD_MILLISECONDS`.
    """
    made = uuid_utils.uuid7()
    if made.timestamp > time.time() * 1000 + _MAX_LEAD_MILLISECONDS:
        made = _make_by_the_clock()
    return str(made), format_time(made.timestamp)


def make_ids_and_times(count: int) -> tuple[list[str], list[str]]:
    """Return what `make_id_and_time` returns, for `count` new events: their ids, and their times."""
    made = [uuid_utils.uuid7() for _ in range(count)]
    if made and made[-1].timestamp > time.time() * 1000 + _MAX_LEAD_MILLISECONDS:
        made = sorted(_make_by_the_clock() for _ in range(count))
    # They ascend, so if the first and the last have the same time, all have.
    if made and made[0].timestamp == made[-1].timestamp:
        times = [format_time(made[0].timestamp)] * count
    else:
        times = [format_time(each.timestamp) for each in made]
    return list(map(str, made)), times


def _make_by_the_clock() -> uuid_utils.UUID:
    """Return an id that has the time of the clock, although others have had later ones."""
    global _next_warning
    if time.monotonic() >= _next_warning:
        _next_warning = time.monotonic() + _WARNING_SECONDS
        log.error("the clock was ahead and has been set back: events may be stored that are dated in the future")
    return uuid_utils.uuid7(nanoseconds=time.time_ns())


_last_second = (0, "1970-01-01T00:00:00")
_last = (0, "1970-01-01T00:00:00.000Z")


def format_time(milliseconds: int) -> str:
    """Return the instant `milliseconds` after the epoch in the form of `Event.created_at`."""
    global _last, _last_second
    if milliseconds == _last[0]:  # True for most events of a batch.
        return _last[1]
    seconds, rest = divmod(milliseconds, 1000)
    known, text = _last_second
    if seconds != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _last_second = (seconds, text)
    _last = (milliseconds, f"{text}.{rest:03d}Z")
    return _last[1]
