"""The stack as `make run` starts it: how it starts, what it survives, and that it leaves no process behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest

from server.stack.workers import find_fault
from tests.support.http import Http
from tests.support.processes import run_module
from tests.support.stack import EVENT, PORTS, Stack, free_ports, running
from tests.support.template import Template
from tests.support.until import until

CREATE = "/api/v1/lead_analytics"


class Endpoint(NamedTuple):
    """A worker as Envoy sees it."""

    healthy: bool
    connections: int
    in_flight: int
    requests: int


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Stack]:
    """A stack for the tests that leave it as they found it, with two workers and a standby."""
    with running(template.copy_to(tmp_path_factory.mktemp("shared")), WORKERS="3") as stack:
        yield stack.wait_until_up()


def start_in_vain(directory: Path, **environment: str) -> tuple[int, str]:
    """Run a stack that cannot start, and return its exit status and the one line that it logs."""
    with running(directory, **environment) as stack:
        status = stack.wait_for_end()
        assert stack.output == ""
        assert stack.log.count("\n") == 1, stack.log
        return status, stack.log


def read_endpoints(stack: Stack) -> dict[int, Endpoint]:
    """Return what Envoy knows about each worker, by port."""
    found: dict[int, dict[str, str]] = {}
    lines = re.findall(r"^writes::/.*/(\d+)\.sock::(\w+)::(.*)$", stack.ask_envoy("/clusters"), re.MULTILINE)
    for port, name, value in lines:
        found.setdefault(int(port), {})[name] = value
    return {
        port: Endpoint(
            values["health_flags"] == "healthy",
            int(values["cx_active"]),
            int(values["rq_active"]),
            int(values["rq_total"]),
        )
        for port, values in found.items()
    }


def wait_until_all_workers_serve(stack: Stack) -> None:
    """Wait until Envoy sends requests to each worker but the standby, and to no other."""
    until(lambda: all(find_fault(f"127.0.0.1:{port}") is None for port in stack.grpc_ports))
    before = read_endpoints(stack)
    # Envoy's threads may go by a change of health only a second after its admin interface shows it.
    until(
        lambda: (
            stack.serves()
            and stack.request(CREATE, EVENT) == 201
            and all(
                after.healthy and (after.requests > before[port].requests or port == stack.grpc_ports[-1])
                for port, after in read_endpoints(stack).items()
            )
        )
    )


@contextlib.contextmanager
def locked_events(stack: Stack) -> Iterator[None]:
    """Keep all writes waiting."""
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE analytics_event IN EXCLUSIVE MODE")
        yield


@contextlib.contextmanager
def frozen_supervisor(stack: Stack) -> Iterator[None]:
    """Keep the supervisor from restarting anything."""
    stack.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.process.send_signal(signal.SIGCONT)


def kill(stack: Stack, name: str) -> int:
    """Kill a process as soon as it runs, and return its PID."""
    pid = until(lambda: stack.number_of(name))  # Never 0, which would be our own process group.
    os.kill(pid, signal.SIGKILL)
    return pid


def test_the_command_that_is_shown_stores_an_event(shared: Stack) -> None:
    command = next(line for line in shared.output.splitlines() if line.startswith("curl "))
    answer = subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    assert answer.startswith("HTTP/1.1 201 ")
    with contextlib.closing(psycopg2.connect(shared.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM analytics_event WHERE customer_id = 'acme'")
        assert cursor.fetchone() == (1,)


def test_requests_are_balanced_over_all_workers_but_the_standby(shared: Stack) -> None:
    wait_until_all_workers_serve(shared)
    calls: list[Future[int]] = []

    def read_when_all_are_in_flight() -> list[int]:
        in_flight = [read_endpoints(shared)[port].in_flight for port in shared.grpc_ports[:-1]]
        return in_flight if sum(in_flight) == len(calls) else []

    with ThreadPoolExecutor(400) as callers:
        # While the table is locked, no request ends, so that a slow worker gets as many as a fast one.
        with locked_events(shared):
            for _ in range(4):
                calls += [callers.submit(shared.request, CREATE, EVENT) for _ in range(100)]
                in_flight = until(read_when_all_are_in_flight)
                # Envoy does not count the requests that wait for a connection to open, so a worker to which it has none
                # yet may get too many at first. Later requests then go to the others.
                if max(in_flight) <= 1.2 * min(in_flight):
                    break
        assert {call.result() for call in calls} == {201}
    assert len(in_flight) == 2
    assert max(in_flight) <= 1.2 * min(in_flight)


@pytest.mark.parametrize("name", ["postgres", "server-1", "envoy"])
def test_a_process_that_is_killed_is_restarted(shared: Stack, name: str) -> None:
    killed = kill(shared, name)
    until(lambda: shared.number_of(name) not in (0, killed))
    until(shared.serves)
    until(lambda: shared.request(CREATE, EVENT) == 201)
    assert f"{name} died (killed by SIGKILL)" in shared.log


def test_nobody_is_rejected_by_a_database_that_starts(shared: Stack) -> None:
    # Each rejected connection would be a line like "FATAL:  the database system is starting up".
    with ThreadPoolExecutor(8) as callers:
        starts = shared.log.count("LOG:  database system is ready to accept connections")
        kill(shared, "postgres")
        while shared.log.count("LOG:  database system is ready to accept connections") == starts:
            list(callers.map(lambda _: shared.request(CREATE, EVENT), range(8)))
    until(lambda: shared.request(CREATE, EVENT) == 201)
    assert "automatic recovery in progress" in shared.log
    assert "FATAL:  the database system" not in shared.log


def test_requests_go_to_the_other_workers_while_one_is_down(shared: Stack) -> None:
    wait_until_all_workers_serve(shared)
    port = shared.grpc_port
    with frozen_supervisor(shared):
        kill(shared, "server-1")
        # A create sent over a connection whose end Envoy has not noticed yet would rightly fail with 503.
        until(lambda: not read_endpoints(shared)[port].connections)
        assert [shared.request(CREATE, EVENT) for _ in range(100)] == [201] * 100
        assert find_fault(f"127.0.0.1:{port}")
    before = read_endpoints(shared)[port].requests
    until(lambda: find_fault(f"127.0.0.1:{port}") is None)
    until(lambda: shared.request(CREATE, EVENT) == 201 and read_endpoints(shared)[port].requests > before)
    assert "server-1 died" in shared.log


def test_the_standby_serves_while_no_other_worker_does(tmp_path: Path, template: Template) -> None:
    with running(template.copy_to(tmp_path), WORKERS="2") as stack:
        stack.wait_until_up()
        hot, standby = stack.grpc_ports
        until(lambda: all(endpoint.healthy for endpoint in read_endpoints(stack).values()))
        assert stack.request(CREATE, EVENT) == 201
        assert read_endpoints(stack)[standby].requests == 0
        with frozen_supervisor(stack):
            kill(stack, "server-1")
            until(lambda: not read_endpoints(stack)[hot].connections)
            assert [stack.request(CREATE, EVENT) for _ in range(50)] == [201] * 50
            assert read_endpoints(stack)[standby].requests >= 50
        until(lambda: find_fault(f"127.0.0.1:{hot}") is None)
        before = read_endpoints(stack)[hot].requests
        until(lambda: stack.request(CREATE, EVENT) == 201 and read_endpoints(stack)[hot].requests > before)


def test_requests_of_a_killed_worker_are_retried_only_if_they_have_a_key(shared: Stack) -> None:
    wait_until_all_workers_serve(shared)

    def post(number: int) -> tuple[str, int]:
        event = {**json.loads(EVENT), "customer_id": ("keyed", "empty key")[number % 2]}
        headers = {"idempotency-key": "" if number % 2 else str(number)}
        return event["customer_id"], Http(shared.http_port).post(CREATE, event, headers).status

    with ThreadPoolExecutor(32) as callers:
        with locked_events(shared):
            calls = [callers.submit(post, number) for number in range(32)]
            until(lambda: sum(endpoint.in_flight for endpoint in read_endpoints(shared).values()) == 32)
            kill(shared, "server-1")
            until(lambda: not read_endpoints(shared)[shared.grpc_port].in_flight)
        answers = [call.result() for call in calls]
    assert {status for name, status in answers if name == "keyed"} == {201}
    assert {status for name, status in answers if name == "empty key"} == {201, 503}
    with contextlib.closing(psycopg2.connect(shared.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT customer_id, count(*) FROM analytics_event WHERE customer_id LIKE '%key%' GROUP BY 1")
        stored: dict[str, int] = dict(cursor.fetchall())
    assert stored["keyed"] == 16
    assert answers.count(("empty key", 201)) <= stored["empty key"] <= 16
    wait_until_all_workers_serve(shared)


@pytest.mark.parametrize("name", PORTS)
def test_a_busy_port_is_named(shared: Stack, tmp_path: Path, name: str) -> None:
    port = shared.environment[name]
    status, line = start_in_vain(tmp_path, **{name: port})
    assert status == 2
    assert f"{name}={port}" in line


def test_a_data_directory_in_use_is_named(shared: Stack, tmp_path: Path) -> None:
    status, line = start_in_vain(tmp_path, DATA_DIR=str(shared.data))
    assert status == 1
    assert f"DATA_DIR={shared.data}" in line


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, line = start_in_vain(tmp_path, DATA_DIR=str(tmp_path / "file" / "data"))
    assert status == 1
    assert f"DATA_DIR={tmp_path}/file/data" in line


def test_a_data_directory_of_another_postgresql_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "postgres").mkdir()
    (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("15\n")
    status, line = start_in_vain(tmp_path)
    assert status == 1
    assert f"{tmp_path}/data/postgres was created by PostgreSQL 15" in line


def test_a_malformed_variable_is_named(tmp_path: Path) -> None:
    status, line = start_in_vain(tmp_path, GRPC_PORT="5005l")
    assert status == 2
    assert "GRPC_PORT is '5005l'" in line


def test_an_unreachable_database_is_named_without_its_password(tmp_path: Path) -> None:
    port = free_ports()["HTTP_PORT"]
    status, line = start_in_vain(tmp_path, DATABASE_URL=f"postgresql://me:secret@127.0.0.1:{port}/analytics")
    assert status == 1
    assert f"DATABASE_URL=postgresql://me:***@127.0.0.1:{port}/analytics cannot be reached" in line
    assert "secret" not in line


def test_a_process_that_keeps_dying_stops_the_stack(shared: Stack, tmp_path: Path) -> None:
    with running(tmp_path, DATABASE_URL=shared.database_url) as stack:
        stack.wait_until_up()
        while stack.process.poll() is None:
            if envoy := stack.number_of("envoy"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(envoy, signal.SIGKILL)
            time.sleep(0.02)
        assert stack.wait_for_end() == 1
        assert not stack.processes()
        assert "envoy died (killed by SIGKILL), 5 times" in stack.log.splitlines()[-1]
    assert shared.serves()


def test_a_stack_beside_another_finishes_its_requests_before_it_stops(
    shared: Stack, tmp_path: Path, template: Template
) -> None:
    with running(template.copy_to(tmp_path)) as stack:
        stack.wait_until_up()
        assert stack.serves()
        assert shared.serves()
        statuses: list[int] = []
        request = threading.Thread(target=lambda: statuses.append(stack.request(CREATE, EVENT)))
        with locked_events(stack):
            request.start()
            until(lambda: count_downstream_requests(stack) == 1)
            stack.process.send_signal(signal.SIGTERM)
            until(lambda: stack.request("/") == 0)  # It accepts no more requests,
            assert not statuses  # and the one is still in flight.
        request.join()
        assert statuses == [201]
        assert stack.wait_for_end() == 0
        assert not stack.processes()
        stopped = re.findall("stopping (envoy|server-\\d|postgres)$", stack.log, re.MULTILINE)
        assert stopped == ["envoy", "server-2", "server-1", "postgres"]
    assert shared.serves()


def count_downstream_requests(stack: Stack) -> int:
    """Return how many requests are in flight between clients and Envoy."""
    stats = stack.ask_envoy("/stats?filter=downstream_rq_active")
    return sum(int(count) for count in re.findall(r"^http\.(?!admin).*: (\d+)$", stats, re.MULTILINE))


def test_a_new_stack_can_start_at_once_after_its_supervisor_was_killed(tmp_path: Path, template: Template) -> None:
    with running(template.copy_to(tmp_path)) as stack:
        stack.wait_until_up()
        orphans = stack.processes()
        stack.process.kill()
        stack.wait_for_end()
        with running(tmp_path) as second:
            second.wait_until_up()
            assert not orphans.keys() & second.processes().keys()
            os.kill(until(lambda: second.number_of("server-1")), signal.SIGSTOP)  # It has to end nevertheless.
            assert second.stop() == 0
            assert not second.processes()


@pytest.mark.parametrize(
    "line",
    ["", "creating a new database", "starting postgres", "migrating", "starting server-1", "starting envoy"],
)
def test_it_can_be_stopped_while_it_starts(tmp_path: Path, template: Template, line: str) -> None:
    with running(tmp_path if "new database" in line else template.copy_to(tmp_path)) as stack:
        until(lambda: handles_sigterm(stack.process.pid) and line in stack.log)
        assert stack.stop() == 0
        assert not stack.processes()


def handles_sigterm(pid: int) -> bool:
    """Return whether the process has come so far that SIGTERM does not simply kill it."""
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_psql_opens_the_database_of_a_stack_that_runs(stack: Stack, tmp_path: Path) -> None:
    ended = run_module("server.stack.psql", "-Atc", "SELECT current_user, 1 + 1", DATA_DIR=str(stack.data))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "postgres|2\n", "")
    ended = run_module("server.stack.psql", DATA_DIR=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"no stack runs with its data in {tmp_path}" in ended.stderr
