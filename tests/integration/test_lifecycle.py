"""The server as a process: what keeps it from starting, and how it stops."""

import contextlib
import json
import signal
import socket
import subprocess
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from tests.support import requests
from tests.support.database import as_server, blocked_backends, execute, locked_table, refusing_connections
from tests.support.in_process import Client
from tests.support.processes import free_port, refuses_connections, run_module, started_module
from tests.support.refusals import refused
from tests.support.requests import lead_event
from tests.support.until import until


def assert_one_line(stderr: str, *parts: str) -> None:
    (line,) = stderr.strip().splitlines()
    for part in parts:
        assert part in line
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({}, ["DATABASE_URL", "not set"]),
        ({"DATABASE_URL": "postgresql://u:secret@[::1/db"}, ["DATABASE_URL", "malformed"]),
        ({"DATABASE_URL": "postgresql:///x", "GRPC_PORT": "65536"}, ["GRPC_PORT", "'65536'"]),
        ({"DATABASE_URL": "postgresql:///x", "GRPC_PORT": "http"}, ["GRPC_PORT", "'http'"]),
        ({"DATABASE_URL": "postgresql:///x", "LOG_LEVEL": "loud"}, ["LOG_LEVEL", "'loud'"]),
        ({"DATABASE_URL": "postgresql:///x", "RETENTION_DAYS": "-1"}, ["RETENTION_DAYS", "'-1'"]),
        ({"DATABASE_URL": "postgresql:///x", "READ_DATABASE_URL": "postgresql://a,b/x"}, ["READ_DATABASE_URL", "one"]),
    ],
)
def test_an_invalid_variable_is_named_in_one_line(variables: dict[str, str], parts: list[str]) -> None:
    ended = run_module("server", **variables)
    assert ended.returncode == 2
    assert_one_line(ended.stderr, *parts)
    assert "secret" not in ended.stderr


def test_a_url_that_fails_only_on_connecting_is_named_in_the_log() -> None:
    url = "postgresql://user@host:no-port/db"
    with started_module("server", DATABASE_URL=url, GRPC_PORT=str(free_port())) as worker:
        assert "no-port" in read_line(worker)["reason"]


@pytest.mark.parametrize("module", ["server", "storage.migrate"])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("user:secret@host/db", "postgresql://user@host/name"),
        ("host=h password=my secret", 'missing "=" after "…"'),
        ('host=h password=my se"cret', 'missing "=" after "…"'),
        ("postgresql://u:%secret@host/db", "percent-encoded"),
        # libpq itself would take a part of these passwords for a host, a port or a database.
        ("postgresql://u:my@secret@host/db", "must be written as %40"),
        ("postgresql://u:my/secret@host/db", "must be written as"),
        ("postgres://u:my/se@cret?x=secret", "must be written as"),
    ],
)
def test_a_malformed_url_is_refused_without_its_password(module: str, url: str, reason: str) -> None:
    ended = run_module(module, DATABASE_URL=url)
    assert ended.returncode == 2
    assert_one_line(ended.stderr, "DATABASE_URL is malformed", reason)
    assert "cret" not in ended.stderr


def test_a_role_that_may_not_create_tables_fails_in_one_line(database_url: str) -> None:
    execute(database_url, "CREATE ROLE reader LOGIN")
    execute(database_url, "CREATE DATABASE not_theirs")
    url = database_url.replace("postgres@", "reader@").replace("/analytics?", "/not_theirs?")
    ended = run_module("storage.migrate", DATABASE_URL=url)
    assert ended.returncode == 1
    assert_one_line(ended.stderr, "cannot be migrated", "permission denied")


def test_an_unreachable_database_is_named_in_one_line() -> None:
    ended = run_module("storage.migrate", DATABASE_URL=f"postgresql://user@127.0.0.1:{free_port()}/db")
    assert ended.returncode == 1
    assert_one_line(ended.stderr, "DATABASE_URL", "cannot be reached")


