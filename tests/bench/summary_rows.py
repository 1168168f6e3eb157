"""The row of the summaries: 30 days of a customer with a million events, among three million of others."""

import contextlib
import io
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
from storage.event import Event, format_time
from storage.ids import make_bound
from storage.model import make_search_key
from storage.rows import COPY_STATEMENT, encode_row
from storage.summary import GROUPS
from tests.bench.batch_rows import run_copy
from tests.bench.bench import Bench
from tests.bench.bodies import BATCH_SIZE
from tests.bench.contenders import SERVER
from tests.bench.report import Goal, Round, Row
from tests.support.until import until

CUSTOMER = "summarized"
EVENTS, OTHERS = 1_000_000, 3_000_000
MONTH_MILLISECONDS = 30 * 24 * 3_600_000

PAIRS = [pair for pair in itertools.combinations(GROUPS, 2) if pair != ("day", "hour")]
"""What the events are grouped by, one after the other."""

# How many users, recordings and entities a customer has.
_DIFFERENT = {"005{:015}": 300, "rec-{}": 400, "00Q{:015}": 20_000}
_ROWS_A_COMMIT = 10_000
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
            seed(connection)
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


def make_templates(chance: random.Random) -> Iterator[str]:
    """Yield lines for COPY in which the ids, the time and the search key are missing, each as often as it happens."""
    types = ("view", "view", "view", "view", "share", "open", "open", "dismiss", "rate")
    for event_type, tool in itertools.product(types, range(8)):
        ids = ("{customer}", "{user}", "{recording}", event_type, "lead", "{entity}", f"tool-{tool}", "view-{entity}")
        message = "looked at the recommendation " * chance.randrange(4, 10)
        clocks = ("Fri Nov 02 2018 13:12:04 GMT+0100", "2018-11-02 13:12:04")
        texts = (*ids, message, *clocks, f"/apex/Recommendations?step={tool}", "parse-1", "model-1", "")
        versions = '{"package":"1.4.2","build":7}' if tool % 2 else None
        line = encode_row(Event(*texts, versions, "{id}", "{time}", "{time}")).line.decode()
        values, _, _ = line.replace('{"', '{{"').replace("7}", "7}}").rpartition("\t")
        yield f"{values}\t{{key}}\n"


def make_rows() -> Iterator[bytes]:
    """Yield the lines of all events, oldest first, every fourth of the customer."""
    chance = random.Random(1)
    templates = list(make_templates(chance))
    count = EVENTS + OTHERS
    # An hour later than 30 days ago, so that none is older when the last summary is made.
    start = int(time.time() * 1_000) - MONTH_MILLISECONDS + _MARGIN_MILLISECONDS
    for number in range(count):
        customer = f"other-{chance.randrange(100)}" if number % (count // EVENTS) else CUSTOMER
        # Some far more often than others.
        user, recording, entity = (form.format(int(most * chance.random() ** 2)) for form, most in _DIFFERENT.items())
        milliseconds = start + (MONTH_MILLISECONDS - 2 * _MARGIN_MILLISECONDS) * number // count
        yield (
            templates[chance.randrange(len(templates))]
            .format(
                customer=customer,
                user=user,
                recording=recording,
                entity=entity,
                id=f"{make_bound(milliseconds)[:14]}7{chance.getrandbits(12):03x}-8000-{number:012x}",
                time=format_time(milliseconds),
                key=make_search_key("lead", entity, user, recording),
            )
            .encode()
        )


def seed(connection: psycopg2.extensions.connection) -> None:
    """Store the events, then vacuum and analyse the table, as autovacuum would after a while."""
    rows = make_rows()
    with connection.cursor() as cursor:
        while batch := b"".join(itertools.islice(rows, _ROWS_A_COMMIT)):
            cursor.copy_expert(COPY_STATEMENT, io.BytesIO(batch), size=1 << 20)
        cursor.execute("VACUUM ANALYZE analytics_event")
        cursor.execute("CHECKPOINT")  # Or it would be written out while the first round is measured.


ROWS = [
    Row(
        "10",
        "a summary of 30 days, a million events of one customer, by two of their properties, against COPY of as many",
        Goal(37),
        compare_with_copy,
    )
]
