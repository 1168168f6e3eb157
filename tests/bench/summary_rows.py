"""The row of the summaries: 30 days of a customer with a million events, among three million of others."""

import contextlib
import itertools
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

import grpc
import psycopg2.extensions

from data_analytics.v1.analytics_event_service_pb2_grpc import AnalyticsEventServiceStub
from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest
from storage.connection import connect
from storage.summary import GROUPS
from tests.bench.batch_rows import run_copy
from tests.bench.bench import Bench
from tests.bench.bodies import BATCH_SIZE
from tests.bench.contenders import SERVER
from tests.bench.lines import Lines, store
from tests.bench.report import Goal, Round, Row
from tests.support.until import until

CUSTOMER = "summarized"
EVENTS, OTHERS = 1_000_000, 3_000_000
MONTH_MILLISECONDS = 30 * 24 * 3_600_000

PAIRS = [pair for pair in itertools.combinations(GROUPS, 2) if pair != ("day", "hour")]
"""What the events are grouped by, one after the other."""

_MARGIN_MILLISECONDS = 3_600_000

# Of 30 days, the first and the last one are not whole, and the last but one may just have ended.
_DAYS_OVER = 28

Taken = dict[tuple[str, ...], float]
"""Seconds, by what the events are grouped by."""


def compare_with_copy(bench: Bench) -> Round:
    """Return how often the summary by the median pair can be made while one COPY writes as many rows."""
    prepare(bench)
    taken, copied = bench.alternate(lambda: _measure_pairs(bench), lambda: _measure_copy(bench))
    rate = 1 / copied[()]
    middle, (slowest, pair) = statistics.median(taken.values()), max((each, pair) for pair, each in taken.items())
    detail = f"{middle * 1e3:.0f} ms, {slowest * 1e3:.0f} by {' and '.join(pair)}; COPY wrote {rate:,.0f} rows/s"
    return Round(EVENTS / rate / middle, detail)


def prepare(bench: Bench) -> None:
    """Fill the table, unless that has been done, and have the days that are over kept."""
    with contextlib.closing(connect(bench.url, "bench", {})) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM analytics_event WHERE customer_id = %s LIMIT 1", (CUSTOMER,))
        if not cursor.rowcount:
            store(connection, make_lines())
        with grpc.insecure_channel(f"127.0.0.1:{bench.get(SERVER).port}") as channel:
            _summarize(AnalyticsEventServiceStub(channel), ())
        until(lambda: _count_kept_days(cursor) >= _DAYS_OVER, seconds=120)


def _count_kept_days(cursor: psycopg2.extensions.cursor) -> int:
    cursor.execute("SELECT count(*) FROM summary_day WHERE customer_id = %s AND events IS NOT NULL", (CUSTOMER,))
    ((days,),) = cursor.fetchall()
    return int(days)


def _measure_copy(bench: Bench) -> Taken:
    """Return the seconds that COPY takes for a row."""
    return {(): 1 / run_copy(bench, 1).rate / BATCH_SIZE}


def _measure_pairs(bench: Bench) -> Taken:
    """Return the seconds of a summary by each pair."""
    taken: Taken = {}
    with grpc.insecure_channel(f"127.0.0.1:{bench.get(SERVER).port}") as channel:
        stub = AnalyticsEventServiceStub(channel)
        for pair in PAIRS:
            start = time.perf_counter()
            _summarize(stub, pair)
            taken[pair] = time.perf_counter() - start
    return taken


def _summarize(stub: AnalyticsEventServiceStub, pair: Sequence[str]) -> None:
    answer = stub.SummarizeAnalyticsEvents(SummarizeAnalyticsEventsRequest(customer_id=CUSTOMER, by=pair))
    if answer.events != EVENTS:
        sys.exit(f"{EVENTS} events should be counted, and {answer.events} were")


def make_lines() -> Iterator[bytes]:
    """Yield the lines of all events, oldest first, every fourth of the customer."""
    chance = random.Random(1)
    lines = Lines(chance)
    count = EVENTS + OTHERS
    # An hour later than 30 days ago, so that none is older when the last summary is made.
    start = int(time.time() * 1_000) - MONTH_MILLISECONDS + _MARGIN_MILLISECONDS
    for number in range(count):
        customer = f"other-{chance.randrange(100)}" if number % (count // EVENTS) else CUSTOMER
        milliseconds = start + (MONTH_MILLISECONDS - 2 * _MARGIN_MILLISECONDS) * number // count
        yield lines.make(customer, milliseconds, number)


ROWS = [
    Row(
        "10",
        "a summary of 30 days, a million events of one customer, by two of their properties, against COPY of as many",
        Goal(37),
        compare_with_copy,
    )
]
