"""The times in events' ids. An id is a UUIDv7, which begins with the milliseconds of the event's `created_at`."""

import uuid

from storage.event import format_time

DAY_MILLISECONDS = 24 * 3_600_000

MAX_MILLISECONDS = 253_402_300_799_999
"""The last millisecond that RFC 3339 can express."""


def make_bound(milliseconds: int) -> str:
    """Return what is not more than any id of that time or later, and more than any id of an earlier one."""
    return str(uuid.UUID(int=min(max(milliseconds, 0), MAX_MILLISECONDS) << 80))


LAST = make_bound(MAX_MILLISECONDS)
"""A bound that is more than the id of any event."""


FIRST = make_bound(0)
"""A bound that is less than the id of any event."""


def get_milliseconds(event_id: str) -> int:
    """Return the time in an id, or of a bound, in milliseconds since the epoch."""
    return uuid.UUID(event_id).int >> 80


def to_time(event_id: str) -> str:
    """Return the time in an id, or of a bound, in the form of `Event.created_at`."""
    return format_time(get_milliseconds(event_id))
