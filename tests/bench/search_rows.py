"""Rows that compare searches: a page of 10 among 50 matches, in a table of a million events."""

import contextlib
import json
import sys
import urllib.parse
import urllib.request

import grpc

from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsRequest
from data_analytics.v1.lead_analytics_service_pb2_grpc import LeadAnalyticsServiceStub
from storage.connection import connect
from tests.bench.bench import Bench
from tests.bench.bodies import SEARCH, SEARCH_PATH
from tests.bench.contenders import FASTAPI, FASTAPI_2, SERVER
from tests.bench.load import Load
from tests.bench.report import Goal, Round, Row, compare_rates
from tests.bench.seed import seed
from tests.support import requests

SEEDED_EVENTS = 1_000_000
PAGE, MATCHES = 10, 50

# A customer's user and lead that have exactly so many events together, of several recordings, and those recordings.
_FIND_MATCHES = """
SELECT customer_id, user_id, entity_id, array_agg(DISTINCT recording_id) FROM analytics_event
WHERE entity_type = 'lead' GROUP BY customer_id, user_id, entity_id
HAVING count(*) = %s AND count(DISTINCT recording_id) BETWEEN 2 AND 10 LIMIT 1
"""


def compare_grpc(bench: Bench) -> Round:
    """Return the rate of searches by gRPC against that of FastAPI, one process each."""
    search, path = prepare_search(bench), format_path(prepare_search(bench))
    size = check_grpc(bench.get(SERVER).port, search)
    check_json(bench.get(FASTAPI).port, path)
    ours, fastapi = bench.alternate(
        lambda: check_size(bench.grpc(bench.get(SERVER), SEARCH, search, connections=4, streams=4), size),
        lambda: bench.json(bench.get(FASTAPI), path, connections=16),
    )
    return compare_rates(ours, fastapi)


def compare_json(bench: Bench) -> Round:
    """Return the rate of searches by JSON through Envoy against that of FastAPI, two processes each."""
    path = format_path(prepare_search(bench))
    for contender in (bench.get_stack(), bench.get(FASTAPI_2)):
        check_json(contender.port, path)
    ours, fastapi = bench.alternate(
        lambda: bench.json(bench.get_stack(), path, connections=16),
        lambda: bench.json(bench.get(FASTAPI_2), path, connections=16),
    )
    return compare_rates(ours, fastapi)


def prepare_search(bench: Bench) -> SearchLeadAnalyticsEventsRequest:
    """Return the search, and fill the table with what it finds, unless that has been done."""
    if bench.search is None:
        with contextlib.closing(connect(bench.url, "bench", {})) as connection, connection.cursor() as cursor:
            seed(connection, SEEDED_EVENTS)
            cursor.execute(_FIND_MATCHES, (MATCHES,))
            customer, user, lead, recordings = cursor.fetchone() or sys.exit("no lead has the right number of events")
            cursor.execute("CHECKPOINT")  # Or it would be written out while the first rows are measured.
        bench.search = requests.lead_search(customer, user_id=user, lead_id=lead, recording_id=recordings)
    return bench.search


def format_path(search: SearchLeadAnalyticsEventsRequest) -> str:
    """Return the path and query of the same search by HTTP."""
    query = [("customer_id", search.customer_id), ("user_id", search.user_id), ("lead_id", search.lead_id)]
    query += [("recording_id", recording) for recording in search.recording_id]
    return f"{SEARCH_PATH}?{urllib.parse.urlencode(query)}"


def check_grpc(port: int, search: SearchLeadAnalyticsEventsRequest) -> int:
    """Return the size of the response to the search; exit if it is not the right page."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = LeadAnalyticsServiceStub(channel).SearchLeadAnalyticsEvents(search, timeout=10)
    _check(len(answer.recordings), answer.meta.row_count)
    return answer.ByteSize()


def check_json(port: int, path: str) -> None:
    """Exit if the response to the search is not the right page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        found = json.load(answer)
    _check(len(found["recordings"]), found["meta"]["rowCount"])


def check_size(load: Load, size: int) -> Load:
    """Return `load`, or exit if its responses are too small: h2load does not see that a gRPC call has failed."""
    if load.bytes_an_answer < size:
        sys.exit(f"a response should have {size} bytes, and had {load.bytes_an_answer:.0f} on average")
    return load


def _check(page: int, matches: int) -> None:
    if (page, matches) != (PAGE, MATCHES):
        sys.exit(f"the search should return {PAGE} of {MATCHES} events, not {page} of {matches}")


ROWS = [
    Row(
        "6",
        "a page of 10 of 50 by gRPC against FastAPI's, one process each, 16 callers, a million events",
        Goal(1.8),
        compare_grpc,
    ),
    Row(
        "6j",
        "the same by JSON through Envoy to two workers against FastAPI in two processes",
        Goal(1.4),
        compare_json,
    ),
]
