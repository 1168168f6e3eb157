"""`make bench`: the service's speed, as ratios to baselines on the same machine at the same time.

The two sides of a row alternate, round by round, because a machine may be twice as fast a minute later. The table shows
the median of the rounds' ratios, the lowest and the highest.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.protobuf.json_format import MessageToJson

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsRequest
from data_analytics.v1.lead_analytics_service_pb2_grpc import LeadAnalyticsServiceStub
from server.messages import convert
from storage.connection import connect
from storage.rows import COPY_STATEMENT, encode_row
from storage.schema import migrate
from tests.bench.contenders import envoy_without_lua, running_contender
from tests.bench.load import GRPC, Load, h2load, require_h2load, write_grpc_body
from tests.bench.seed import seed
from tests.support import requests
from tests.support.postgres import running_postgres
from tests.support.processes import free_port
from tests.support.stack import Stack, running

CREATE = "data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
SEARCH = "data_analytics.v1.LeadAnalyticsService/SearchLeadAnalyticsEvents"
BATCH = "data_analytics.v1.AnalyticsEventService/BatchCreateAnalyticsEvents"
FIELDS: dict[str, Any] = requests.EVERY_OPTIONAL_FIELD | {"version_info": {"package": "1.4.2"}}
BATCH_SIZE = 500
SEARCHED_EVENTS = 1_000_000
MEMORY_SECONDS = 120.0

# A customer's user and lead that have exactly 50 events together, of several recordings.
_PAIR_WITH_50_EVENTS = """
SELECT customer_id, user_id, entity_id, array_agg(DISTINCT recording_id) FROM analytics_event
WHERE entity_type = 'lead' GROUP BY customer_id, user_id, entity_id
HAVING count(*) = 50 AND count(DISTINCT recording_id) BETWEEN 2 AND 10 LIMIT 1
"""


class Round(NamedTuple):
    """One round of a row."""

    ratio: float
    detail: str
    """The two measurements behind the ratio."""


class Bench:
    """The processes and requests that the rows share; a process starts when the first row needs it."""

    def __init__(self, cleanup: ExitStack, seconds: float) -> None:
        self.cleanup = cleanup
        self.seconds = seconds
        self.directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self.url = cleanup.enter_context(running_postgres(self.directory))
        migrate(self.url)
        self._search: SearchLeadAnalyticsEventsRequest | None = None
        self.processes: dict[str, int] = {}
        self.first_memory = 0.0
        self.ports: dict[str, int] = {}
        self._stack: Stack | None = None
        self.lead = requests.lead_event("customer-1", **FIELDS)
        events = [requests.analytics_event("customer-1", entity_id=f"lead-{n}", **FIELDS) for n in range(BATCH_SIZE)]
        self.batch = BatchCreateAnalyticsEventsRequest(events=events)

    def port(self, name: str) -> int:
        """Return the port of a contender: "server", "noop", "plain", "peer" or "peer-2" (two processes)."""
        if name not in self.ports:
            port = self.ports[name] = free_port()
            self.processes[name] = self.cleanup.enter_context(running_contender(name, port, self.url))
        return self.ports[name]

    def stack(self) -> Stack:
        """Return the whole stack, with two workers, on the shared database."""
        if self._stack is None:
            directory = self.directory / "stack"
            self._stack = self.cleanup.enter_context(running(directory, DATABASE_URL=self.url, WORKERS="2"))
            self._stack.wait_until_up()
        return self._stack

    def search(self) -> SearchLeadAnalyticsEventsRequest:
        """Return a search that finds 50 events, 10 a page, among a million."""
        if self._search is None:
            with contextlib.closing(connect(self.url, "bench", {})) as connection, connection.cursor() as cursor:
                seed(connection, SEARCHED_EVENTS)
                cursor.execute(_PAIR_WITH_50_EVENTS)
                customer, user, lead, recordings = cursor.fetchone() or ()
            self._search = requests.lead_search(customer, user_id=user, lead_id=lead, recording_id=recordings)
            for found in (self._search_server(), self._search_peer()):
                if found != (10, 50):
                    sys.exit(f"the search should return 10 of 50 events, not {found}")
        return self._search

    def search_path(self) -> str:
        """Return the path and query of the same search by HTTP."""
        search = self.search()
        query = [("customer_id", search.customer_id), ("user_id", search.user_id), ("lead_id", search.lead_id)]
        query += [("recording_id", recording) for recording in search.recording_id]
        return f"/api/v1/lead_analytics/search?{urllib.parse.urlencode(query)}"

    def _search_server(self) -> tuple[int, int]:
        with grpc.insecure_channel(f"127.0.0.1:{self.port('server')}") as channel:
            answer = LeadAnalyticsServiceStub(channel).SearchLeadAnalyticsEvents(self.search(), timeout=10)
        return len(answer.recordings), answer.meta.row_count

    def _search_peer(self) -> tuple[int, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port('peer')}{self.search_path()}", timeout=10) as answer:
            found = json.load(answer)
        return len(found["recordings"]), found["meta"]["rowCount"]

    def grpc(self, port: int, rpc: str, request: Any, *, connections: int = 8, streams: int = 8) -> Load:
        """Load an RPC."""
        body = write_grpc_body(request, self.directory)
        url = f"http://127.0.0.1:{port}/{rpc}"
        return h2load(url, *GRPC, f"-d{body}", connections=connections, streams=streams, seconds=self.seconds)

    def json(self, port: int, path: str, request: Any = None, *, connections: int = 64) -> Load:
        """Load a JSON route over HTTP/1.1."""
        options = ["--h1", "-H", "content-type: application/json"]
        if request is not None:
            body = self.directory / f"{request.DESCRIPTOR.name}.json"
            body.write_text(MessageToJson(request, indent=None))
            options.append(f"-d{body}")
        return h2load(f"http://127.0.0.1:{port}{path}", *options, connections=connections, seconds=self.seconds)


def compare_rates(ours: Load, baseline: Load, events: int = 1) -> Round:
    """Return the ratio of two rates, of requests of so many events."""
    detail = f"{ours.rate * events:,.0f}/s against {baseline.rate * events:,.0f}/s; h2load used {ours.cores:.2f} cores"
    return Round(ours.rate / baseline.rate, detail)


def row_1(bench: Bench) -> Round:
    """Durable unary creates against a no-op RPC, 64 in flight: ≥ 0.85."""
    ours = bench.grpc(bench.port("server"), CREATE, bench.lead)
    return compare_rates(ours, bench.grpc(bench.port("noop"), CREATE, bench.lead))


def row_2(bench: Bench) -> Round:
    """The same against the plain design (synchronous gRPC, one Peewee create() a call): ≥ 4, p99 no worse."""
    ours = bench.grpc(bench.port("server"), CREATE, bench.lead)
    plain = bench.grpc(bench.port("plain"), CREATE, bench.lead)
    round_ = compare_rates(ours, plain)
    return round_._replace(detail=f"{round_.detail}; p99 {ours.p99 / 1000:.0f} ms against {plain.p99 / 1000:.0f} ms")


def row_3(bench: Bench) -> Round:
    """JSON creates through Envoy, two workers, against FastAPI and asyncpg, two processes: ≥ 1.5."""
    ours = bench.json(bench.stack().http_port, "/api/v1/lead_analytics", bench.lead)
    return compare_rates(ours, bench.json(bench.port("peer-2"), "/api/v1/lead_analytics", bench.lead))


def row_4(bench: Bench) -> Round:
    """Batches of 500 by gRPC, one worker, against psycopg2's COPY of prepared rows: ≥ 0.7."""
    ours = bench.grpc(bench.port("server"), BATCH, bench.batch, connections=4, streams=1)
    connection = connect(bench.url, "bench", {})
    commits = 0
    with connection.cursor() as cursor:
        end = time.monotonic() + bench.seconds
        prepared = [_copy_batch(bench) for _ in range(40)]
        while time.monotonic() < end and prepared:
            if commits % len(prepared) == 0 and commits:
                paused = time.monotonic()
                prepared = [_copy_batch(bench) for _ in range(40)]
                end += time.monotonic() - paused
            cursor.copy_expert(COPY_STATEMENT, io.BytesIO(prepared[commits % len(prepared)]), size=1 << 20)
            commits += 1
    connection.close()
    return compare_rates(ours, Load(commits / bench.seconds, 0, 0, 0), BATCH_SIZE)


