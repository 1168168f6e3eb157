"""What a summary asks for and what it returns: see `storage.summarizing`."""

from typing import NamedTuple

from storage.ids import DAY_MILLISECONDS

TIMES = {"day": DAY_MILLISECONDS, "hour": 3_600_000}
"""The times by which events are counted, in milliseconds."""

GROUPS = (*TIMES, "event_type", "tool_signature", "recording_id", "user_id", "entity_id")
"""What events can be grouped by."""


class SummaryQuery(NamedTuple):
    """A summary. Every condition must hold."""

    customer_id: str
    filters: tuple[tuple[str, str], ...]
    """Of `storage.listing.FILTERS`, the name and the value of each that is set."""
    since_id: str
    """Events are counted whose id is not less: see `storage.ids.make_bound`."""
    before_id: str
    """Events are counted whose id is less."""
    by: tuple[str, ...]
    """Of `GROUPS`, what the events are grouped by."""
    top: int
    """How many groups are wanted."""


class Group(NamedTuple):
    """The events that have some values in common."""

    values: tuple[str, ...]
    """One for each `SummaryQuery.by`."""
    events: int
    users: int
    last_created_at: str
    """That of the newest event, in the form of `Event.created_at`."""


class Summary(NamedTuple):
    """The result of a summary."""

    groups: list[Group]
    """Those with the most events first. Among groups with as many, the one with the newest event comes first."""
    events: int
    """Of all groups."""
    users: int
    """Of all groups."""
    more: bool
    """Whether there are more groups."""
