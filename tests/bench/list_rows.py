"""The row of the lists: the first page by each kind of filter, among many events of a customer against among few."""

import contextlib
import random
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc

from data_analytics.v1.analytics_event_service_pb2 import ListAnalyticsEventsRequest
from data_analytics.v1.analytics_event_service_pb2_grpc import AnalyticsEventServiceStub
from storage.connection import connect
from storage.list_segments import MIN_EVENTS
from tests.bench.bench import Bench
from tests.bench.contenders import SERVER
from tests.bench.lines import Lines, store
from tests.bench.report import Goal, Round, Row
from tests.support.until import until

CUSTOMERS = {"listed": 100_000, "listed much": 1_000_000}
"""How many events they have."""

FILTERS: dict[str, dict[str, str]] = {
    "none": {},
    "entity_type, all": {"entity_type": "lead"},
    "event_type, a ninth": {"event_type": "share"},
    "recording_id, 1 in 560": {"recording_id": "rec-200"},
    "user_id, 1 in 420": {"user_id": f"005{150:015}"},
    "entity_id, 1 in 28,000": {"entity_id": f"00Q{10_000:015}"},
    "user_id, one event": {"user_id": "once"},
    "user_id, no event": {"user_id": "nobody"},
    "event_type, no event": {"event_type": "nothing"},
}

_YEAR_MILLISECONDS = 365 * 24 * 3_600_000
_PAUSE_MILLISECONDS = 2 * 3_600_000
_CALLS = 25

_FIND_MADE = """
SELECT coalesce(sum(events), 0),
  NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'analytics list segments')
FROM list_segment WHERE customer_id = %s
"""


def compare_customers(bench: Bench) -> Round:
    """Return the worst ratio of all filters: the time with many events to that with few."""
    _prepare(bench)
    with grpc.insecure_channel(f"127.0.0.1:{bench.get(SERVER).port}") as channel:
        stub = AnalyticsEventServiceStub(channel)
        taken = {name: _measure(stub, filters) for name, filters in FILTERS.items()}
    detail = "; ".join(f"{name}: {few * 1e3:.1f} and {many * 1e3:.1f} ms" for name, (few, many) in taken.items())
    return Round(max(many / few for few, many in taken.values()), detail)


def _prepare(bench: Bench) -> None:
    """Fill the table, unless that has been done, and have segments made."""
    with contextlib.closing(connect(bench.url, "bench", {})) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM analytics_event WHERE customer_id = %s LIMIT 1", ("listed",))
        if not cursor.rowcount:
            store(connection, _make_lines())
        with grpc.insecure_channel(f"127.0.0.1:{bench.get(SERVER).port}") as channel:
            for customer, events in CUSTOMERS.items():
                _list(AnalyticsEventServiceStub(channel), customer, {"user_id": "nobody"})
                until(partial(_has_segments, cursor, customer, events), 120)


def _make_lines() -> Iterator[bytes]:
    """Yield the lines of each customer's events, oldest first, all of them within a year."""
    chance = random.Random(2)
    lines = Lines(chance)
    end = int(time.time() * 1_000) - _PAUSE_MILLISECONDS
    for customer, events in CUSTOMERS.items():
        for number in range(events):
            milliseconds = end - _YEAR_MILLISECONDS * (events - number) // events
            yield lines.make(customer, milliseconds, number, "once" if number == events // 2 else "")


def _has_segments(cursor: Any, customer: str, events: int) -> bool:
    """Return whether nearly all events are in segments, and none are being merged."""
    cursor.execute(_FIND_MADE, (customer,))
    ((found, is_done),) = cursor.fetchall()
    return bool(is_done and found > events - MIN_EVENTS)


def _measure(stub: AnalyticsEventServiceStub, filters: dict[str, str]) -> list[float]:
    """Return how many seconds the first page takes for each customer, in the median of some calls in turn."""
    calls: dict[str, list[float]] = {customer: [] for customer in CUSTOMERS}
    for _ in range(_CALLS):
        for customer, seconds in calls.items():
            start = time.perf_counter()
            _list(stub, customer, filters)
            seconds.append(time.perf_counter() - start)
    return list(map(statistics.median, calls.values()))


def _list(stub: AnalyticsEventServiceStub, customer: str, filters: dict[str, str]) -> None:
    stub.ListAnalyticsEvents(ListAnalyticsEventsRequest(customer_id=customer, **filters), timeout=20)  # type: ignore[arg-type]  # its other fields are no texts


ROWS = [
    Row(
        "11",
        "the first page of a list by the worst filter, a million events against 100 thousand (less is better)",
        Goal(1.5, at_most=True),
        compare_customers,
    )
]