def _copy_batch(bench: Bench) -> bytes:
    return b"".join(encode_row(convert.ANALYTICS.to_event(event)).line for event in bench.batch.events)


def row_5(bench: Bench) -> Round:
    """Batches of 500 by JSON against the same by gRPC, both through Envoy to two workers: ≥ 0.4."""
    port = bench.stack().http_port
    ours = bench.json(port, "/api/v1/analytics_events:batch", bench.batch, connections=4)
    return compare_rates(ours, bench.grpc(port, BATCH, bench.batch, connections=4, streams=1), BATCH_SIZE)


def row_6(bench: Bench) -> Round:
    """Searches by gRPC against FastAPI's, 16 in flight, a million events: ≥ 1.5."""
    search = bench.search()
    ours = bench.grpc(bench.port("server"), SEARCH, search, connections=4, streams=4)
    return compare_rates(ours, bench.json(bench.port("peer"), bench.search_path(), connections=16))


def row_7(bench: Bench) -> Round:
    """The p50 of a lone create against that of a no-op RPC plus that of a bare INSERT and commit: ≤ 1.2."""
    ours = bench.grpc(bench.port("server"), CREATE, bench.lead, connections=1, streams=1).p50
    noop = bench.grpc(bench.port("noop"), CREATE, bench.lead, connections=1, streams=1).p50
    connection = connect(bench.url, "bench", {})
    times = []
    with connection.cursor() as cursor:
        for _ in range(500):
            row = encode_row(convert.LEAD.to_event(bench.lead)).line.decode().rstrip("\n").split("\t")
            marks = ", ".join(["%s"] * len(row))
            statement = COPY_STATEMENT.replace("COPY", "INSERT INTO").replace("FROM STDIN", f"VALUES ({marks})")
            start = time.perf_counter()
            cursor.execute(statement, row)
            times.append((time.perf_counter() - start) * 1e6)
    connection.close()
    insert = statistics.median(times)
    return Round(ours / (noop + insert), f"{ours:.0f} µs against {noop:.0f} + {insert:.0f} µs")