def test_a_worker_waits_for_its_database(own_database_url: str, customer: str) -> None:
    port = free_port()
    url = as_server(own_database_url)
    with contextlib.ExitStack() as cleanup:
        with refusing_connections(own_database_url):
            worker = cleanup.enter_context(started_module("server", DATABASE_URL=url, GRPC_PORT=str(port)))
            assert read_line(worker)["event"] == "the database cannot be reached: waiting for it"
            channel = cleanup.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
            client = Client(channel)
            until(lambda: answers(client))
            assert not client.is_serving()
            with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
                client.leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=5)
            assert refusal.retry_seconds
        assert [read_line(worker)["event"] for _ in range(2)] == ["the database can be reached", "started"]
        until(client.is_serving)
        client.leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=5)


def test_a_worker_that_waits_for_its_database_can_be_stopped() -> None:
    url = f"postgresql://user@127.0.0.1:{free_port()}/db"
    with started_module("server", DATABASE_URL=url, GRPC_PORT=str(free_port())) as worker:
        read_line(worker)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0


def test_a_hangup_stops_nothing(database_url: str) -> None:
    with started_module("server", DATABASE_URL=database_url, GRPC_PORT=str(free_port())) as worker:
        wait_for_start(worker)
        worker.send_signal(signal.SIGHUP)
        assert read_line(worker)["event"].startswith("SIGHUP")
        worker.send_signal(signal.SIGINT)
        assert worker.wait(10) == 0


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(database_url: str, encoding: str) -> None:
    name = f"in_{encoding.lower()}"
    execute(
        database_url,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'"
        " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    url = database_url.replace("/analytics?", f"/{name}?")
    for module in ("storage.migrate", "server"):
        ended = run_module(module, DATABASE_URL=url, GRPC_PORT=str(free_port()))
        assert ended.returncode == 2
        assert_one_line(ended.stderr, "DATABASE_URL", f"its encoding is {encoding}", "UTF8")
    execute(database_url, f"DROP DATABASE {name}")


def test_the_version_and_the_usage_need_no_database() -> None:
    for option, part in (("--version", "data-analytics-service "), ("--help", "usage: python -m server")):
        ended = run_module("server", option)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith(part)


def test_an_unmigrated_schema_is_refused_with_the_command_to_run(database_url: str) -> None:
    execute(database_url, "CREATE DATABASE bare")
    url = database_url.replace("/analytics?", "/bare?")
    ended = run_module("server", DATABASE_URL=url, GRPC_PORT=str(free_port()))
    assert ended.returncode == 2
    assert_one_line(ended.stderr, "0001_analytics_event", "python -m storage.migrate")

    assert "0001_analytics_event" in run_module("storage.migrate", DATABASE_URL=url).stderr
    again = run_module("storage.migrate", DATABASE_URL=url)
    assert (again.returncode, again.stderr.strip()) == (0, "nothing to migrate")


def test_a_busy_port_is_named_in_one_line(database_url: str) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        ended = run_module("server", DATABASE_URL=database_url, GRPC_PORT=str(port))
    assert ended.returncode == 2
    assert_one_line(ended.stderr, f"GRPC_PORT={port} cannot be listened on at 127.0.0.1", "in use")


@pytest.mark.parametrize("address", ["x.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_named_in_one_line(database_url: str, address: str) -> None:
    ended = run_module("server", DATABASE_URL=database_url, BIND_ADDRESS=address, GRPC_PORT=str(free_port()))
    assert ended.returncode == 2
    assert_one_line(ended.stderr, f"BIND_ADDRESS={address}")


def test_a_second_server_on_the_same_port_is_refused(database_url: str) -> None:
    port = str(free_port())
    with started_module("server", DATABASE_URL=database_url, GRPC_PORT=port) as first:
        wait_for_start(first)
        second = run_module("server", DATABASE_URL=database_url, GRPC_PORT=port)
    assert second.returncode == 2
    assert "GRPC_PORT" in second.stderr


def wait_for_start(process: "subprocess.Popen[str]") -> None:
    assert read_line(process)["event"] == "started"


def read_line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the next line of a worker's log."""
    assert process.stderr is not None
    line: dict[str, Any] = json.loads(process.stderr.readline())
    return line


def answers(client: Client) -> bool:
    """Return whether health checks are answered, in whatever way."""
    try:
        client.is_serving()
    except grpc.RpcError:
        return False
    return True


@pytest.mark.parametrize(("number", "notice"), [(signal.SIGTERM, 1), (signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_a_signal_lets_calls_in_flight_finish_and_refuses_new_ones(
    database_url: str, customer: str, number: signal.Signals, notice: int
) -> None:
    port = free_port()
    # After SIGINT the server gives no notice, whatever DRAIN_NOTICE_SECONDS says.
    variables = {"DRAIN_NOTICE_SECONDS": str(notice)} if number == signal.SIGTERM else {}
    with (
        started_module("server", DATABASE_URL=database_url, GRPC_PORT=str(port), **variables) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        wait_for_start(process)
        client = Client(channel)
        with locked_table(database_url):
            in_flight = client.leads.CreateLeadAnalyticsEvent.future(requests.lead_event(customer), timeout=20)
            until(lambda: blocked_backends(database_url))
            health = client.health.Watch(HealthCheckRequest(), timeout=20)
            assert next(health).status == HealthCheckResponse.SERVING
            process.send_signal(number)
            if notice:
                assert next(health).status == HealthCheckResponse.NOT_SERVING
            health.cancel()
            until(lambda: refuses_connections(port))
            # On a connection of its own: the old one may carry a call until the server closes it.
            own = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", own) as another, pytest.raises(grpc.RpcError) as caught:
                Client(another).leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert process.poll() is None
        assert in_flight.result().customer_id == customer
        assert process.wait(10) == 0
        assert process.stderr is not None
        events = [json.loads(line)["event"] for line in process.stderr]
        assert events == ["stopping", "stopped"]


def test_a_request_has_a_line_in_the_log_only_if_it_fails(database_url: str, customer: str) -> None:
    port = free_port()
    with (
        started_module("server", DATABASE_URL=database_url, GRPC_PORT=str(port)) as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        wait_for_start(process)
        client = Client(channel)
        client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5)
        client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=5)
        metadata = (("x-request-id", "their id"), ("x-caller-request-id", "x" * 65))
        with pytest.raises(grpc.RpcError):
            client.leads.SearchLeadAnalyticsEvents(requests.lead_search(""), timeout=5, metadata=metadata)
        process.terminate()
        _, stderr = process.communicate(timeout=10)
    refused, *others = [json.loads(line) for line in stderr.splitlines()]
    assert [line["event"] for line in others] == ["stopping", "stopped"]
    assert (refused["event"], refused["level"], refused["cause"]) == ("refused", "INFO", "invalid_request")
    assert (refused["request_id"], refused.get("caller_request_id")) == ("their id", None)


def test_at_debug_each_request_is_logged_without_its_contents(database_url: str, customer: str) -> None:
    port = free_port()
    with (
        started_module("server", DATABASE_URL=database_url, GRPC_PORT=str(port), LOG_LEVEL="DEBUG") as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        wait_for_start(process)
        client = Client(channel)
        client.leads.CreateLeadAnalyticsEvent(requests.lead_event(customer), timeout=5)
        with pytest.raises(grpc.RpcError):
            client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer, page=0), timeout=5)
        process.terminate()
        _, stderr = process.communicate(timeout=10)
    lines = [json.loads(line) for line in stderr.splitlines()]
    (created, searched), rest = lines[:2], lines[2:]
    assert [line["event"] for line in rest] == ["stopping", "stopped"]
    assert (created["event"], created["code"]) == ("answered", "OK")
    assert (searched["event"], searched["code"]) == ("refused", "INVALID_ARGUMENT")
    assert created["rpc"] == "data_analytics.v1.LeadAnalyticsService/CreateLeadAnalyticsEvent"
    assert searched["faults"] == ["page: must be greater than or equal to 1"]
    assert customer not in stderr


def test_a_log_that_nobody_reads_holds_up_no_call(database_url: str, customer: str) -> None:
    port = free_port()
    with (
        started_module("server", DATABASE_URL=database_url, GRPC_PORT=str(port), LOG_LEVEL="DEBUG") as worker,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        wait_for_start(worker)
        client = Client(channel)
        for _ in range(1_600):
            assert client.is_serving()
            client.leads.SearchLeadAnalyticsEvents(requests.lead_search(customer), timeout=5)
        events: list[dict[str, Any]] = []
        while not any("lines are missing" in each["event"] for each in events):
            events.append(read_line(worker))
        assert events[-1]["lines"] > 0
        worker.send_signal(signal.SIGINT)
        assert worker.wait(10) == 0
