"""What the shell that starts the stack has set for other programs, or limited."""

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import variables_of
from tests.support.stack import EVENT, SEARCH, WORKERS, Stack, running
from tests.support.template import Template
from tests.support.until import until

CREATE = "/api/v1/lead_analytics"

# What people set for other databases. Each of them alone kept the stack from starting, or led it elsewhere.
LIBPQ = {
    "PGAPPNAME": "somebody's shell",
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "LATIN1",
    "PGDATA": "/nonexistent",
    "PGDATABASE": "elsewhere",
    "PGHOST": "database.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGPASSFILE": "/nonexistent",
    "PGPORT": "1",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGSERVICE": "missing",
    "PGSERVICEFILE": "/nonexistent",
    "PGSSLMODE": "verify-full",
    "PGTARGETSESSIONATTRS": "standby",
    "PGTZ": "Asia/Kathmandu",
    "PGUSER": "somebody",
}


def test_the_embedded_database_ignores_the_variables_of_libpq(tmp_path: Path) -> None:
    with running(tmp_path, **LIBPQ) as stack:
        stack.wait_until_up()
        assert stack.request(CREATE, EVENT) == 201
        assert stack.request(SEARCH) == 200
        children = set(stack.processes()) - {stack.process.pid}
        assert len(children) > 5
        assert not [name for pid in children for name in variables_of(pid) if name.startswith("PG")]


def test_the_database_of_the_operator_follows_the_variables_of_libpq(stack: Stack, tmp_path: Path) -> None:
    service = tmp_path / "services"
    service.write_text(f"[analytics]\nhost={stack.run}\nport=5432\ndbname=analytics\nuser=postgres\n")
    url = "service=analytics"
    with running(tmp_path / "own", DATABASE_URL=url, PGSERVICEFILE=str(service)) as own:
        service.chmod(0o644)
        tmp_path.chmod(0o711)
        own.wait_until_up()
        assert own.request(CREATE, EVENT) == 201


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("PGSERVICE", "missing", "missing"), ("PGREQUIREAUTH", "scram-sha-256", "scram-sha-256")],
)
def test_a_database_that_cannot_be_reached_is_named_with_the_reason(
    stack: Stack, tmp_path: Path, name: str, value: str, reason: str
) -> None:
    with running(tmp_path, DATABASE_URL=stack.database_url, **{name: value}) as own:
        assert own.wait_for_end() == 1
        (line,) = own.log.splitlines()
    assert "DATABASE_URL=" in line
    assert reason in line


def open_file_limits(pid: int) -> tuple[int, int]:
    """Return how many open files a process may have: the soft and the hard limit."""
    (line,) = re.findall(r"^Max open files +(\d+) +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    return int(line[0]), int(line[1])


@contextlib.contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Hold so many connections on which nothing is sent."""
    with contextlib.ExitStack() as cleanup:
        yield [cleanup.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]


def is_open(connection: socket.socket) -> bool:
    """Return whether the peer has not closed the connection."""
    try:
        return bool(connection.recv(1 << 16, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_all_processes_get_as_many_open_files_as_the_system_allows(tmp_path: Path, template: Template) -> None:
    with running(template.copy_to(tmp_path), shell="ulimit -Sn 300") as stack:
        stack.wait_until_up()
        _, hard = open_file_limits(stack.process.pid)
        assert hard > 300
        assert {open_file_limits(pid) for pid in stack.processes()} == {(hard, hard)}


def test_limits_on_connections_fit_in_few_open_files(tmp_path: Path, template: Template) -> None:
    with running(template.copy_to(tmp_path), shell="ulimit -n 400") as stack:
        stack.wait_until_up()
        lines = [line for line in stack.log.splitlines() if "the hard limit on open files" in line]
        assert lines == [
            "stack    | the hard limit on open files (ulimit -Hn) is 400: "
            "Envoy and each worker accept 200 connections instead of 10,000"
        ]
        assert stack.log.count('"open_files":400,"connections":200') == WORKERS
        with connections(stack.http_port, 250) as idle:
            until(lambda: sum(map(is_open, idle)) <= 200)
            assert sum(map(is_open, idle)) >= 190
        until(stack.serves)
        with connections(stack.grpc_port, 250) as idle:
            until(lambda: sum(map(is_open, idle)) <= 200)
        until(lambda: stack.request(CREATE, EVENT) == 201)
        assert "Too many open files" not in stack.log


def test_too_few_open_files_for_anything_are_refused(tmp_path: Path) -> None:
    with running(tmp_path, shell="ulimit -n 200") as stack:
        assert stack.wait_for_end() == 2
    assert stack.log.splitlines()[-1].startswith(
        "stack    | the hard limit on open files (ulimit -Hn) is 200: at least"
    )


def test_a_strict_umask_does_not_keep_the_stack_from_starting(tmp_path: Path) -> None:
    with running(tmp_path, shell="umask 077") as stack:
        stack.wait_until_up()
        assert stack.request(CREATE, EVENT) == 201
        assert stack.stop() == 0