def row_8(bench: Bench) -> Round:
    """JSON creates through Envoy with its Lua filter against the same without it: ≥ 0.97."""
    stack = bench.stack()
    if "no Lua" not in bench.ports:
        bench.ports["no Lua"] = bench.cleanup.enter_context(envoy_without_lua(stack, bench.directory))
    ours = bench.json(stack.http_port, "/api/v1/lead_analytics", bench.lead)
    return compare_rates(ours, bench.json(bench.ports["no Lua"], "/api/v1/lead_analytics", bench.lead))


def row_9(bench: Bench) -> Round:
    """Memory of one worker after two more minutes of creates, against that after the first two; under 120 MiB."""
    port = bench.port("server")
    body = write_grpc_body(bench.lead, bench.directory)
    h2load(f"http://127.0.0.1:{port}/{CREATE}", *GRPC, f"-d{body}", connections=8, streams=8, seconds=MEMORY_SECONDS)
    status = Path(f"/proc/{bench.processes['server']}/status").read_text()
    mebibytes = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    bench.first_memory = bench.first_memory or mebibytes
    return Round(mebibytes / bench.first_memory, f"{mebibytes:.0f} MiB")


ROWS = [row_1, row_2, row_3, row_4, row_5, row_6, row_7, row_8, row_9]
DEFAULT_ROWS = "1,2,3,4,5,6,7,8"
"""Without the ninth, which takes two minutes a round."""


def main() -> None:
    """Run the rows that the command line asks for, and print the table."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the service against baselines, as ratios.")
    parser.add_argument("--rows", default=DEFAULT_ROWS, help=f"which rows, such as 1,4 (default: {DEFAULT_ROWS})")
    parser.add_argument("--rounds", type=int, default=5, help="how many rounds of each row (default: 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of load for each side of a round")
    options = parser.parse_args()
    require_h2load()
    with ExitStack() as cleanup:
        bench = Bench(cleanup, options.seconds)
        chosen: list[Callable[[Bench], Round]] = [ROWS[int(number) - 1] for number in options.rows.split(",")]
        done: dict[str, list[Round]] = {row.__name__: [] for row in chosen}
        for number in range(options.rounds):
            for row in chosen:
                done[row.__name__].append(row(bench))
                print(f"round {number + 1} {row.__name__}: {done[row.__name__][-1]}", file=sys.stderr)
    print(f"\n{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, {options.rounds} rounds of {options.seconds:g} s\n")
    print("| row | what | ratio | lowest to highest | median round |\n|---|---|---|---|---|")
    for row in chosen:
        rounds = sorted(done[row.__name__])
        middle, name = rounds[len(rounds) // 2], row.__name__.removeprefix("row_")
        spread = f"{rounds[0].ratio:.2f} to {rounds[-1].ratio:.2f}"
        print(f"| {name} | {(row.__doc__ or '').rstrip('.')} | {middle.ratio:.2f} | {spread} | {middle.detail} |")


if __name__ == "__main__":
    main()
