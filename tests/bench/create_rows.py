"""Rows that compare the creation of single events, by gRPC and by JSON."""

import contextlib

from tests.bench.bench import Bench
from tests.bench.bodies import CREATE, CREATE_PATH, CUSTOMER, LEAD
from tests.bench.contenders import FASTAPI_2, GUARDED, OUR_NOOP, PLAIN, SERVER, STOCK_NOOP
from tests.bench.load import Load
from tests.bench.report import Goal, Round, Row, compare_rates, format_costs, format_load
from tests.support.access import make_key
from tests.support.in_process import Client, connected
from tests.support.watching import GrpcWatcher


def compare_with_noop(bench: Bench) -> Round:
    """Return the rate of durable creates against that of a stock RPC that does nothing."""
    ours, stock, noop = bench.alternate(
        lambda: load_creates(bench, SERVER),
        lambda: bench.grpc(bench.get(STOCK_NOOP), CREATE, LEAD),
        lambda: bench.grpc(bench.get(OUR_NOOP), CREATE, LEAD),
    )
    round_ = compare_rates(ours, stock)
    return round_._replace(detail=f"{round_.detail}; doing nothing on our own transport: {format_load(noop)}")


def compare_with_plain_design(bench: Bench) -> Round:
    """Return the rate of durable creates against that of the plain design."""
    ours, plain = bench.alternate(lambda: load_creates(bench, SERVER), lambda: load_creates(bench, PLAIN))
    round_ = compare_rates(ours, plain)
    return round_._replace(detail=f"{round_.detail}; p99 {ours.p99 / 1000:.0f} ms against {plain.p99 / 1000:.0f} ms")


def compare_with_open_server(bench: Bench) -> Round:
    """Return the server's processor time for a create with a key, against that where no caller needs one."""
    guarded, opened = bench.get(GUARDED), bench.get(SERVER)
    rates = ("--events-per-second", "1000000000", "--bytes-per-second", "1000000000")
    header = f"authorization: Bearer {make_key(bench.url, 'secret', CUSTOMER, *rates)}"
    with_key, without = bench.alternate(
        lambda: bench.check_stored(bench.grpc(guarded, CREATE, LEAD, headers=[header])),
        lambda: bench.check_stored(bench.grpc(opened, CREATE, LEAD)),
    )
    costs = with_key.costs[GUARDED], without.costs[SERVER]
    return Round(costs[0] / costs[1], f"{costs[0]:.1f} µs against {costs[1]:.1f} µs")


def compare_with_unwatched(bench: Bench) -> Round:
    """Return the processor time of the server and the database for a create that is watched, against one that is not.

    It has the time that the watch takes to send the events.
    """
    with connected(bench.get(SERVER).port) as client:
        watched, alone = bench.alternate(lambda: load_watched(bench, client), lambda: load_creates(bench, SERVER))
    costs = sum(watched.costs.values()), sum(alone.costs.values())
    return Round(costs[0] / costs[1], f"{format_costs(watched)} against {format_costs(alone)}")


def load_watched(bench: Bench, client: Client) -> Load:
    """Load a contender with creates while someone watches all of them."""
    with contextlib.closing(GrpcWatcher(client, CUSTOMER)):
        return load_creates(bench, SERVER)


def compare_with_fastapi(bench: Bench) -> Round:
    """Return the rate of JSON creates through Envoy against that of FastAPI."""
    return compare_rates(*load_json_creates(bench))


def compare_envoy_with_server(bench: Bench) -> Round:
    """Return Envoy's processor time for a JSON create against the server's."""
    ours, fastapi = load_json_creates(bench)
    detail = f"{format_costs(ours)} against {format_costs(fastapi)}"
    return Round(ours.costs["Envoy"] / ours.costs["server"], detail)


def compare_envoy_with_fastapi(bench: Bench) -> Round:
    """Return Envoy's processor time for a JSON create against the whole of FastAPI's, with its database."""
    ours, fastapi = load_json_creates(bench)
    whole = sum(fastapi.costs.values())
    return Round(ours.costs["Envoy"] / whole, f"{ours.costs['Envoy']:.0f} µs against {whole:.0f} µs")


def load_creates(bench: Bench, name: str) -> Load:
    """Load a contender with creates by gRPC, which it must store."""
    return bench.check_stored(bench.grpc(bench.get(name), CREATE, LEAD))


def load_json_creates(bench: Bench) -> tuple[Load, Load]:
    """Load the stack and FastAPI, two processes each, with creates by JSON, which they must store."""
    ours, fastapi = bench.alternate(
        lambda: bench.check_stored(bench.json(bench.get_stack(), CREATE_PATH, LEAD)),
        lambda: bench.check_stored(bench.json(bench.get(FASTAPI_2), CREATE_PATH, LEAD)),
    )
    return ours, fastapi


ROWS = [
    Row(
        "1",
        "durable gRPC create against a stock grpc.aio RPC that does nothing, 64 callers",
        Goal(1.6),
        compare_with_noop,
    ),
    Row(
        "1k",
        "processor time of a durable gRPC create: with a key against without, 64 callers",
        Goal(1.05, at_most=True),
        compare_with_open_server,
    ),
    Row(
        "1w",
        "processor time of a durable gRPC create and the database: watched against not, 64 callers",
        Goal(1.15, at_most=True),
        compare_with_unwatched,
    ),
    Row("2", "the same against the plain design", Goal(12), compare_with_plain_design),
    Row(
        "3",
        "JSON create through Envoy to two workers against FastAPI and asyncpg in two processes, 64 callers",
        Goal(1.8),
        compare_with_fastapi,
    ),
    Row(
        "8",
        "processor time of a JSON create: Envoy's against the server's",
        Goal(1.0, at_most=True),
        compare_envoy_with_server,
    ),
    Row(
        "8w",
        "processor time of a JSON create: Envoy's against FastAPI's whole",
        Goal(0.21, at_most=True),  # 100 µs of 470.
        compare_envoy_with_fastapi,
    ),
]
