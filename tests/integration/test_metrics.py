"""A worker's socket for metrics: while the worker waits, when it stops, and what it does not let in."""

import socket
import stat
from pathlib import Path

import grpc
import pytest

from tests.support.in_process import running_server
from tests.support.processes import free_port, started_module
from tests.support.prometheus import ask_socket, parse, total
from tests.support.refusals import refused
from tests.support.requests import lead_event
from tests.support.until import until

METRICS = b"GET /metrics HTTP/1.1\r\nhost: w\r\n\r\n"
READY = b"GET /readyz HTTP/1.1\r\n\r\n"


def test_a_worker_that_waits_for_its_database_says_so(tmp_path: Path) -> None:
    url = f"postgresql://a@127.0.0.1:{free_port()}/a"
    path = tmp_path / "run" / "w.prom"
    variables = {"GRPC_PORT": str(free_port()), "ENVOY_SOCKET": str(path.with_suffix(".sock"))}
    with started_module("server", DATABASE_URL=url, **variables):
        until(lambda: is_there(path))
        status, text = ask_socket(path, METRICS)
        samples = parse(text)
        assert status == 200
        assert total(samples, "analytics_worker_up", worker="w") == 1
        assert total(samples, "analytics_ready") == total(samples, "analytics_database_up") == 0
        assert ("analytics_database_up", frozenset({("worker", "w")})) in samples
        assert ask_socket(path, READY)[0] == 503


def is_there(path: Path) -> bool:
    """Return whether somebody listens."""
    try:
        return ask_socket(path, READY)[0] > 0
    except OSError:
        return False


def test_the_socket_is_private_and_goes_with_its_worker(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / "1.prom"
    with running_server(database_url, envoy_socket=path.with_suffix(".sock")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert ask_socket(path, READY)[0] == 200
    assert not path.exists()


def test_silent_connections_take_no_more_than_their_places(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / "1.prom"
    with running_server(database_url, envoy_socket=path.with_suffix(".sock")) as server:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for each in silent:
            each.connect(str(path))
        until(lambda: ask_socket(path, READY)[0] == 0)
        assert server.client.is_serving()
        silent.pop().close()
        until(lambda: ask_socket(path, READY)[0] == 200)
        for each in silent:
            each.close()


@pytest.mark.parametrize("name", ["1.prom", "1"])
def test_a_socket_of_any_name_has_one_for_metrics_beside_it(name: str, database_url: str, tmp_path: Path) -> None:
    with running_server(database_url, envoy_socket=tmp_path / "run" / name):
        status, text = ask_socket(tmp_path / "run" / f"{name}.prom", METRICS)
        assert status == 200
        assert total(parse(text), "analytics_worker_up", worker=name) == 1


def test_calls_that_are_not_admitted_are_counted_by_their_cause(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / "1.prom"
    with running_server(database_url, envoy_socket=path.with_suffix(".sock"), auth=True) as server:

        def count() -> float:
            samples = parse(ask_socket(path, METRICS)[1])
            return total(samples, "analytics_calls_failed_total", door="grpc", cause="unauthenticated")

        before = count()
        with refused(grpc.StatusCode.UNAUTHENTICATED):
            server.client.leads.CreateLeadAnalyticsEvent(lead_event("c"), timeout=10)
        assert count() == before + 1
