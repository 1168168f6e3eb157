"""The stack as `make run` starts it: how it comes up, what it survives, and that it leaves nothing behind."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from tests.support.http import Http
from tests.support.stack import EVENT, PORTS, WORKERS, Stack, free_ports, running, until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the tests that leave it as they found it."""
    with running(tmp_path_factory.mktemp("shared")) as stack:
        yield stack.wait_until_up()


def refusal(directory: Path, **environment: str) -> tuple[int, str]:
    """How a stack that cannot start ends, and the one line it says."""
    with running(directory, **environment) as stack:
        status = stack.wait_for_end()
        assert stack.output == ""
        assert stack.log.count("\n") == 1, stack.log
        return status, stack.log


def test_the_command_that_is_shown_stores_an_event(shared: Stack) -> None:
    command = next(line for line in shared.output.splitlines() if line.startswith("curl "))
    answer = subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    assert answer.startswith("HTTP/1.1 201 ")
    with contextlib.closing(psycopg2.connect(shared.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM analytics_event WHERE customer_id = 'acme'")
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize("part", ["postgres", "server-1", "envoy"])
def test_a_part_that_is_killed_is_started_again(shared: Stack, part: str) -> None:
    killed = until(lambda: shared.number_of(part))
    os.kill(killed, signal.SIGKILL)
    until(lambda: shared.number_of(part) not in (0, killed))
    until(shared.serves)
    until(lambda: shared.request("/api/v1/lead_analytics", EVENT) == 201)
    assert f"{part} died (killed by SIGKILL)" in shared.log


def test_requests_go_to_all_workers_and_to_the_others_while_one_is_away(shared: Stack) -> None:
    before = requests_by_endpoint(shared)
    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(lambda _: shared.request("/api/v1/lead_analytics", EVENT), range(1_000)))
    assert set(statuses) == {201}
    taken = [after - before[endpoint] for endpoint, after in requests_by_endpoint(shared).items()]
    assert len(taken) == WORKERS
    assert max(taken) <= 1.2 * min(taken)
    os.kill(shared.number_of("server-1"), signal.SIGKILL)
    time.sleep(0.05)  # A create that the dead worker had taken would be told 503: none is under way.
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert shared.request("/api/v1/lead_analytics", EVENT) == 201
    until(lambda: shared.log.count("server-1 died") and shared.number_of("server-1"))


def test_what_a_worker_took_with_it_is_sent_again_if_it_has_a_key_and_only_then(shared: Stack) -> None:
    workers = [int(shared.environment["GRPC_PORT"]) + worker for worker in range(WORKERS)]
    until(lambda: all(listens(port) for port in workers))
    time.sleep(1.5)  # A round of Envoy's health checks.

    def post(number: int) -> tuple[str, int]:
        event = {**json.loads(EVENT), "customer_id": ("keyed", "empty key")[number % 2]}
        headers = {"idempotency-key": "" if number % 2 else str(number)}
        return event["customer_id"], Http(shared.http_port).post("/api/v1/lead_analytics", event, headers).status

    with contextlib.closing(psycopg2.connect(shared.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE analytics_event IN EXCLUSIVE MODE")
        with ThreadPoolExecutor(32) as callers:
            calls = [callers.submit(post, number) for number in range(32)]
            time.sleep(0.5)  # Until all are under way, in both workers.
            os.kill(shared.number_of("server-1"), signal.SIGKILL)
            time.sleep(0.3)
            connection.rollback()
            answers = [call.result() for call in calls]
        assert {status for name, status in answers if name == "keyed"} == {201}
        assert {status for name, status in answers if name == "empty key"} == {201, 503}
        cursor.execute("SELECT customer_id, count(*) FROM analytics_event WHERE customer_id LIKE '%key%' GROUP BY 1")
        stored: dict[str, int] = dict(cursor.fetchall())
    assert stored["keyed"] == 16
    assert answers.count(("empty key", 201)) <= stored["empty key"] <= 16
    until(lambda: shared.number_of("server-1") and all(listens(port) for port in workers))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def requests_by_endpoint(stack: Stack) -> dict[str, int]:
    url = f"http://127.0.0.1:{stack.environment['ENVOY_ADMIN_PORT']}/clusters"
    with urllib.request.urlopen(url, timeout=10) as response:
        found = re.findall(r"^server::(\S+)::rq_total::(\d+)$", response.read().decode(), re.MULTILINE)
    return {endpoint: int(count) for endpoint, count in found}


@pytest.mark.parametrize("name", PORTS)
def test_a_busy_port_is_named(shared: Stack, tmp_path: Path, name: str) -> None:
    port = shared.environment[name]
    status, line = refusal(tmp_path, **{name: port})
    assert status == 2
    assert f"{name}={port}" in line


def test_a_data_directory_in_use_is_named(shared: Stack, tmp_path: Path) -> None:
    status, line = refusal(tmp_path, DATA_DIR=str(shared.data))
    assert status == 1
    assert f"DATA_DIR={shared.data}" in line


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, line = refusal(tmp_path, DATA_DIR=str(tmp_path / "file" / "data"))
    assert status == 1
    assert f"DATA_DIR={tmp_path}/file/data" in line


def test_a_data_directory_of_another_postgresql_is_named(tmp_path: Path) -> None:
    (tmp_path / "data" / "postgres").mkdir(parents=True)
    (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("15\n")
    status, line = refusal(tmp_path)
    assert status == 1
    assert f"{tmp_path}/data/postgres is of PostgreSQL 15" in line


def test_a_malformed_variable_is_named(tmp_path: Path) -> None:
    status, line = refusal(tmp_path, GRPC_PORT="5005l")
    assert status == 2
    assert "GRPC_PORT is '5005l'" in line


def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    port = free_ports()["HTTP_PORT"]
    status, line = refusal(tmp_path, DATABASE_URL=f"postgresql://me:secret@127.0.0.1:{port}/analytics")
    assert status == 1
    assert f"DATABASE_URL=postgresql://me:***@127.0.0.1:{port}/analytics cannot be reached" in line
    assert "secret" not in line


def test_a_part_that_keeps_dying_brings_the_rest_down(shared: Stack, tmp_path: Path) -> None:
    with running(tmp_path, DATABASE_URL=shared.database_url) as stack:
        stack.wait_until_up()
        while stack.process.poll() is None:
            if envoy := stack.number_of("envoy"):
                os.kill(envoy, signal.SIGKILL)
            time.sleep(0.02)
        assert stack.wait_for_end() == 1
        assert not stack.processes()
        assert "envoy died (killed by SIGKILL), 5 times" in stack.log.splitlines()[-1]
    assert shared.serves()


def test_two_copies_run_side_by_side_and_a_request_in_flight_is_finished_before_one_stops(
    shared: Stack, tmp_path: Path
) -> None:
    with running(tmp_path) as stack:
        stack.wait_until_up()
        assert stack.serves()
        assert shared.serves()
        statuses: list[int] = []
        request = threading.Thread(target=lambda: statuses.append(stack.request("/api/v1/lead_analytics", EVENT)))
        with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE analytics_event")  # Whoever writes now waits for us.
            request.start()
            until(lambda: "1" in active_requests(stack))
            stack.process.send_signal(signal.SIGTERM)
            until(lambda: stack.request("/") == 0)  # It takes no more requests,
            assert not statuses  # and the one is still in flight.
        request.join()
        assert statuses == [201]
        assert stack.wait_for_end() == 0
        assert not stack.processes()
        stopped = re.findall("stopping (envoy|server-\\d|postgres)$", stack.log, re.MULTILINE)
        assert stopped == ["envoy", "server-2", "server-1", "postgres"]
    assert shared.serves()


def active_requests(stack: Stack) -> list[str]:
    url = f"http://127.0.0.1:{stack.environment['ENVOY_ADMIN_PORT']}/stats?filter=downstream_rq_active"
    with urllib.request.urlopen(url, timeout=10) as response:
        return re.findall(r"^http\.(?!admin).*: (\d+)$", response.read().decode(), re.MULTILINE)


def test_a_supervisor_that_is_killed_leaves_no_process_and_the_next_one_can_start_at_once(
    shared: Stack, tmp_path: Path
) -> None:
    with running(tmp_path) as stack:
        stack.wait_until_up()
        stack.process.kill()
        stack.wait_for_end()
        with running(tmp_path) as second:
            second.wait_until_up()
            assert not set(stack.processes()) - set(second.processes())
            os.kill(second.number_of("server-1"), signal.SIGSTOP)  # Stopped or not, it has to go.
            assert second.stop() == 0
            assert not second.processes()


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.6])
def test_it_can_be_stopped_while_it_starts(tmp_path: Path, seconds: float) -> None:
    with running(tmp_path) as stack:
        time.sleep(seconds)
        assert stack.stop() == 0
        assert not stack.processes()
