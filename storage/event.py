"""What crosses the border of storage: an event and a page of events, both frozen."""

import time
from typing import NamedTuple

import uuid_utils


class Event(NamedTuple):
    """One event as it is stored. A NamedTuple, since it is made on every create and costs a third of a dataclass.

    Absent texts are empty. The field names are the column names of `storage.model.AnalyticsEvent`; all that callers
    send as text comes first, so that it can be sliced off.
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
    """At most one event of a customer has it. Empty when the caller sent none."""
    version_info: str | None
    """A JSON object as text; None when the caller sent none."""
    id: str
    """A UUIDv7 in its usual text form."""
    created_at: str
    """In UTC, to the millisecond, as RFC 3339 text: 2018-09-03T17:06:05.719Z. What is stored and what is answered are
    both text, so nothing else is made of it in between."""
    updated_at: str


TEXTS = Event._fields.index("version_info")
"""How many fields, from the first, are texts that a caller sent."""


class Found(NamedTuple):
    """An event as a search finds it: what searches answer of it. The names are those of `Event`."""

    customer_id: str
    entity_type: str
    entity_id: str
    user_id: str
    tool_signature: str
    recording_id: str
    event_type: str
    event_id: str
    message: str
    created_at: str
    updated_at: str


class Page(NamedTuple):
    """One page of a search."""

    events: list[Found]
    """Newest first."""
    total: int
    """How many events match in all, whatever the page."""


def new_id_and_time() -> tuple[str, str]:
    """A new event's id and the time that is inside it (as `Event.created_at` has it): the order of both is one.

    Ids made by one process ascend even within a millisecond.
    """
    made = uuid_utils.uuid7()
    return str(made), time_text(made.timestamp)


_last_second = (0, "1970-01-01T00:00:00")
_last = (0, "1970-01-01T00:00:00.000Z")


def time_text(milliseconds: int) -> str:
    """The instant so many milliseconds after the epoch, as `Event.created_at` has it."""
    global _last, _last_second
    if milliseconds == _last[0]:  # As most of a batch are.
        return _last[1]
    seconds, rest = divmod(milliseconds, 1000)
    known, text = _last_second
    if seconds != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _last_second = (seconds, text)
    _last = (milliseconds, f"{text}.{rest:03d}Z")
    return _last[1]
