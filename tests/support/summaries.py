"""Summaries: what is asked for, the events that are counted, and what the answer should be."""

import random
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from hypothesis import strategies as st

from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest
from storage import Event
from storage.event import format_time
from tests.support.in_process import Client

GROUPS = ("day", "hour", "event_type", "tool_signature", "recording_id", "user_id", "entity_id")
DAY = 24 * 3_600_000
START = 20_000 * DAY
"""2024-10-04, at midnight."""

# In the order of their code points, which is neither that of UTF-16 nor that of any language.
VALUES = ("", " ", "A", "Z", "a", "ab", "b", "\u00e9", "\ufffd", "\U0001f600")
FILTERS = {
    "user_id": ("A", "\u00e9", "nobody"),
    "entity_type": ("lead",),
    "entity_id": ("a",),
    "recording_id": ("b", "Z"),
    "event_type": ("view",),
    "tool_signature": ("ab",),
}
# Midnight, an hour, and the milliseconds around them.
TIMES = [START + at + around for at in (0, 3_600_000, DAY, 3 * DAY, 31 * DAY) for around in (-1, 0, 1)]


class Asked(NamedTuple):
    """A summary to ask for."""

    customer: str
    by: tuple[str, ...]
    since: int
    until: int
    top: int | None = None
    filters: tuple[tuple[str, str], ...] = ()

    def list_parameters(self) -> list[tuple[str, str]]:
        """Return the parameters of its URL."""
        parameters = [("customer_id", self.customer), *(("by", name) for name in self.by), *self.filters]
        parameters += [("since", format_time(self.since)), ("until", format_time(self.until))]
        return parameters if self.top is None else [*parameters, ("top", str(self.top))]


def ask_for(customer: str) -> st.SearchStrategy[Asked]:
    """Return a strategy of summaries of a customer's events."""
    filters = st.dictionaries(st.sampled_from(sorted(FILTERS)), st.integers(0, 2), max_size=2).map(
        lambda chosen: tuple((name, FILTERS[name][number % len(FILTERS[name])]) for name, number in chosen.items())
    )
    by = st.lists(st.sampled_from(GROUPS), max_size=2, unique=True).map(tuple)
    times, top = st.sampled_from(TIMES), st.sampled_from([None, 1, 2, 5, 10_000])
    return st.builds(Asked, st.just(customer), by, times, times, top, filters)


def make_event(customer: str, milliseconds: int, chance: random.Random) -> Event:
    """Return an event of that time whose other values are those that summaries group by."""
    texts = dict.fromkeys(Event._fields, "")
    texts |= {name: chance.choice(VALUES[1:]) for name in ("user_id", "recording_id", "entity_id")}
    texts |= {"event_type": chance.choice(("view", "share")), "tool_signature": chance.choice(VALUES)}
    texts |= {"customer_id": customer, "entity_type": chance.choice(("lead", "contact"))}
    if chance.random() < 0.1:  # As long as they may be.
        texts |= dict.fromkeys(("recording_id", "entity_id", "tool_signature"), "\U0001f600" * 255)
    noise = 0x7 << 76 | 0x2 << 62 | chance.getrandbits(60)
    times = dict.fromkeys(("created_at", "updated_at"), format_time(milliseconds))
    return Event(**{**texts, **times, "id": str(uuid.UUID(int=milliseconds << 80 | noise)), "version_info": None})  # type: ignore[arg-type]  # only that is None


def get_value(event: Event, name: str) -> str:
    """Return the value of an event by which it is grouped."""
    if name == "day":
        return event.created_at[:10]
    return f"{event.created_at[:13]}:00:00Z" if name == "hour" else str(getattr(event, name))


def summarize(events: Sequence[Event], asked: Asked) -> dict[str, Any]:
    """Return the summary of events as JSON has it, counted here."""
    since, until = format_time(asked.since), format_time(asked.until)
    counted = [
        event
        for event in events
        if since <= event.created_at < until and all(getattr(event, name) == text for name, text in asked.filters)
    ]
    groups = defaultdict(list)
    for event in counted:
        groups[tuple(get_value(event, name) for name in asked.by)].append(event)
    rows = [
        {
            "values": list(values),
            "events": len(group),
            "users": len({event.user_id for event in group}),
            "lastCreatedAt": max(event.created_at for event in group),
        }
        for values, group in sorted(groups.items(), key=_rank, reverse=True)
    ]
    top = 100 if asked.top is None else asked.top
    users = len({event.user_id for event in counted})
    totals = {"events": len(counted), "users": users, "more": len(rows) > top}
    return {"by": list(asked.by), "rows": rows[:top], **totals}


def _rank(group: tuple[tuple[str, ...], list[Event]]) -> tuple[int, str]:
    """Return what decides on the place of a group: its size, then its newest event."""
    _, events = group
    return len(events), max(event.id for event in events)


def ask_by_grpc(client: Client, asked: Asked) -> dict[str, Any]:
    """Return the response over gRPC as JSON has it."""
    fields: dict[str, Any] = dict(asked.list_parameters())
    request = SummarizeAnalyticsEventsRequest(**{**fields, "by": asked.by, "top": asked.top})
    answer = client.events.SummarizeAnalyticsEvents(request, timeout=20)
    return MessageToDict(answer, always_print_fields_with_no_presence=True)
