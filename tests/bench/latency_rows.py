"""Rows that compare the time of a lone create with that of its parts."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

from server.messages.convert import LEAD as LEAD_KIND
from storage import make_id_and_time
from storage.connection import connect
from storage.model import make_search_key
from storage.rows import COLUMNS, INTO
from tests.bench.bench import Bench
from tests.bench.bodies import CREATE, CREATE_PATH, LEAD
from tests.bench.contenders import SERVER, STOCK_NOOP
from tests.bench.load import Load
from tests.bench.report import Goal, Round, Row

_INSERTS = 500
_MARKS = ", ".join(["%s"] * len(COLUMNS))
_INSERT = f"INSERT INTO {INTO} VALUES ({_MARKS})"
_NUMBERS = ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 1))
_PREPARE = f"PREPARE bare AS INSERT INTO {INTO} VALUES ({_NUMBERS})"
_EXECUTE = f"EXECUTE bare ({_MARKS})"


def compare_grpc(bench: Bench) -> Round:
    """Return the p50 of a lone create by gRPC against that of its parts."""
    return _compare(bench, lambda: bench.grpc(bench.get(SERVER), CREATE, LEAD, connections=1, streams=1))


def compare_json(bench: Bench) -> Round:
    """Return the p50 of a lone create by JSON through Envoy against that of the same parts."""
    return _compare(bench, lambda: bench.json(bench.get_stack(), CREATE_PATH, LEAD, connections=1))


def _compare(bench: Bench, load_creates: Callable[[], Load]) -> Round:
    (ours,), (noop, insert, prepared) = bench.alternate(
        lambda: [bench.check_stored(load_creates()).p50], lambda: _measure_parts(bench)
    )
    detail = f"{ours:.0f} µs against {noop:.0f} + {insert:.0f} µs; a prepared INSERT: {prepared:.0f} µs"
    return Round(ours / (noop + insert), detail)


def _measure_parts(bench: Bench) -> list[float]:
    """Return the p50 of a stock no-op, of an INSERT with its commit, and of the same prepared."""
    noop = bench.grpc(bench.get(STOCK_NOOP), CREATE, LEAD, connections=1, streams=1).p50
    with contextlib.closing(connect(bench.url, "bench", {})) as connection, connection.cursor() as cursor:
        cursor.execute(_PREPARE)
        times: dict[str, list[float]] = {_INSERT: [], _EXECUTE: []}
        for values in _make_values():
            for statement, taken in times.items():
                values[_ID] = make_id_and_time()[0]
                start = time.perf_counter()
                cursor.execute(statement, values)
                taken.append((time.perf_counter() - start) * 1e6)
    return [noop, *map(statistics.median, times.values())]


_ID = COLUMNS.index("id")


def _make_values() -> Iterator[list[str | None]]:
    for _ in range(_INSERTS):
        event = LEAD_KIND.to_event(LEAD)
        yield [*event, make_search_key(event.entity_type, event.entity_id, event.user_id, event.recording_id)]


ROWS = [
    Row(
        "7",
        "p50 of a lone gRPC create against that of a stock no-op plus that of a bare INSERT",
        Goal(1.0, at_most=True),
        compare_grpc,
    ),
    Row("7j", "p50 of a lone JSON create through Envoy against the same", Goal(1.4, at_most=True), compare_json),
]
