"""Which events of a customer a list, an export or a watch is about."""

from typing import NamedTuple

from storage.model import AnalyticsEvent

TABLE = f'"{AnalyticsEvent._meta.table_name}"'

FILTERS = ("user_id", "entity_type", "entity_id", "recording_id", "event_type", "tool_signature")
"""The columns that a list can be filtered by."""

SEARCHED = ("entity_type", "entity_id", "user_id", "recording_id")
"""The filters by which, together, the index of the searches finds an event."""

SESSION = {
    # The primary key is read in its order, whatever the statistics say of the customer.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}
"""The settings of a session that executes these statements."""


class ListQuery(NamedTuple):
    """A list. Every condition must hold."""

    customer_id: str
    filters: tuple[tuple[str, str], ...]
    """Of `FILTERS`, the name and the value of each that is set."""
    since_id: str
    """Events are listed whose id is not less: see `storage.ids.make_bound`."""
    before_id: str
    """Events are listed whose id is less."""
    page_size: int
    """In events, at least 1."""


def make_condition(values: dict[str, str]) -> str:
    """Return the condition that columns have values, of which `%s` takes the place."""
    return " AND ".join(f"{name} = %s" for name in values) or "true"
