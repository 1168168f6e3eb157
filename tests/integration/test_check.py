"""`python -m server check`: what is wrong with a deployment is said in words, and by the exit status."""

from pathlib import Path

import pytest

from tests.support.access import make_key, revoke
from tests.support.certificates import Issuer
from tests.support.database import as_server, execute
from tests.support.processes import free_port, run_module, started_module
from tests.support.until import until


def check(url: str, **variables: str) -> tuple[int, list[str]]:
    """Return the exit status of the command, and its lines."""
    ended = run_module("server", "check", **{"DATABASE_URL": url, "GRPC_PORT": str(free_port()), **variables})
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.splitlines()


def test_a_deployment_that_is_right_is_said_to_be(own_database_url: str, customer: str) -> None:
    make_key(own_database_url, "secret", customer)
    status, lines = check(as_server(own_database_url))
    assert status == 0, "\n".join(lines)
    assert not [line for line in lines if line.startswith("error")]
    for part in (
        "ok       the database can be used",
        "ok       synchronous_commit is on",
        "ok       fsync is on",
        "ok       callers need credentials; 1 keys are valid",
        "ok       generated/envoy.binpb is what this worker serves",
        "ok       Envoy is 1.40",
    ):
        assert [line for line in lines if line.startswith(part)], (part, lines)


def test_a_worker_that_runs_is_found(database_url: str) -> None:
    port = str(free_port())
    url = as_server(database_url)
    with started_module("server", DATABASE_URL=url, GRPC_PORT=port, AUTH="off"):
        until(lambda: "ok       a worker with these settings runs, and serves" in check(url, GRPC_PORT=port)[1])


def test_what_keeps_the_service_from_working_is_an_error(own_database_url: str, customer: str) -> None:
    key = make_key(own_database_url, "secret", customer)
    revoke(own_database_url, key)
    execute(own_database_url, "DELETE FROM schema_migration WHERE name LIKE '0005%'")
    status, lines = check(as_server(own_database_url))
    assert status == 1
    assert "error    the schema lacks 0005_list_index: run `python -m storage.migrate`" in lines
    assert "error    callers need credentials, and no key is valid" in lines


def test_a_database_that_is_away_is_an_error() -> None:
    status, lines = check(f"postgresql://user@127.0.0.1:{free_port()}/db")
    assert status == 1
    assert [line for line in lines if line.startswith("error    DATABASE_URL: the database cannot be reached")]


@pytest.mark.parametrize(("days", "level"), [(400, "ok"), (10, "warning")])
def test_the_end_of_the_certificate_is_told(database_url: str, tmp_path: Path, days: int, level: str) -> None:
    certificate, key = Issuer().issue(days=days).write(tmp_path, "server")
    _, lines = check(as_server(database_url), TLS_CERT=str(certificate), TLS_KEY=str(key))
    assert [line for line in lines if line.startswith(level) and f"expires in {days - 1} days" in line]
