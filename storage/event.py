"""What crosses the border of storage: an event and a page of events, both frozen."""

from datetime import UTC, datetime
from typing import NamedTuple

import uuid_utils


class Event(NamedTuple):
    """One event as it is stored. A NamedTuple, since it is made on every create and costs a third of a dataclass.

    Absent texts are empty. The field names are the column names of `storage.model.AnalyticsEvent`.
    """

    customer_id: str
    id: str
    """A UUIDv7 in its usual text form."""
    created_at: datetime
    """In UTC, to the millisecond."""
    updated_at: datetime
    entity_type: str
    """ "lead" or "contact"."""
    entity_id: str
    user_id: str
    recording_id: str
    event_type: str
    tool_signature: str = ""
    event_id: str = ""
    message: str = ""
    javascript_local_time: str = ""
    apex_local_time: str = ""
    event_environment_path: str = ""
    name_parser_event_id: str = ""
    recommendation_model_event_id: str = ""
    version_info: str | None = None
    """A JSON object as text; None when the caller sent none."""


class Page(NamedTuple):
    """One page of a search."""

    events: list[Event]
    """Newest first."""
    total: int
    """How many events match in all, whatever the page."""


def new_id_and_time() -> tuple[str, datetime]:
    """A new event's id and the time that is inside it, so that the order of ids and of times is one.

    Ids made by one process ascend even within a millisecond.
    """
    made = uuid_utils.uuid7()
    return str(made), datetime.fromtimestamp(made.timestamp / 1000, UTC)
