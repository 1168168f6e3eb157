"""What the rows share: a database, the contenders, and the loads that they run."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsRequest
from storage.connection import connect
from storage.schema import migrate
from tests.bench.bodies import CUSTOMER, to_json
from tests.bench.contenders import Contender, running_contender, running_stack
from tests.bench.load import GRPC, JSON, Load, Target, run_load, write_grpc_body
from tests.bench.processor_time import Parts
from tests.support.postgres import running_postgres

T = TypeVar("T")

# Of the events that were acknowledged between two times, how many must have ids from between them, besides those that
# were in flight at the first. The clocks of h2load and of the server are read at different moments.
_LEAST_STORED = 0.95

_COUNT = "SELECT count(*) FROM analytics_event WHERE customer_id = %s AND id BETWEEN %s AND %s"


class Bench:
    """A database, and the contenders of one row at a time. A contender starts when it is first needed."""

    def __init__(self, cleanup: ExitStack, seconds: float) -> None:
        """Start a database.

        Args:
            cleanup: stops it.
            seconds: how long each load lasts.
        """
        self.seconds = seconds
        self.round = 0
        self.search: SearchLeadAnalyticsEventsRequest | None = None
        """What `search_rows.prepare_search` returned."""
        self.directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self.url = cleanup.enter_context(running_postgres(self.directory))
        migrate(self.url)
        self._postmaster = int((self.directory / "postgres/postmaster.pid").read_text().split()[0])
        self._contenders: dict[str, Contender] = {}
        self._cleanup = ExitStack()

    @contextlib.contextmanager
    def contenders(self) -> Iterator[None]:
        """Stop all contenders at the end, so that those of one row do not disturb the next."""
        with self._cleanup:
            yield
        self._contenders = {}

    def get(self, name: str) -> Contender:
        """Return a contender by its name, one of those in `contenders`."""
        if name not in self._contenders:
            started = self._cleanup.enter_context(running_contender(name, self.directory, self.url))
            self._contenders[name] = started
        return self._contenders[name]

    def get_stack(self) -> Contender:
        """Return the whole stack, with two workers."""
        if "stack" not in self._contenders:
            stack, _ = self._cleanup.enter_context(running_stack(self.directory / "stack", self.url))
            self._contenders["stack"] = stack
        return self._contenders["stack"]

    def alternate(self, *sides: Callable[[], T]) -> list[T]:
        """Call each side once and return their results, in order. In every other round the last is called first."""
        numbers = range(len(sides))
        results = {number: sides[number]() for number in (reversed(numbers) if self.round % 2 else numbers)}
        return [results[number] for number in numbers]

    def grpc(
        self,
        contender: Contender,
        rpc: str,
        request: Message,
        *,
        connections: int = 8,
        streams: int = 8,
        ports: Sequence[int] = (),
        headers: Sequence[str] = (),
    ) -> Load:
        """Load an RPC of a contender, or of several of its ports at once."""
        targets = [
            self.make_grpc_target(port, rpc, request, connections, streams, headers)
            for port in ports or [contender.port]
        ]
        return run_load(*targets, seconds=self.seconds, parts=self.add_database(contender.parts))

    def json(self, contender: Contender, path: str, request: Message | None = None, *, connections: int = 64) -> Load:
        """Load a JSON route over HTTP/1.1: a POST of `request`, or a GET."""
        target = self.make_json_target(contender.port, path, request, connections)
        return run_load(target, seconds=self.seconds, parts=self.add_database(contender.parts))

    def make_grpc_target(
        self,
        port: int,
        rpc: str,
        request: Message,
        connections: int,
        streams: int,
        headers: Sequence[str] = (),
    ) -> Target:
        """Return what `grpc` loads."""
        options = [*GRPC, *(f"-H{header}" for header in headers), f"-d{write_grpc_body(request, self.directory)}"]
        return Target(f"http://127.0.0.1:{port}/{rpc}", options, connections, streams)

    def make_json_target(self, port: int, path: str, request: Message | None, connections: int) -> Target:
        """Return what `json` loads."""
        options = list(JSON)
        if request is not None:
            body = self.directory / f"{request.DESCRIPTOR.name}.json"
            body.write_text(to_json(request))
            options.append(f"-d{body}")
        return Target(f"http://127.0.0.1:{port}{path}", options, connections)

    def check_stored(self, load: Load, events: int = 1) -> Load:
        """Return `load`, or exit if it did not store so many events for each request that was answered."""
        stored = self.count_stored(*load.window)
        # Those that were in flight at the beginning have ids from before.
        if stored < (load.answered * _LEAST_STORED - load.in_flight) * events:
            sys.exit(f"{load.answered * events} events were acknowledged, and {stored} are stored")
        return load

    def count_stored(self, start: float, end: float) -> int:
        """Return how many events have an id from between two times, in seconds since the epoch."""
        # UUIDv7 begins with the time.
        least, most = f"{int(start * 1000):012x}{0:020}", f"{int(end * 1000):012x}{'f' * 20}"
        with contextlib.closing(connect(self.url, "bench", {})) as connection, connection.cursor() as cursor:
            cursor.execute(_COUNT, (CUSTOMER, least, most))
            (stored,) = cursor.fetchone() or (0,)
        return int(stored)

    def add_database(self, parts: Parts) -> Parts:
        """Return the processes of a side, with those of the database."""
        return {**parts, "PostgreSQL": [self._postmaster]}
